package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// examples are the settings of the reference that have no default, but an
// example.
var examples = []string{
	"hostname", "postmaster", "aliases.*", "tls.cert", "tls.key", "tls.acme_state", "account.user", "account.password", "account.password_file",
	"account.password_command", "account.keys", "account.server", "directories.*",
}

// Everything that can be set is in the reference, with its default.
func TestReference(t *testing.T) {
	var live strings.Builder
	for line := range strings.Lines(Reference) {
		if commented, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(commented, " ") {
			line = commented
		}
		live.WriteString(line)
	}
	c, err := Load(write(t, filepath.Join(t.TempDir(), "xm.toml"), live.String()))
	if err != nil {
		t.Fatal(err)
	}
	def, err := defaults()
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	values := settings(t, &def)
	for key, s := range settings(t, &c) {
		if s.Source == FromDefault {
			t.Errorf("%s is not in reference.toml", key)
		}
		general := generalized(key)
		documented[general] = true
		value := strings.Replace(s.Value, filepath.Dir(c.File)+"/", "", 1)
		if key == "regd.keys" { // "." below a directory is that directory
			value = strings.Replace(s.Value, filepath.Dir(c.File), ".", 1)
		}
		if !slices.Contains(examples, general) && value != values[key].Value {
			t.Errorf("reference.toml has %s = %s; the default is %s", key, value, values[key].Value)
		}
	}
	for _, key := range known() {
		if !documented[key] {
			t.Errorf("%s is not in reference.toml", key)
		}
	}
}

// generalized puts "*" in the place of names that people choose.
func generalized(key string) string {
	if strings.HasPrefix(key, "aliases.") {
		return "aliases.*"
	}
	if strings.HasPrefix(key, "directories.") {
		return "directories.*"
	}
	return key
}

func settings(t *testing.T, c *Config) map[string]Setting {
	t.Helper()
	list, err := c.Settings()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]Setting{}
	for _, s := range list {
		m[s.Key] = s
	}
	return m
}

func TestSettings(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "xm.toml"), `
postmaster = "alice"
domains = [
	"smtp",
	"listen",
]
Data_Dir = "/mail"
[smtp]
listen = ":25"
trusted = ["10.0.0.0/8"]
[aliases]
"info@example.org" = ["a"]
[quota]
octets = 5
`)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c.SetBy("pop3.listen", "--listen")
	got := settings(t, &c)
	for key, want := range map[string]string{
		"domains":                    `["smtp", "listen"] 3`,
		"data_dir":                   `"/mail" 7`,
		"smtp.listen":                `":25" 9`,
		"smtp.trusted":               `["10.0.0.0/8"] 10`,
		"smtp.max_recipients":        "1000 default",
		"smtp.proxies":               "[] default",
		"login.failure_delay":        `"1s" default`,
		`aliases."info@example.org"`: `["a"] 12`,
		"aliases.postmaster":         `["alice"] 2`,
		"quota.octets":               "5 14",
		"quota.messages":             "0 default",
		"pop3.listen":                `"127.0.0.1:2110" --listen`,
	} {
		s := got[key]
		if have := s.Value + " " + strings.TrimPrefix(s.Source, path+":"); have != want {
			t.Errorf("%s: %s, want %s", key, have, want)
		}
	}
	// What is listed is a config of the same settings.
	var text strings.Builder
	for _, s := range got {
		fmt.Fprintf(&text, "%s = %s\n", s.Key, s.Value)
	}
	var again Config
	if _, err := toml.Decode(text.String(), &again); err != nil {
		t.Fatal(err)
	}
	again.File, again.sources = c.File, c.sources
	if fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", c) || !reflect.DeepEqual(again.Aliases, c.Aliases) {
		t.Errorf("listed and read again:\n%+v, want\n%+v", again, c)
	}
}

func TestSuggestions(t *testing.T) {
	for content, want := range map[string]string{
		"\nhostnam = \"x\"":                    `xm.toml:2: unknown setting "hostnam"; is it "hostname"?`,
		"[smtp]\nlisten = \":25\"\nmax-size=1": `xm.toml:3: unknown setting "smtp.max-size"; is it "smtp.max_size"?`,
		"max_recipients = 1":                   `xm.toml:1: unknown setting "max_recipients"; is it "smtp.max_recipients"?`,
		"[quota]\nmessage = 1":                 `xm.toml:2: unknown setting "quota.message"; is it "quota.messages"?`,
	} {
		_, err := Load(write(t, filepath.Join(t.TempDir(), "xm.toml"), content))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
}

func TestWrite(t *testing.T) {
	text, err := Write([]Value{{"hostname", `"mail.example.com"`}, {"pop3.listen", `":110"`}, {"tls.key", `"k.pem"`}, {"tls.cert", `"c.pem"`}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(write(t, filepath.Join(t.TempDir(), "xm.toml"), text))
	if err != nil || c.Hostname != "mail.example.com" || c.POP3.Listen != ":110" || c.SMTP.Listen != "127.0.0.1:2525" || !strings.HasSuffix(c.TLS.Key, "/k.pem") {
		t.Errorf("%v: %+v", err, c)
	}
	if strings.Count(text, "\n") != strings.Count(Reference, "\n") {
		t.Error("lines were lost")
	}
	if _, err := Write([]Value{{"smtp.lisen", "1"}}); err == nil {
		t.Error("a setting that the reference does not have was written")
	}
}
