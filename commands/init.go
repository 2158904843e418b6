package commands

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/config"
	"xm/internal/disk"
	"xm/internal/keyring"
	"xm/internal/safefile"
)

// Where the Debian package has things.
const (
	systemConfig = "/etc/xm/xm.toml"
	systemState  = "/var/lib/xm"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "set a server up: xm.toml, key pair and certificate",
		Description: "What is not given by a flag is asked for, if there is a terminal to ask on. xm.toml is\n" +
			"written where --config says, and tells what each setting means; the key pair of the\n" +
			"registration server, the data directory and a self-signed certificate are beside it,\n" +
			"unless --keys, --data and --tls-cert say otherwise; with --acme, the servers obtain the\n" +
			"certificate. Nothing is overwritten.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "hostname", Usage: "`NAME` of this server in DNS: mail.example.org"},
			&cli.StringSliceFlag{Name: "domain", Usage: "`DOMAIN` whose mail it takes: example.org. May be repeated"},
			&cli.StringFlag{Name: "postmaster", Usage: "`USER` who gets the mail for postmaster"},
			&cli.BoolFlag{Name: "standard-ports", Usage: "listen on ports 25, 587, 465, 110, 995 and 60085 of all addresses, not on high ones of this machine alone"},
			&cli.BoolFlag{Name: "system", Usage: "set up what the Debian package installs: --config /etc/xm/xm.toml --data /var/lib/xm/data --keys /var/lib/xm/keys --standard-ports"},
			listenFlag("`SERVICE=HOST:PORT`"),
			&cli.StringFlag{Name: "tls-cert", Usage: "the TLS certificate chain is `FILE`; none is made"},
			&cli.StringFlag{Name: "tls-key", Usage: "the private key of --tls-cert is `FILE`"},
			&cli.BoolFlag{Name: "acme", Usage: "the servers obtain a certificate that everybody trusts from Let's Encrypt, whose terms of service (https://letsencrypt.org/repository) you agree to with this; it must reach port 80 of --hostname"},
			passphraseFlag(),
		},
		Action: runInit,
	}
}

// setup is a server to be set up.
type setup struct {
	file, dir  string // xm.toml and its directory
	data, keys string
	hostname   string
	domains    []string
	postmaster string
	listen     map[string]string // by service
	cert, key  string
	selfSigned bool
	acme       bool // the servers obtain the certificate
	system     bool // what a package installs
}

func runInit(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	s, err := newSetup(c)
	if err != nil {
		return err
	}
	if err := s.refuse(); err != nil {
		return err
	}
	if err := s.ask(c); err != nil {
		return err
	}
	text, err := s.config()
	if err != nil {
		return err
	}
	fingerprint, err := s.make(c, text)
	if err != nil {
		return err
	}
	return s.explain(c, fingerprint)
}

func newSetup(c *cli.Context) (*setup, error) {
	s := &setup{file: "xm.toml", cert: c.String("tls-cert"), key: c.String("tls-key"), selfSigned: !c.IsSet("tls-cert") && !c.Bool("acme"), acme: c.Bool("acme"), system: c.Bool("system")}
	if s.system {
		s.file = systemConfig
	}
	if c.String("config") != "" {
		s.file = c.String("config")
	}
	if c.IsSet("tls-cert") != c.IsSet("tls-key") {
		return nil, usageErrorf("--tls-cert and --tls-key go together")
	}
	if s.acme && s.cert != "" {
		return nil, usageErrorf("--acme obtains a certificate, and --tls-cert names one: give one of them")
	}
	s.dir = filepath.Dir(s.file)
	s.data, s.keys = filepath.Join(s.dir, "data"), filepath.Join(s.dir, "server")
	if s.system {
		s.data, s.keys = filepath.Join(systemState, "data"), filepath.Join(systemState, "keys")
	}
	if c.IsSet("data") {
		s.data = c.String("data")
	}
	if c.IsSet("keys") && c.String("keys") != "" {
		s.keys = c.String("keys")
	}
	if s.selfSigned {
		s.cert, s.key = filepath.Join(s.keys, "tls-cert.pem"), filepath.Join(s.keys, "tls-key.pem")
	}
	var err error
	if s.listen, err = readListen(c, "", services); err != nil {
		return nil, err
	}
	if c.Bool("standard-ports") || s.system {
		s.listenStandard()
	}
	return s, nil
}

// listenStandard has the services listen where others expect them, unless something
// else was said.
func (s *setup) listenStandard() {
	for _, service := range services {
		if service.standard != "" && s.listen[service.name] == "" {
			s.listen[service.name] = service.standard
		}
	}
}

