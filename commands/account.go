package commands

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
	"xm/internal/mailclient"
)

// defaultDomain is that of addresses without one, where the account's name has
// none either.
const defaultDomain = "localhost"

// accountFlags say who is asking and where the servers are, in the place of what
// xm login, or [account] of the config, said.
func accountFlags(more ...cli.Flag) []cli.Flag {
	return append(more,
		&cli.StringFlag{Name: "account", Usage: "use the account `NAME` of those that xm login made"},
		&cli.StringFlag{Name: "user", Usage: "your `NAME` on the server"},
		passwordFileFlag(),
		smtpFlag(), pop3Flag(), fingerprintFlag(),
	)
}

func smtpFlag() cli.Flag {
	return &cli.StringFlag{Name: "smtp", Usage: "the SMTP server, `HOST:PORT`; smtps://HOST:PORT has TLS from the start"}
}

func pop3Flag() cli.Flag {
	return &cli.StringFlag{Name: "pop3", Usage: "the POP3 server, `HOST:PORT`; pop3s://HOST:PORT has TLS from the start"}
}

func fingerprintFlag() cli.Flag {
	return &cli.StringFlag{Name: "tls-fingerprint", Usage: "the server's certificate is the one with this `SHA-256`, whoever signed it"}
}

// account is who is asking, and where the servers are.
type account struct {
	config.Account
	address    string // in mail
	smtp, pop3 mailclient.Server
}

// loadAccount finds the account: that of --account, the one of --user or the
// default of those that xm login made, or else the config's. Flags win.
func loadAccount(c *cli.Context) (account, error) {
	return loadNamedAccount(c, c.String("account"))
}

func loadNamedAccount(c *cli.Context, name string) (account, error) {
	a, err := findAccount(c, name)
	if err != nil {
		return account{}, err
	}
	for flag, field := range map[string]*string{
		"user": &a.User, "password-file": &a.PasswordFile, "smtp": &a.SMTP, "pop3": &a.POP3, "tls-fingerprint": &a.TLSFingerprint,
	} {
		if c.IsSet(flag) {
			*field = c.String(flag)
		}
	}
	if a.User == "" {
		return account{}, usageErrorf("who are you on the server? Run xm login, or say --account or --user NAME")
	}
	if a.Keys != "" && !c.IsSet("keys") {
		if err := c.Set("keys", a.Keys); err != nil {
			return account{}, err
		}
	}
	return newAccount(a)
}

func findAccount(c *cli.Context, name string) (config.Account, error) {
	cfg, err := loadConfig(c)
	if err != nil {
		return config.Account{}, err
	}
	stored, err := config.LoadAccounts()
	if err != nil {
		return config.Account{}, err
	}
	if a, ok := stored.Accounts[name]; ok {
		return a, nil
	}
	if name != "" {
		return config.Account{}, noAccount(name, stored)
	}
	if a, ok := stored.Accounts[c.String("user")]; ok {
		return a, nil
	}
	if a, ok := stored.Accounts[stored.Default]; ok && !c.IsSet("user") {
		return a, nil
	}
	return cfg.Account, nil
}

func newAccount(a config.Account) (account, error) {
	_, err := readName(a.User)
	if err != nil {
		return account{}, err
	}
	full := account{Account: a}
	full.address = full.addressOf(a.User)
	if full.smtp, err = parseMailServer(a.SMTP, a.TLSFingerprint); err != nil {
		return account{}, err
	}
	full.pop3, err = parseMailServer(a.POP3, a.TLSFingerprint)
	return full, err
}

// parseMailServer reads where a server is, and the fingerprint of its certificate, ""
// for any that somebody vouches for.
func parseMailServer(addr, fingerprint string) (mailclient.Server, error) {
	s, err := mailclient.ParseServer(addr)
	if err == nil && fingerprint != "" {
		s.Fingerprint, err = mailclient.ParseFingerprint(fingerprint)
	}
	if err != nil {
		return s, usageError{err.Error()}
	}
	return s, nil
}

// addressOf makes an address of a name: a bare one gets the domain of the
// account, which also finds bare users on our own servers.
func (a account) addressOf(name string) string {
	if strings.Contains(name, "@") {
		return name
	}
	if _, domain, ok := strings.Cut(a.User, "@"); ok {
		return name + "@" + domain
	}
	return name + "@" + defaultDomain
}

// dataDir is where what belongs to the account is kept, such as drafts.
func (a account) dataDir() (string, error) {
	dir := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(dir, "xm", a.User), nil
}

// errNoPassword says that there is no password unless somebody is asked.
var errNoPassword = errors.New("no password is at hand")

// storedPassword returns the password if nobody has to be asked for it.
func (a account) storedPassword(c *cli.Context) (string, error) {
	switch {
	case a.PasswordFile != "":
		return once(c, "password in "+a.PasswordFile, func() (string, error) { return password.fromFile(c, a.PasswordFile) })
	case a.PasswordCommand != "":
		return once(c, "password from "+a.PasswordCommand, func() (string, error) { return passwordFromCommand(c, a.PasswordCommand) })
	case a.Password != "":
		return a.Password, nil
	}
	return "", errNoPassword
}

// password returns the password, and asks for it if there is no other way.
func (a account) password(c *cli.Context) (string, error) {
	text, err := a.storedPassword(c)
	if errors.Is(err, errNoPassword) {
		prompt := fmt.Sprintf("Password of %s: ", a.User)
		return once(c, prompt, func() (string, error) { return password.ask(c, prompt) })
	}
	return text, err
}

// passwordFromCommand runs a command with sh, and takes the first line that it
// prints.
func passwordFromCommand(c *cli.Context, command string) (string, error) {
	cmd := exec.CommandContext(c.Context, "sh", "-c", command)
	cmd.Stderr = c.App.ErrWriter
	out, err := cmd.Output()
	if err != nil {
		return "", interrupted(c.Context, fmt.Errorf("password_command: %w", err))
	}
	first, _, _ := strings.Cut(string(out), "\n")
	text, err := password.fromLine(first)
	if err != nil {
		return "", errors.New("password_command prints no password")
	}
	return text, nil
}

// openMaildrop logs in to the POP3 server.
func (a account) openMaildrop(c *cli.Context) (*mailclient.POP3, error) {
	text, err := a.password(c)
	if err != nil {
		return nil, err
	}
	p, err := mailclient.OpenPOP3(c.Context, a.pop3, mailclient.Credentials{User: a.User, Password: text})
	return p, interrupted(c.Context, err)
}

// openSubmission logs in to the SMTP server. A server on this machine may not
// ask who is there, so nobody is asked for a password for it.
func (a account) openSubmission(c *cli.Context) (*mailclient.SMTP, error) {
	var auth *mailclient.Credentials
	text, err := a.storedPassword(c)
	if errors.Is(err, errNoPassword) && !a.smtp.OnThisMachine() {
		text, err = a.password(c)
	}
	switch {
	case err == nil:
		auth = &mailclient.Credentials{User: a.User, Password: text}
	case !errors.Is(err, errNoPassword):
		return nil, err
	}
	s, err := mailclient.OpenSMTP(c.Context, a.smtp, auth)
	return s, interrupted(c.Context, err)
}

// withMaildrop logs in and calls f. A session that f could not finish is broken
// off.
func withMaildrop(c *cli.Context, a account, f func(*mailclient.POP3) error) error {
	p, err := a.openMaildrop(c)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := f(p); err != nil {
		return interrupted(c.Context, err)
	}
	return interrupted(c.Context, p.Quit())
}
