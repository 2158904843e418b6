package commands

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/internal/keyring"
	"xm/internal/mailclient"
	"xm/internal/regclient"
	"xm/internal/regwire"
	"xm/userdb"
)

// member is a person who registers, or is registered, and their server.
type member struct {
	c      *cli.Context
	ring   *keyring.Ring
	server *regclient.Client
	name   userdb.Name
	key    *rsa.PrivateKey

	iterations int // of a new record
}

// withMember calls f for the user whom the command line, or else the config,
// names. Where create is set, a missing key pair is made.
func withMember(c *cli.Context, create bool, f func(*member) error) error {
	if err := wantArgs(c, 0, 1); err != nil {
		return err
	}
	ring, err := createKeys(c)
	if err != nil {
		return err
	}
	defer ring.Close()
	d, err := openDirectories(c, ring)
	if err != nil {
		return err
	}
	m := &member{c: c, ring: ring, iterations: d.cfg.Login.Iterations}
	if m.name, err = d.member(); err != nil {
		return err
	}
	a, err := d.homeServer()
	if err != nil {
		return err
	}
	made := false
	if create {
		m.key, made, err = ensureOwnKey(c, ring)
	} else {
		m.key, err = ownKey(c, ring)
	}
	if err != nil {
		return err
	}
	if made {
		say(c, "made your key pair, key.priv and key.pub, in %s", keysDir(c))
	}
	if m.server, err = d.connect(a, true); err != nil {
		return err
	}
	return f(m)
}

// member is who the command is about.
func (d *directories) member() (userdb.Name, error) {
	text := d.cfg.Account.User
	if d.c.NArg() > 0 {
		text = d.c.Args().First()
	}
	if text == "" {
		return userdb.Name{}, usageErrorf("who are you on the server? Say NAME, or set user in [account] of the config")
	}
	return readName(text)
}

// send completes a request, signs it with the keys that are given, and sends it.
func (m *member) send(r regwire.Request, proof, onRecord *rsa.PrivateKey) (text string, err error) {
	r.Name = m.name.String()
	if err := m.server.Prepare(m.c.Context, &r); err != nil {
		return "", interrupted(m.c.Context, err)
	}
	if proof != nil {
		if err := r.Prove(m.server.Key, proof); err != nil {
			return "", err
		}
	}
	if onRecord != nil {
		if err := r.Sign(m.server.Key, onRecord); err != nil {
			return "", err
		}
	}
	text, err = m.server.Send(m.c.Context, r)
	return mailclient.Printable(text), err
}

// do is send for requests that one can make again if it is not known what came of
// them.
func (m *member) do(r regwire.Request, proof, onRecord *rsa.PrivateKey) error {
	text, err := m.send(r, proof, onRecord)
	if err != nil {
		return refusedText(m.c.Context, err)
	}
	say(m.c, "%s: %s is %s", m.server.Address, m.name, text)
	return nil
}

// newRecord asks for a new password and makes the record that the server gets in
// its place.
func (m *member) newRecord() (record, password string, err error) {
	if password, err = newPassword(m.c, m.name); err != nil {
		return "", "", err
	}
	r, err := userdb.NewRecord(m.name, password, m.iterations)
	return r.Salt + "," + r.Hash, password, err
}

// registerOver registers over the network.
func registerOver(c *cli.Context) error {
	if c.NArg() == 1 && strings.Contains(c.Args().First(), ",") {
		return usageErrorf("with --server, say the name alone: the password is asked for")
	}
	return withMember(c, true, func(m *member) error {
		keys, err := m.ring.Export(keyring.Own)
		if err != nil {
			return err
		}
		record, _, err := m.newRecord()
		if err != nil {
			return err
		}
		r := regwire.Request{Action: regwire.Register, Record: record, Keys: string(keys), Invite: c.String("invite")}
		if err := m.do(r, m.key, nil); err != nil {
			return err
		}
		if err := m.ring.SetOwnServer(m.server.Address.String()); err != nil {
			return err
		}
		return printFingerprint(c, &m.key.PublicKey)
	})
}

func unregister() *cli.Command {
	return &cli.Command{
		Name:      "unregister",
		Usage:     "leave a server",
		ArgsUsage: "[NAME]",
		Description: "Signed with key.priv. You can't log in any more, and get no more mail there; what is\n" +
			"in your mailbox stays with the operator, who does not give it, or the name, to others.\n" +
			"NAME is you on the server; without it, user in [account] of the config.",
		Flags: serverFlags(passphraseFlag(), &cli.BoolFlag{Name: "yes", Usage: "ask no question"}),
		Action: func(c *cli.Context) error {
			return withMember(c, false, func(m *member) error {
				if !c.Bool("yes") {
					yes, err := confirm(c, fmt.Sprintf("Leave %s, as %s? (yes/no) ", m.server.Address, m.name), "--yes")
					if err != nil {
						return err
					}
					if !yes {
						return errors.New("nothing was done")
					}
				}
				return m.do(regwire.Request{Action: regwire.Unregister}, nil, m.key)
			})
		},
	}
}