// refuse returns an error if something would be overwritten.
func (s *setup) refuse() error {
	files, mend := []string{s.file}, ""
	if s.selfSigned {
		files = append(files, s.cert, s.key)
	}
	for _, f := range files {
		if f != s.file {
			mend = fmt.Sprintf(": --tls-cert %s --tls-key %s keeps the certificate; move both files away, and another is made", s.cert, s.key)
		}
		if _, err := os.Lstat(f); err == nil {
			return fmt.Errorf("%s is there already, and nothing is overwritten%s", f, mend)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// ask gets what the flags did not say.
func (s *setup) ask(c *cli.Context) error {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("this machine's name: %w", err)
	}
	if s.hostname, err = answer(c, "hostname", "Name of this server in DNS", name); err != nil {
		return err
	}
	if s.domains = c.StringSlice("domain"); len(s.domains) == 0 {
		text, err := answer(c, "domain", "Domains whose mail it takes", strings.Join(likelyDomains(s.hostname), " "))
		if err != nil {
			return err
		}
		s.domains = strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' })
	}
	if s.postmaster, err = answer(c, "postmaster", "User who gets the mail for postmaster", ""); err != nil {
		return err
	}
	if s.data, err = answer(c, "data", "Directory of the users and their mail", s.data); err != nil {
		return err
	}
	if len(s.listen) > 0 {
		return nil
	}
	standard, err := answer(c, "standard-ports", "Listen on the standard ports, for everybody? Else on high ports, for this machine alone", "no")
	if err == nil && strings.HasPrefix(strings.ToLower(standard), "y") {
		s.listenStandard()
	}
	return err
}

// likelyDomains guesses at the domains of a server.
func likelyDomains(hostname string) []string {
	if _, domain, ok := strings.Cut(hostname, "."); ok && strings.Contains(domain, ".") {
		return []string{domain}
	}
	return []string{"localhost", "localhost.com"}
}

// config writes the text of xm.toml, and reads it again to see that it is one.
func (s *setup) config() (string, error) {
	values := []config.Value{
		{Key: "hostname", TOML: strconv.Quote(s.hostname)},
		{Key: "domains", TOML: quoteAll(s.domains)},
		{Key: "data_dir", TOML: strconv.Quote(s.relative(s.data))},
		{Key: "regd.keys", TOML: strconv.Quote(s.relative(s.keys))},
	}
	if s.acme {
		values = append(values, config.Value{Key: "tls.acme", TOML: "true"})
	} else {
		values = append(values, config.Value{Key: "tls.cert", TOML: strconv.Quote(s.relative(s.cert))}, config.Value{Key: "tls.key", TOML: strconv.Quote(s.relative(s.key))})
	}
	if s.postmaster != "" {
		values = append(values, config.Value{Key: "postmaster", TOML: strconv.Quote(s.postmaster)})
	}
	for _, service := range services {
		if addr := s.listen[service.name]; addr != "" {
			values = append(values, config.Value{Key: service.setting, TOML: strconv.Quote(addr)})
		}
	}
	text, err := config.Write(values)
	if err != nil {
		return "", err
	}
	return text, config.Check(text)
}

// relative names a file as xm.toml does: by its path from there, or whole.
func (s *setup) relative(path string) string {
	if rel, err := filepath.Rel(s.dir, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	if abs, err := filepath.Abs(path); err == nil { // fails without a current directory alone
		return abs
	}
	return path
}

func quoteAll(list []string) string {
	var quoted []string
	for _, s := range list {
		quoted = append(quoted, strconv.Quote(s))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// make writes everything, xm.toml last: where it is, all is.
func (s *setup) make(c *cli.Context, text string) (fingerprint string, err error) {
	// In this order: the data directory may be below the other, which is not to be
	// made with its mode.
	if err := safefile.MkdirAll(s.dir, 0o755); err != nil {
		return "", err
	}
	if err := safefile.MkdirAll(s.data, 0o700); err != nil {
		return "", err
	}
	ring, err := keyring.Create(s.keys, askPassphrase(c))
	if err != nil {
		return "", err
	}
	defer ring.Close()
	key, _, err := ensureOwnKey(c, ring)
	if err != nil {
		return "", err
	}
	if s.selfSigned {
		cert, key, err := selfSigned(append([]string{s.hostname}, s.domains...))
		if err != nil {
			return "", err
		}
		if err := errors.Join(writeNew(s.key, key, 0o600), writeNew(s.cert, cert, 0o644)); err != nil {
			return "", err
		}
	}
	return hybrid.Fingerprint(&key.PublicKey), writeNew(s.file, []byte(text), 0o644)
}

// writeNew writes a file, which belongs to the owner of its directory.
func writeNew(path string, data []byte, mode fs.FileMode) error {
	root, err := disk.OpenDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	return safefile.WriteNew(root, filepath.Base(path), data, mode)
}

// explain tells what there is now, and what to do next.
func (s *setup) explain(c *cli.Context, fingerprint string) error {
	xm := "xm"
	if c.IsSet("config") {
		xm += " --config " + s.file
	}
	certificate := s.cert
	switch {
	case s.selfSigned:
		certificate += ", self-signed: mail programs will ask whether to trust it"
	case s.acme:
		certificate = "obtained from Let's Encrypt, whose terms of service you agree to, when it runs"
	}
	run := xm + " serve"
	switch {
	case s.system && s.acme:
		run = "systemctl enable xm-acme.socket; systemctl enable --now xm"
	case s.system:
		run = "systemctl enable --now xm"
	}
	_, err := fmt.Fprintf(c.App.Writer, `settings      %[2]s: each is explained there
certificate   %[3]s
server's key  %[4]s, for the users, as server.pub
              %[5]s

Next:
  %[1]s user add NAME    add each of the users
  %[1]s doctor --dns     print the DNS records to set
  %[1]s doctor           see what is missing
  %[6]s run it
`, xm, s.file, certificate, filepath.Join(s.keys, "key.pub"), fingerprint, fmt.Sprintf("%-*s", len(xm)+17, run))
	return err
}
