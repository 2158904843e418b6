// Package config reads xm.toml.
//
//	hostname   = "mail.example.org"            # default: this machine's name
//	domains    = ["localhost", "localhost.com"] # whose addresses are all ours
//	data_dir   = "data"                        # users.txt and the maildrops
//	postmaster = "alice"                       # short for an alias of one
//
//	[aliases]                                  # who gets the mail for a name
//	info               = ["alice", "bob"]      # at every local domain
//	"info@example.org" = ["info", "carol"]     # users and other aliases
//
//	[quota]                                    # of a maildrop; 0: no limit
//	octets   = 0
//	messages = 0
//
//	[quota.users.alice]                        # in the place of those above
//	octets   = 1000000
//	messages = 0
//
//	[smtp]
//	listen         = "127.0.0.1:2525"
//	max_size       = 67108864                  # octets of a message
//	max_recipients = 1000
//	trusted        = ["127.0.0.0/8", "::1/128"] # who may use local senders
//
//	[pop3]
//	listen        = "127.0.0.1:2110"
//	failure_delay = "1s"                       # after a wrong password
//
//	[regd]
//	listen = "127.0.0.1:60085"
//
//	[account]                                  # for xm send, inbox and read
//	user          = "alice@localhost.com"
//	password_file = "password"                 # its first line
//	smtp          = "127.0.0.1:2525"
//	pop3          = "127.0.0.1:2110"
//
// Everything has a default; the values above are the defaults, but for hostname,
// postmaster, the aliases, the users' quotas, user and password_file. Relative paths are relative to the
// directory of the file. A key that is not listed here is an error.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/BurntSushi/toml"
)

// Config is everything that can be set.
type Config struct {
	Hostname   string   `toml:"hostname"`
	Domains    []string `toml:"domains"`
	DataDir    string   `toml:"data_dir"`
	Postmaster string   `toml:"postmaster"`
	SMTP       SMTP     `toml:"smtp"`
	POP3       POP3     `toml:"pop3"`
	Regd       Regd     `toml:"regd"`
	Account    Account  `toml:"account"`

	Aliases map[string][]string `toml:"aliases"`
	Quota   Quota               `toml:"quota"`
}

// SMTP is for xm smtpd.
type SMTP struct {
	Listen        string         `toml:"listen"`
	MaxSize       int64          `toml:"max_size"`
	MaxRecipients int            `toml:"max_recipients"`
	Trusted       []netip.Prefix `toml:"trusted"`
}

// POP3 is for xm pop3d.
type POP3 struct {
	Listen       string        `toml:"listen"`
	FailureDelay time.Duration `toml:"failure_delay"`
}

// Regd is for xm regd.
type Regd struct {
	Listen string `toml:"listen"`
}

// Account is for the mail client.
type Account struct {
	User         string `toml:"user"`
	PasswordFile string `toml:"password_file"`
	SMTP         string `toml:"smtp"`
	POP3         string `toml:"pop3"`
}

func defaults() (Config, error) {
	host, err := os.Hostname()
	if err != nil {
		return Config{}, fmt.Errorf("this machine's name: %w", err)
	}
	const smtp, pop3, regd = "127.0.0.1:2525", "127.0.0.1:2110", "127.0.0.1:60085"
	return Config{
		Hostname: host,
		Domains:  []string{"localhost", "localhost.com"},
		DataDir:  "data",
		SMTP: SMTP{Listen: smtp, MaxSize: 64 << 20, MaxRecipients: 1000, Trusted: []netip.Prefix{
			netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
		}},
		POP3:    POP3{Listen: pop3, FailureDelay: time.Second},
		Regd:    Regd{Listen: regd},
		Account: Account{SMTP: smtp, POP3: pop3},
	}, nil
}

// Load reads the file at path, or, if path is empty, the first that exists of
// ./xm.toml and xm/xm.toml in the user's config directory. Without a file, it
// returns the defaults.
func Load(path string) (Config, error) {
	c, err := defaults()
	if err != nil {
		return Config{}, err
	}
	if path == "" {
		if path, err = find(); err != nil || path == "" {
			return c, err
		}
	}
	md, err := toml.DecodeFile(path, &c)
	if err != nil {
		return Config{}, explain(path, err)
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		return Config{}, fmt.Errorf("%s: unknown setting %q", path, unknown[0].String())
	}
	c.resolvePaths(filepath.Dir(path), md)
	if err := c.foldPostmaster(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := c.check(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func find() (string, error) {
	places := []string{"xm.toml"}
	if dir, err := os.UserConfigDir(); err == nil { // without a home there is none
		places = append(places, filepath.Join(dir, "xm", "xm.toml"))
	}
	for _, p := range places {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}

func explain(path string, err error) error {
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		return fmt.Errorf("%s, line %d: %s", path, syntax.Position.Line, syntax.Message)
	}
	var file *fs.PathError
	if errors.As(err, &file) { // it names the file
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

func (c *Config) resolvePaths(dir string, md toml.MetaData) {
	if md.IsDefined("data_dir") {
		c.DataDir = under(dir, c.DataDir)
	}
	if c.Account.PasswordFile != "" {
		c.Account.PasswordFile = under(dir, c.Account.PasswordFile)
	}
}

func under(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func (c *Config) check() error {
	switch {
	case c.Hostname == "" || c.DataDir == "":
		return errors.New("hostname and data_dir can't be empty")
	case c.SMTP.MaxSize < 1 || c.SMTP.MaxSize > 1<<40 || c.SMTP.MaxRecipients < 1:
		return errors.New("smtp.max_size is 1 to 2^40 octets, smtp.max_recipients 1 or more")
	case c.POP3.FailureDelay < 0:
		return errors.New("pop3.failure_delay can't be negative")
	case slices.Contains(c.Domains, ""):
		return errors.New("domains holds an empty one")
	}
	for name, addr := range map[string]string{
		"smtp.listen": c.SMTP.Listen, "pop3.listen": c.POP3.Listen, "regd.listen": c.Regd.Listen,
		"account.smtp": c.Account.SMTP, "account.pop3": c.Account.POP3,
	} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("%s = %q is not HOST:PORT", name, addr)
		}
	}
	return errors.Join(c.checkAliases(), c.Quota.check())
}

// LocalDomains are the configured domains and the host name.
func (c *Config) LocalDomains() []string {
	return append(slices.Clone(c.Domains), c.Hostname)
}
