package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "my.toml"), `
hostname = "mail.example.org"
data_dir = "mail"
[smtp]
trusted = ["10.0.0.0/8", "192.0.2.1", "::ffff:198.51.100.0/120", "2001:db8::/32"]
[tls]
cert = "cert.pem"
key = "/etc/key.pem"
[login]
failure_delay = "250ms"
[pop3]
proxies = ["192.0.2.7"]
[account]
password_file = "/etc/pw"
`)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Hostname != "mail.example.org" || c.DataDir != filepath.Join(dir, "mail") || c.Account.PasswordFile != "/etc/pw" ||
		fmt.Sprint(c.POP3.Proxies) != "[192.0.2.7/32]" || fmt.Sprint(c.SMTP.Trusted) != "[10.0.0.0/8 192.0.2.1/32 198.51.100.0/24 2001:db8::/32]" || c.Login.FailureDelay != 250*time.Millisecond {
		t.Errorf("read as %+v", c)
	}
	if c.TLS.Cert != filepath.Join(dir, "cert.pem") || c.TLS.Key != "/etc/key.pem" {
		t.Errorf("tls: %+v", c.TLS)
	}
	if c.SMTP.Listen != "127.0.0.1:2525" || len(c.Domains) != 2 {
		t.Errorf("the defaults are gone: %+v", c)
	}
}

// What others get to see of the names is ASCII.
func TestForeignNames(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "xm.toml"), "hostname = \"Mail.Bücher.example\"\ndomains = [\"bücher.example\", \"Example.org\", \"ü_x.example\"]")
	c, err := Load(path)
	if want := "[xn--bcher-kva.example Example.org ü_x.example mail.xn--bcher-kva.example]"; err != nil || fmt.Sprint(c.LocalDomains()) != want {
		t.Errorf("%v, %v; want %s", c.LocalDomains(), err, want)
	}
}

func TestMailboxes(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "xm.toml"), `
postmaster = "alice"
[aliases]
"info@example.org" = ["alice", "bob"]
[quota]
octets = 1000
messages = 10
[login]
iterations = 20000
`)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"postmaster": {"alice"}, "info@example.org": {"alice", "bob"}}
	if !maps.EqualFunc(c.Aliases, want, slices.Equal) {
		t.Errorf("aliases: %v", c.Aliases)
	}
	if c.Quota != (Limits{1000, 10}) || c.Login.Iterations != 20_000 {
		t.Errorf("quota %v, iterations %d", c.Quota, c.Login.Iterations)
	}
	if c, err := Load(write(t, path, `postmaster = "bob"`)); err != nil || !slices.Equal(c.Aliases["postmaster"], []string{"bob"}) {
		t.Errorf("without aliases: %v, %v", c.Aliases, err)
	}
}

func TestSearchOrder(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	defer func(before string) { systemFile = before }(systemFile)
	systemFile = filepath.Join(dir, "etc/xm.toml")
	hostname := func() string {
		t.Helper()
		c, err := Load("")
		if err != nil {
			t.Fatal(err)
		}
		return c.Hostname
	}
	if host, _ := os.Hostname(); hostname() != host {
		t.Error("the default host name is not the machine's")
	}
	write(t, systemFile, `hostname = "system"`)
	if hostname() != "system" {
		t.Error("the system's config was not read")
	}
	write(t, "config/xm/xm.toml", `hostname = "user"`)
	if hostname() != "user" {
		t.Error("the user's config was not read")
	}
	write(t, "xm.toml", `hostname = "here"`)
	if hostname() != "here" {
		t.Error("./xm.toml does not come first")
	}
	if c, err := Load(""); err != nil || c.DataDir != "data" {
		t.Errorf("data_dir: %q, %v", c.DataDir, err)
	}
}

// A service's user may not look into the directory that root is in.
func TestSearchDenied(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	defer func(file string, f func(string) (fs.FileInfo, error)) { systemFile, stat = file, f }(systemFile, stat)
	systemFile = filepath.Join(dir, "etc/xm.toml")
	stat = func(path string) (fs.FileInfo, error) {
		if path != systemFile {
			return nil, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrPermission}
		}
		return os.Stat(path)
	}
	if _, err := Load(""); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("defaults are in force where there may be a file: %v", err)
	}
	write(t, systemFile, `hostname = "system"`)
	if c, err := Load(""); err != nil || c.Hostname != "system" {
		t.Errorf("the system's config was not read: %v", err)
	}
}

