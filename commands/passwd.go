package commands

import (
	"context"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
	"xm/internal/mailclient"
	"xm/internal/regwire"
)

func passwd() *cli.Command {
	return &cli.Command{
		Name:      "passwd",
		Usage:     "change your password, over the network",
		ArgsUsage: "[NAME]",
		Description: "Signed with key.priv: the old password is not needed, and the server does not see the\n" +
			"new one. NAME is you on the server; without it, the account of xm login, or user in\n" +
			"[account] of the config. A password that xm login --store keeps is changed too, if the\n" +
			"new one works there; where else an account has its password, you are told. Who has lost\n" +
			"the key asks the operator: xm user passwd.",
		Flags:  serverFlags(passwordFileFlag(), passphraseFlag()),
		Action: func(c *cli.Context) error { return withMember(c, false, runPasswd) },
	}
}

func runPasswd(m *member) error {
	record, text, err := m.newRecord()
	if err != nil {
		return err
	}
	if err := m.do(regwire.Request{Action: regwire.Change, Record: record}, nil, m.key); err != nil {
		return err
	}
	return m.renewAccounts(text)
}

// renewAccounts sees to the password of the user's accounts. The one on the server
// is changed already.
func (m *member) renewAccounts(text string) error {
	cfg, err := loadConfig(m.c)
	if err != nil {
		return err
	}
	if a := cfg.Account; a.User == m.name.String() {
		if a.Password != "" {
			say(m.c, "[account] of the config has the old password: change it there")
		}
		if err := m.tellOthers("[account] of the config", a); err != nil {
			return err
		}
	}
	stored, err := config.LoadAccounts()
	if err != nil {
		return err
	}
	renewed := map[string]string{} // and the password that it had
	for name, a := range stored.Accounts {
		if a.User != m.name.String() {
			continue
		}
		if err := m.tellOthers("the account "+name, a); err != nil {
			return err
		}
		if a.Password == "" || a.Password == text {
			continue
		}
		if err := m.tryAccount(a, text); err != nil {
			say(m.c, "warning: the account %s keeps the password that it had, as the new one was not taken: %v; see xm login", name, err)
			continue
		}
		renewed[name] = a.Password
	}
	if len(renewed) == 0 {
		return nil
	}
	path, err := config.ChangeAccounts(func(now *config.Accounts) {
		for name, had := range renewed {
			if a := now.Accounts[name]; a.User == m.name.String() && a.Password == had {
				a.Password = text
				now.Accounts[name] = a
			}
		}
	})
	if err != nil {
		return err
	}
	say(m.c, "the password in %s is changed", path)
	return nil
}

// tellOthers says where an account's password is that we do not change.
func (m *member) tellOthers(what string, a config.Account) error {
	given, err := filepath.Abs(m.c.String("password-file"))
	if err != nil {
		return err
	}
	switch {
	case a.PasswordFile != "" && a.PasswordFile != given:
		say(m.c, "%s has its password from the file %s: change it there", what, a.PasswordFile)
	case a.PasswordFile == "" && a.PasswordCommand != "":
		say(m.c, "%s has its password from the command %s: change it there", what, a.PasswordCommand)
	}
	return nil
}

// tryAccount logs in with a password. A user of the same name may be somebody
// else, on another server.
func (m *member) tryAccount(a config.Account, text string) error {
	full, err := newAccount(a)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(m.c.Context, findTime)
	defer cancel()
	p, err := mailclient.OpenPOP3(ctx, full.pop3, mailclient.Credentials{User: a.User, Password: text})
	if err != nil {
		return err
	}
	return p.Quit()
}
