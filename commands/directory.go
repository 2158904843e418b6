package commands

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/config"
	"xm/internal/keyring"
	"xm/internal/mailclient"
	"xm/internal/regclient"
	"xm/userdb"
)

// serverFlags say which registration server is meant.
func serverFlags(more ...cli.Flag) []cli.Flag {
	return append(more,
		&cli.StringFlag{Name: "server", Usage: "the registration server, `HOST[:PORT]`; https://HOST[:PORT] asks it under TLS"},
		&cli.StringFlag{Name: "server-key", Usage: "take the server's key if it has this `FINGERPRINT`, without a question"},
	)
}

// directories knows where public keys are to be had.
type directories struct {
	c    *cli.Context
	ring *keyring.Ring
	cfg  config.Config
	home regclient.Address // where one is registered; zero if that is not known
}

func openDirectories(c *cli.Context, ring *keyring.Ring) (*directories, error) {
	cfg, err := loadConfig(c)
	if err != nil {
		return nil, err
	}
	home := cfg.Account.Server
	if cfg.Account, err = findAccount(c, c.String("account")); err != nil {
		return nil, err
	}
	d := &directories{c: c, ring: ring, cfg: cfg}
	if home == "" {
		if home, err = ring.OwnServer(); err != nil {
			return nil, err
		}
	}
	if home != "" {
		d.home, err = regclient.ParseAddress(home)
	}
	return d, err
}

// homeServer is the one to register at, or where one is registered.
func (d *directories) homeServer() (regclient.Address, error) {
	if d.c.IsSet("server") {
		return parseServer(d.c.String("server"))
	}
	if d.home.IsZero() {
		return d.home, usageErrorf("which server? Say --server HOST[:PORT], or set server in [account] of the config")
	}
	return d.home, nil
}

func parseServer(text string) (regclient.Address, error) {
	a, err := regclient.ParseAddress(text)
	if err != nil {
		return a, usageError{err.Error()}
	}
	return a, nil
}

// serverOf finds the server that knows the keys of a user.
func (d *directories) serverOf(name userdb.Name) (regclient.Address, error) {
	domain := strings.ToLower(name.Domain())
	switch other, listed := d.cfg.Directories[domain]; {
	case d.c.IsSet("server"):
		return parseServer(d.c.String("server"))
	case listed:
		return parseServer(other)
	case domain == "" || domain == d.home.Host() || domain == d.ownDomain():
		return d.homeServer()
	case domain == defaultDomain && d.ownDomain() == "" && !d.home.IsZero(): // as account.addressOf has it
		return d.home, nil
	}
	return parseServer(domain)
}

// ownDomain is that of the account; "" if it has none.
func (d *directories) ownDomain() string {
	_, domain, _ := strings.Cut(d.cfg.Account.User, "@")
	return strings.ToLower(domain)
}

// isHome reports whether server.pub is the key of a server.
func (d *directories) isHome(a regclient.Address) bool {
	return !d.home.IsZero() && a.HostPort() == d.home.HostPort()
}

// errServerKey is matched by the error for a server that shows another key than
// the pinned one.
var errServerKey = fmt.Errorf("%w: THIS IS NOT THE KEY OF THE SERVER THAT IS KNOWN", hybrid.ErrNotAuthentic)

// connect returns a client of a server that shows its pinned key. One that is
// asked for the first time is pinned if the person says so. home tells whether it
// is the person's own server, whose key is server.pub.
func (d *directories) connect(a regclient.Address, home bool) (*regclient.Client, error) {
	client := regclient.New(a)
	shown, err := client.ServerKey(d.c.Context)
	if err != nil {
		return nil, interrupted(d.c.Context, err)
	}
	client.Key, err = d.ring.ServerKey(a.HostPort(), home)
	if errors.Is(err, keyring.ErrNotFound) {
		client.Key, err = shown, d.pin(a, home, shown)
	}
	if err != nil {
		return nil, err
	}
	if !client.Key.Equal(shown) {
		return nil, fmt.Errorf("%w\npinned  %s\nshown   %s\n%s has a new key, or somebody is in between: ask its operator, by another way, which is right",
			errServerKey, hybrid.Fingerprint(client.Key), hybrid.Fingerprint(shown), a)
	}
	return client, d.checkServerKey(a, shown)
}

