package commands

import (
	"fmt"
	"net"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
	"xm/internal/mailclient"
	"xm/userdb"
)

// defaultDomain is that of addresses without one, where the account's name has
// none either.
const defaultDomain = "localhost"

// accountFlags say who is asking and where the servers are. The [account] table
// of the config has the same.
func accountFlags(more ...cli.Flag) []cli.Flag {
	return append(more,
		&cli.StringFlag{Name: "user", Usage: "your `NAME` on the server"},
		passwordFileFlag(),
		&cli.StringFlag{Name: "smtp", Usage: "the SMTP server, `HOST:PORT` (default: 127.0.0.1:2525)"},
		&cli.StringFlag{Name: "pop3", Usage: "the POP3 server, `HOST:PORT` (default: 127.0.0.1:2110)"},
	)
}

// loadAccount reads the account from the config. Flags win.
func loadAccount(c *cli.Context) (config.Account, error) {
	cfg, err := loadConfig(c)
	if err != nil {
		return config.Account{}, err
	}
	a := cfg.Account
	for flag, field := range map[string]*string{
		"user": &a.User, "password-file": &a.PasswordFile, "smtp": &a.SMTP, "pop3": &a.POP3,
	} {
		if c.IsSet(flag) {
			*field = c.String(flag)
		}
	}
	if a.User == "" {
		return a, usageErrorf("who are you on the server? Say --user NAME, or set user in [account] of the config")
	}
	if _, err := userdb.ParseName(a.User); err != nil {
		return a, usageError{err.Error()}
	}
	for _, addr := range []string{a.SMTP, a.POP3} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return a, usageErrorf("%q is not HOST:PORT", addr)
		}
	}
	return a, nil
}

// addressOf makes an address of a name: a bare one gets the domain of the
// account, which also finds bare users on our own servers.
func addressOf(name string, a config.Account) string {
	if strings.Contains(name, "@") {
		return name
	}
	if _, domain, ok := strings.Cut(a.User, "@"); ok {
		return name + "@" + domain
	}
	return name + "@" + defaultDomain
}

// withMaildrop logs in and calls f. A session that f could not finish is broken
// off.
func withMaildrop(c *cli.Context, f func(*mailclient.POP3) error) error {
	a, err := loadAccount(c)
	if err != nil {
		return err
	}
	password, err := readPassword(c, a.PasswordFile, fmt.Sprintf("Password of %s: ", a.User), false)
	if err != nil {
		return err
	}
	p, err := mailclient.OpenPOP3(c.Context, a.POP3, mailclient.Credentials{User: a.User, Password: password})
	if err != nil {
		return interrupted(c.Context, err)
	}
	defer p.Close()
	if err := f(p); err != nil {
		return interrupted(c.Context, err)
	}
	p.Quit()
	return nil
}
