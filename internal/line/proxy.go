package line

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// The PROXY protocol tells a server behind a balancer who the client is:
// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, versions 1
// (section 2.1) and 2 (section 2.2).

const (
	proxyTimeout = 10 * time.Second
	proxyV1      = "PROXY "
	proxyV1Max   = 107 // octets of a header, its CRLF included
	proxyV2      = "\r\n\r\n\x00\r\nQUIT\n"
)

var errProxyHeader = errors.New("no valid PROXY header")

// proxied is what a header says: who connected, and where to. Both addresses are
// invalid where the proxy does not tell.
type proxied struct{ client, server netip.Addr }

// awaitProxyHeader reads the header. It is a wait like that for a handshake.
func (c *Conn) awaitProxyHeader() (proxied, error) {
	if err := c.beginWait(proxyTimeout, true); err != nil {
		return proxied{}, err
	}
	header, err := readProxyHeader(c.raw)
	if interrupted := c.endWait(); interrupted && err != nil {
		return proxied{}, ErrStopping
	}
	return header, err
}

// readProxyHeader reads a header and nothing behind it.
func readProxyHeader(nc net.Conn) (proxied, error) {
	start := make([]byte, len(proxyV2))
	if _, err := io.ReadFull(nc, start); err != nil {
		return proxied{}, err
	}
	switch {
	case string(start) == proxyV2:
		return readProxyV2(nc)
	case bytes.HasPrefix(start, []byte(proxyV1)):
		return readProxyV1(nc, start)
	}
	return proxied{}, errProxyHeader
}

// readProxyV1 reads octet by octet: what follows the header is not its business.
func readProxyV1(nc net.Conn, header []byte) (proxied, error) {
	for one := make([]byte, 1); !bytes.HasSuffix(header, []byte("\r\n")); {
		if len(header) == proxyV1Max {
			return proxied{}, errProxyHeader
		}
		if _, err := io.ReadFull(nc, one); err != nil {
			return proxied{}, err
		}
		header = append(header, one[0])
	}
	fields := strings.Split(strings.TrimSuffix(string(header), "\r\n"), " ")
	if fields[1] == "UNKNOWN" {
		return proxied{}, nil
	}
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return proxied{}, errProxyHeader
	}
	var addrs [2]netip.Addr
	for i := range addrs {
		// The ports are not used, but must be some.
		at, err := netip.ParseAddrPort(net.JoinHostPort(fields[2+i], fields[4+i]))
		if err != nil || at.Addr().Is4() != (fields[1] == "TCP4") || at.Addr().Zone() != "" {
			return proxied{}, errProxyHeader
		}
		addrs[i] = at.Addr().Unmap()
	}
	return proxied{addrs[0], addrs[1]}, nil
}

// readProxyV2 reads what follows the signature.
func readProxyV2(nc net.Conn) (proxied, error) {
	var fixed [4]byte // version and command, family and transport, length
	if _, err := io.ReadFull(nc, fixed[:]); err != nil {
		return proxied{}, err
	}
	rest := make([]byte, binary.BigEndian.Uint16(fixed[2:]))
	if _, err := io.ReadFull(nc, rest); err != nil {
		return proxied{}, err
	}
	const v2, local, proxy = 0x20, 0x00, 0x01
	switch fixed[0] {
	case v2 | local: // the proxy's own connection, to see whether we are well
		return proxied{addrOf(nc.RemoteAddr()), addrOf(nc.LocalAddr())}, nil
	case v2 | proxy:
	default:
		return proxied{}, errProxyHeader
	}
	const tcp4, tcp6 = 0x11, 0x21
	switch {
	case fixed[1] == tcp4 && len(rest) >= 2*4+2*2:
		return proxied{netip.AddrFrom4([4]byte(rest[:4])), netip.AddrFrom4([4]byte(rest[4:8]))}, nil
	case fixed[1] == tcp6 && len(rest) >= 2*16+2*2:
		return proxied{netip.AddrFrom16([16]byte(rest[:16])).Unmap(), netip.AddrFrom16([16]byte(rest[16:32])).Unmap()}, nil
	case fixed[1] == tcp4, fixed[1] == tcp6:
		return proxied{}, errProxyHeader
	}
	return proxied{}, nil // a family that has no addresses of ours
}