// checkServerKey wants the fingerprint that --server-key gives, if it is given.
func (d *directories) checkServerKey(a regclient.Address, key *rsa.PublicKey) error {
	if !d.c.IsSet("server-key") {
		return nil
	}
	same, err := sameFingerprint(d.c, "server-key", key)
	if err == nil && !same {
		err = fmt.Errorf("%w: the key of %s has the fingerprint %s, and not that of --server-key", hybrid.ErrNotAuthentic, a, hybrid.Fingerprint(key))
	}
	return err
}

// sameFingerprint tells whether a key has the fingerprint that a flag gives, as
// people type it. What can't be one, a line of xm key list say, is wrong usage,
// and no sign of a wrong key.
func sameFingerprint(c *cli.Context, flag string, key *rsa.PublicKey) (bool, error) {
	given, err := mailclient.ParseFingerprint(c.String(flag))
	if err != nil {
		return false, usageErrorf("--%s: %v", flag, err)
	}
	shown, err := mailclient.ParseFingerprint(hybrid.Fingerprint(key))
	return given == shown, err
}

// pin keeps the key of a server that was not known.
func (d *directories) pin(a regclient.Address, home bool, shown *rsa.PublicKey) error {
	if err := d.checkServerKey(a, shown); err != nil {
		return err
	}
	if !d.c.IsSet("server-key") && !d.isOwnKey(shown) {
		say(d.c, "%s is not known yet; its key has the fingerprint\n    %s", a, hybrid.Fingerprint(shown))
		yes, err := confirm(d.c, "Does its operator say the same? (yes/no) ", "--server-key FINGERPRINT, with the one that its operator gives")
		if err != nil {
			return err
		}
		if !yes {
			return errors.New("the server's key was not taken, and nothing was done")
		}
	}
	file, err := d.ring.PinServer(a.HostPort(), home, shown)
	if err == nil {
		say(d.c, "the key of %s is in %s", a, file)
	}
	return err
}

// isOwnKey reports whether a key is that of the own server, at another address.
func (d *directories) isOwnKey(key *rsa.PublicKey) bool {
	own, err := d.ring.Public(keyring.Server)
	return err == nil && own.Equal(key)
}

// fetch asks for the key of a user and keeps it. The error matches
// keyring.ErrNotFound where there is none.
func (d *directories) fetch(name userdb.Name) (*rsa.PublicKey, error) {
	a, err := d.serverOf(name)
	if err != nil {
		return nil, err
	}
	client, err := d.connect(a, d.isHome(a))
	if err != nil {
		return nil, err
	}
	pem, at, err := client.Keys(d.c.Context, name.String())
	switch {
	case errors.Is(err, regclient.ErrNoKey):
		return nil, fmt.Errorf("%w: %s says that there is none of %s", keyring.ErrNotFound, a, name)
	case err != nil:
		return nil, interrupted(d.c.Context, err)
	}
	key, err := d.ring.Fetched(name.String(), pem, a.String(), at)
	if errors.Is(err, keyring.ErrChanged) {
		return nil, fmt.Errorf("%w\n%s gives this key for %s. It is not used: it may be that of somebody who wants to read your mail.\n"+
			"Ask %s, by another way than mail, which is right; xm key accept %s takes the new one", err, a, name, name, name)
	}
	return key, err
}

// fetchMissing fetches a key that is not at hand, from a server that is known.
func (d *directories) fetchMissing(name userdb.Name) (*rsa.PublicKey, error) {
	a, err := d.serverOf(name)
	if err != nil {
		return nil, errors.New("no server is known to ask for it")
	}
	if _, err := d.ring.ServerKey(a.HostPort(), d.isHome(a)); err != nil {
		return nil, fmt.Errorf("%s was not asked for it, as its key is not pinned: xm key fetch %s does that", a, name)
	}
	key, err := d.fetch(name)
	if err != nil {
		return nil, err
	}
	say(d.c, "fetched the key of %s from %s; xm key verify %s shows its fingerprint, to be compared", name, a, name)
	return key, nil
}

// refusedText makes the words of a server fit for a terminal.
func refusedText(ctx context.Context, err error) error {
	var refused *regclient.Refusal
	if !errors.As(err, &refused) {
		return interrupted(ctx, err)
	}
	doubt := ""
	if !refused.Authentic {
		doubt = " (nothing proves that this is from the server)"
	}
	return fmt.Errorf("the server refused%s: %s", doubt, mailclient.Printable(refused.Text))
}