func TestFailures(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		"hostname = 1":                                        "hostname",
		"hostname = \"\"":                                     "hostname",
		"data_dir = \"\"":                                     "data_dir can't be empty",
		"a = b":                                               "line 1",
		"\nhostnam = \"x\"":                                   `unknown setting "hostnam"`,
		"[smtp]\nmaxsize = 1":                                 `unknown setting "smtp.maxsize"`,
		"[smtp]\nmax_size = 0":                                "smtp.max_size",
		"[smtp]\ntrusted = [\"everywhere\"]":                  "everywhere",
		"[pop3]\nlisten = \"2110\"":                           "pop3.listen",
		"[login]\nfailure_delay = \"-1s\"":                    "failure_delay",
		"[tls]\ncert = \"c.pem\"":                             "go together",
		"[submission]\nlisten_tls = \":465\"":                 "needs tls.cert",
		"[regd]\npolicy = \"family\"":                         "regd.policy",
		"[regd]\nrequests_per_minute = -1":                    "regd.requests_per_minute",
		"[submission]\nlisten = \"587\"":                      "submission.listen",
		"hostname = \"a b\"":                                  "is not the name of a domain",
		"domains = [\"@example.org\"]":                        "\"@example.org\"",
		"[login]\nfailure_delay = 2":                          "needs a unit",
		"[smtp]\nproxies = \"10.0.0.1\"":                      "a list of networks",
		"[smtp]\nmax_per_address = 0":                         "max_per_address",
		"[login]\nmax_failures = 0":                           "max_failures",
		"domains = [\"\"]":                                    "domains",
		"[aliases]\ninfo = \"alice\"":                         "aliases",
		"[aliases]\ninfo = []":                                "aliases.\"info\"",
		"[aliases]\ninfo = [\"a\", \"\"]":                     "aliases.\"info\"",
		"[aliases]\n\"\" = [\"alice\"]":                       "aliases.\"\"",
		"postmaster = \"a\"\n[aliases]\nPostmaster = [\"b\"]": "postmaster is set twice",
		"[quota]\noctets = -1":                                "quota: octets",
		"[quota]\nbytes = 1":                                  "unknown setting \"quota.bytes\"",
		"[login]\niterations = 9999":                          "login.iterations",
		"[login]\niterations = 1000001":                       "login.iterations",
		"[pop3]\nlisten_tls = \"995\"\n[tls]\ncert = \"c\"\nkey = \"k\"": "pop3.listen_tls",
		"[pop3]\nlisten_tls = \":995\"":                                  "needs tls.cert",
		"[tls]\nacme = true\ncert = \"c\"\nkey = \"k\"":                  "exclude tls.acme",
		"[tls]\nacme = \"admin@example.org\"":                            "acme",
		"[tls]\nacme_listen = \"\"":                                      "tls.acme_listen",
		"[tls]\nacme_directory = \"http://ca.example.org/directory\"":    "tls.acme_directory",
		"[tls]\nacme_names = [\"*.example.org\"]":                        "tls.acme_names",
		"[pop3]\nmax_connections = 0":                                    "pop3.max_connections",
		"[regd]\nmax_connections = 0":                                    "regd.max_connections",
		"[regd]\nmax_per_address = 0":                                    "max_per_address",
		"[pop3]\nlogin_delay = \"-1s\"":                                  "login_delay",
		"[pop3]\nlogin_delay = 5":                                        "pop3.login_delay needs a unit",
		"[smtp]\nlisten = \":99999\"":                                    `smtp.listen = ":99999": there is no port "99999"`,
		"[smtp]\nlisten = \"localhost:\"":                                "smtp.listen",
		"[account]\npop3 = \"pop3s://mail.example.org:pop\"":             "account.pop3",
		"[smtp]\nlisten = \":25\"\n[submission]\nlisten = \":25\"":       "smtp.listen and submission.listen are the same address, :25",
		"[log]\nlevel = \"loud\"":                                        `log.level = "loud"`,
		"hostname = \"mail.example.org.\"":                               "is not the name of a domain",
		"hostname = \"ü_x.example\"":                                     `hostname = "ü_x.example" is no name that DNS can have`,
		"domains = [\"example..org\"]":                                   `"example..org"`,
		"domains = \"example.org\"":                                      `xm.toml, line 1: domains is to be a list: ["..."]`,
		"\n[tls]\nacme = \"yes\"":                                        "xm.toml, line 3: tls.acme is to be true or false",
		"smtp = 25":                                                      "xm.toml, line 1: smtp is to be a table",
		"[smtp]\nmax_size = \"64M\"":                                     "smtp.max_size is to be a whole number",
		"[smtp]\nlisten = 25":                                            `smtp.listen is to be a text: "..."`,
	} {
		path := write(t, filepath.Join(dir, "xm.toml"), content)
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v; want the file's name and %q", content, err, want)
		}
	}
	if _, err := Load(filepath.Join(dir, "missing.toml")); err == nil {
		t.Error("a file that was asked for may be missing")
	}
}

func TestACME(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		"":                                     filepath.Join(dir, "acme"),
		"data_dir = \"/var/lib/xm/data/\"":     "/var/lib/xm/acme",
		"[tls]\nacme_state = \"certificates\"": filepath.Join(dir, "certificates"),
	} {
		if !strings.Contains(content, "data_dir") {
			content = "data_dir = \"data\"\n" + content
		}
		c, err := Load(write(t, filepath.Join(dir, "xm.toml"), content))
		if err != nil || c.ACMEState() != want || c.HasTLS() {
			t.Errorf("%q: %v, %s, %t; want %s", content, err, c.ACMEState(), c.HasTLS(), want)
		}
	}
	c, err := Load(write(t, filepath.Join(dir, "xm.toml"), "[tls]\nacme = true\n[pop3]\nlisten_tls = \":995\"\n[submission]\nlisten_tls = \":465\"\n"))
	if err != nil || !c.HasTLS() {
		t.Errorf("one line and the ports with TLS: %v", err)
	}
}
