package regclient

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"xm/internal/regwire"
)

// Address is where a registration server is. The zero Address is none.
type Address struct {
	host, port string
	tls        bool
}

const tlsPrefix = "https://"

// ParseAddress reads "HOST", "HOST:PORT" or either with "https://" before it,
// which asks for TLS.
func ParseAddress(s string) (Address, error) {
	rest, secured := strings.CutPrefix(s, tlsPrefix)
	a := Address{tls: secured}
	var err error
	if a.host, a.port, err = net.SplitHostPort(rest); err != nil {
		a.host, a.port = strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]"), regwire.Port
	}
	a.host = strings.ToLower(a.host)
	if err := a.check(); err != nil {
		return Address{}, fmt.Errorf("%q is no server, as HOST, HOST:PORT or https://HOST:PORT: %w", s, err)
	}
	return a, nil
}

func (a Address) check() error {
	if n, err := strconv.ParseUint(a.port, 10, 16); err != nil || n == 0 {
		return errors.New("the port is not 1 to 65535")
	}
	if a.host == "" {
		return errors.New("the host is missing")
	}
	if strings.Contains(a.host, ":") && net.ParseIP(strings.Split(a.host, "%")[0]) == nil || strings.ContainsFunc(a.host, notHost) {
		return errors.New("the host is neither a name nor an address")
	}
	return nil
}

// notHost finds what would mean something in a URL or a file name.
func notHost(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`/\?#@[]"<>^{}|`+"`", r)
}

// IsZero reports whether there is no address.
func (a Address) IsZero() bool { return a.host == "" }

// Host is the name or address of the host.
func (a Address) Host() string { return a.host }

// HostPort is "HOST:PORT", which names the server's key, too.
func (a Address) HostPort() string { return net.JoinHostPort(a.host, a.port) }

// String is what ParseAddress reads.
func (a Address) String() string {
	if a.tls {
		return tlsPrefix + a.HostPort()
	}
	return a.HostPort()
}
