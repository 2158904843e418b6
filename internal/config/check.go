package config

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

func (c *Config) check() error {
	switch {
	case c.Hostname == "" || c.DataDir == "":
		return errors.New("hostname and data_dir can't be empty")
	case c.SMTP.MaxSize < 1 || c.SMTP.MaxSize > 1<<40:
		return errors.New("smtp.max_size is 1 to 2^40 octets")
	case c.SMTP.MaxRecipients < 1 || c.SMTP.MaxConnections < 1 || c.SMTP.MaxPerAddress < 1:
		return errors.New("smtp.max_recipients, max_connections and max_per_address are 1 or more")
	case c.POP3.MaxConnections < 1 || c.POP3.MaxPerAddress < 1 || c.POP3.LoginDelay < 0:
		return errors.New("pop3.max_connections and max_per_address are 1 or more, pop3.login_delay can't be negative")
	case c.Login.FailureDelay < 0 || c.Login.MaxFailures < 1:
		return errors.New("login.failure_delay can't be negative, login.max_failures is 1 or more")
	case c.Regd.MaxConnections < 1 || c.Regd.MaxPerAddress < 1:
		return errors.New("regd.max_connections and max_per_address are 1 or more")
	case !slices.Contains([]string{"open", "invite", "closed"}, c.Regd.Policy):
		return errors.New("regd.policy is open, invite or closed")
	case c.Regd.RequestsPerMinute < 0 || c.Regd.RegistrationsPerHour < 0:
		return errors.New("regd.requests_per_minute and registrations_per_hour can't be negative")
	case c.Login.Iterations < 10_000 || c.Login.Iterations > 1_000_000:
		return errors.New("login.iterations is 10,000 to 1,000,000")
	case c.Log.Format != LogText && c.Log.Format != LogJSON:
		return fmt.Errorf("log.format is %q or %q", LogText, LogJSON)
	}
	if err := new(slog.Level).UnmarshalText([]byte(c.Log.Level)); err != nil {
		return fmt.Errorf("log.level = %q is not debug, info, warn or error", c.Log.Level)
	}
	for _, d := range c.LocalDomains() {
		if !isDomain(d) {
			return fmt.Errorf("%q, among hostname and domains, is not the name of a domain", d)
		}
	}
	return errors.Join(c.checkTLS(), c.checkAddresses(), c.checkAliases(), c.Quota.check())
}

// isDomain reports whether a name has the form of a domain's, in ASCII or not: labels,
// and no dot at either end.
func isDomain(name string) bool {
	return !strings.ContainsFunc(name, notInDomain) && !slices.Contains(strings.Split(name, "."), "")
}

func notInDomain(r rune) bool {
	return r != '.' && r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r)
}

// foldDomains gives names in other letters than ASCII's the form that DNS has, their
// A-labels. RFC 6531, section 3.7.1: a greeting has no other. userdb finds mail for
// both.
func (c *Config) foldDomains() error {
	host, err := asciiDomain(c.Hostname)
	if err != nil {
		return fmt.Errorf("hostname = %q is no name that DNS can have: %w", c.Hostname, err)
	}
	c.Hostname = host
	for i, d := range c.Domains {
		if d, err := asciiDomain(d); err == nil { // else it serves users of this machine, at least
			c.Domains[i] = d
		}
	}
	return nil
}

func asciiDomain(name string) (string, error) {
	if !strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
		return name, nil // an underscore, say, is no reason to refuse it
	}
	return idna.Lookup.ToASCII(name)
}

func (c *Config) checkAddresses() error {
	listen := map[string]string{
		"smtp.listen": c.SMTP.Listen, "submission.listen": c.Submission.Listen, "submission.listen_tls": c.Submission.ListenTLS,
		"pop3.listen": c.POP3.Listen, "pop3.listen_tls": c.POP3.ListenTLS,
		"regd.listen": c.Regd.Listen, "tls.acme_listen": c.TLS.ACMEListen, "metrics.listen": c.Metrics.Listen,
	}
	taken := map[string]string{} // by whom
	for _, key := range slices.Sorted(maps.Keys(listen)) {
		addr := listen[key]
		if addr == "" && key != "tls.acme_listen" {
			continue // switched off
		}
		if err := CheckAddress(addr); err != nil {
			return fmt.Errorf("%s = %q: %w", key, addr, err)
		}
		if key == "tls.acme_listen" && !c.TLS.ACME {
			continue
		}
		if taken[addr] != "" && !strings.HasSuffix(addr, ":0") {
			return fmt.Errorf("%s and %s are the same address, %s", taken[addr], key, addr)
		}
		taken[addr] = key
	}
	for key, addr := range map[string]string{"account.smtp": c.Account.SMTP, "account.pop3": c.Account.POP3} {
		if _, after, found := strings.Cut(addr, "://"); found {
			addr = after
		}
		if err := CheckAddress(addr); err != nil {
			return fmt.Errorf("%s = %q: %w", key, addr, err)
		}
	}
	return nil
}

// CheckAddress returns an error unless an address is HOST:PORT. HOST may be empty, and
// PORT the name of a service.
func CheckAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		return errors.New("the address is not HOST:PORT")
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("there is no port %q", port)
	}
	return nil
}
