package commands

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
	"xm/internal/mailclient"
	"xm/userdb"
)

func login() *cli.Command {
	return &cli.Command{
		Name:      "login",
		Usage:     "check an account on a mail server, and remember it",
		ArgsUsage: "USER",
		Description: "Finds the server's ports, checks the password, and makes USER the account that is used\n" +
			"where --account names no other. It is kept in xm/accounts.toml in your config directory,\n" +
			"which others can't read. The server is --server, or the domain of USER; without one, that\n" +
			"of [account] in the config. The password is asked for each time, unless --password-file\n" +
			"or --password-command tell where it is, or --store keeps it, in clear.\n\n" +
			"   xm login alice@example.org\n" +
			"   xm login alice@example.org --server mail.example.org --password-command 'pass show mail'",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "server", Usage: "the mail server is `HOST`"},
			smtpFlag(), pop3Flag(), fingerprintFlag(), passwordFileFlag(),
			&cli.StringFlag{Name: "password-command", Usage: "the password is the first line that `COMMAND` prints"},
			&cli.BoolFlag{Name: "store", Usage: "keep the password in the file of the accounts, in clear"},
		},
		Action: runLogin,
	}
}

func logout() *cli.Command {
	return &cli.Command{
		Name:        "logout",
		Usage:       "forget an account",
		ArgsUsage:   "[ACCOUNT]",
		Description: "Forgets the ACCOUNT, or the one that is used where none is named. Mail, keys and drafts\nstay where they are.",
		Action:      runLogout,
	}
}

func runLogin(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	name, err := readName(c.Args().First())
	if err != nil {
		return err
	}
	a := config.Account{User: name.String(), PasswordFile: c.String("password-file"), PasswordCommand: c.String("password-command"), TLSFingerprint: c.String("tls-fingerprint")}
	password, err := account{Account: a}.password(c)
	if err != nil {
		return err
	}
	f := finder{c: c, auth: mailclient.Credentials{User: a.User, Password: password}, fingerprint: a.TLSFingerprint}
	if err := f.find(name); err != nil {
		return err
	}
	a.SMTP, a.POP3 = f.smtp.Text("smtp"), f.pop3.Text("pop3")
	return storeAccount(c, a, password)
}

// storeAccount remembers an account that works.
func storeAccount(c *cli.Context, a config.Account, password string) error {
	var err error
	if a.Keys, err = filepath.Abs(keysDir(c)); err != nil {
		return err
	}
	switch {
	case c.Bool("store"):
		a.Password, a.PasswordFile, a.PasswordCommand = password, "", ""
	case isStdin(c, a.PasswordFile):
		a.PasswordFile = ""
	case a.PasswordFile != "":
		if a.PasswordFile, err = filepath.Abs(a.PasswordFile); err != nil {
			return err
		}
	}
	path, err := config.ChangeAccounts(func(all *config.Accounts) { all.Accounts[a.User], all.Default = a, a.User })
	if err != nil {
		return err
	}
	say(c, "logged in as %s: SMTP %s, POP3 %s; kept in %s", a.User, a.SMTP, a.POP3, path)
	if a.Password != "" {
		say(c, "warning: the password is in that file, in clear: --password-command is safer")
	}
	return nil
}

func runLogout(c *cli.Context) error {
	if err := wantArgs(c, 0, 1); err != nil {
		return err
	}
	all, err := config.LoadAccounts()
	if err != nil {
		return err
	}
	name := all.Default
	if c.NArg() == 1 {
		name = c.Args().First()
	}
	if _, ok := all.Accounts[name]; !ok {
		return noAccount(name, all)
	}
	_, err = config.ChangeAccounts(func(now *config.Accounts) {
		delete(now.Accounts, name)
		if now.Default == name {
			now.Default = ""
		}
		all = *now
	})
	if err != nil {
		return err
	}
	say(c, "%s is forgotten", name)
	if len(all.Accounts) > 0 && all.Default == "" {
		say(c, "there is no default now; there is --account, for %s", accountNames(all))
	}
	return nil
}

func noAccount(name string, all config.Accounts) error {
	if len(all.Accounts) == 0 {
		return fmt.Errorf("%w: there is no account: see xm login", errNotFound)
	}
	if name == "" {
		return fmt.Errorf("%w: no account is the default: name one, of %s", errNotFound, accountNames(all))
	}
	return fmt.Errorf("%w: there is no account %q; there is %s", errNotFound, name, accountNames(all))
}

func accountNames(all config.Accounts) string {
	return strings.Join(slices.Sorted(maps.Keys(all.Accounts)), ", ")
}

// finder finds a server's ports.
type finder struct {
	c           *cli.Context
	auth        mailclient.Credentials
	fingerprint string
	smtp, pop3  mailclient.Server
}

// findTime bounds what one port may take to answer.
const findTime = 15 * time.Second

func (f *finder) find(user userdb.Name) error {
	cfg, err := loadConfig(f.c)
	if err != nil {
		return err
	}
	host := f.c.String("server")
	if host == "" && !strings.HasPrefix(user.Domain(), "localhost") {
		host = user.Domain()
	}
	f.pop3, err = f.first(candidates(f.c.String("pop3"), host, cfg.Account.POP3, "995", "110", "2110"), func(ctx context.Context, s mailclient.Server) error {
		p, err := mailclient.OpenPOP3(ctx, s, f.auth)
		if err != nil {
			return err
		}
		return p.Quit()
	})
	if err != nil {
		return err
	}
	f.smtp, err = f.first(candidates(f.c.String("smtp"), host, cfg.Account.SMTP, "465", "587", "2525"), func(ctx context.Context, s mailclient.Server) error {
		session, err := mailclient.OpenSMTP(ctx, s, &f.auth)
		if err == nil {
			session.Quit()
		}
		return err
	})
	return err
}

// candidates are where a server may be: where it was said to be, or at the usual
// ports of the host, or, without one, where the config has it.
func candidates(said, host, configured string, ports ...string) (all []string) {
	switch {
	case said != "":
		return []string{said}
	case host == "":
		return []string{configured}
	}
	for _, port := range ports {
		all = append(all, net.JoinHostPort(host, port))
	}
	return all
}

// first returns the first server that a session can be had with. A port that
// answers, and is not as it should be, is told of before one that does not.
func (f *finder) first(addrs []string, try func(context.Context, mailclient.Server) error) (found mailclient.Server, err error) {
	var unreachable, refused error
	for _, addr := range addrs {
		if found, err = parseMailServer(addr, f.fingerprint); err != nil {
			return found, err
		}
		ctx, cancel := context.WithTimeout(f.c.Context, findTime)
		err = try(ctx, found)
		cancel()
		switch {
		case err == nil:
			return found, nil
		case f.c.Context.Err() != nil:
			return found, errInterrupted
		case errors.Is(err, mailclient.ErrUnreachable):
			unreachable = errors.Join(unreachable, err)
		case errors.Is(err, mailclient.ErrLogin):
			return found, err // another port has the same users
		case refused == nil:
			refused = err
		}
	}
	if refused != nil {
		return found, refused
	}
	return found, unreachable
}
