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

// readProxyHeader reads a header and nothing behind it. It returns the client's
// address, which is invalid where the proxy does not tell it.
func readProxyHeader(nc net.Conn) (netip.Addr, error) {
	if err := nc.SetReadDeadline(time.Now().Add(proxyTimeout)); err != nil {
		return netip.Addr{}, err
	}
	start := make([]byte, len(proxyV2))
	if _, err := io.ReadFull(nc, start); err != nil {
		return netip.Addr{}, err
	}
	switch {
	case string(start) == proxyV2:
		return readProxyV2(nc)
	case bytes.HasPrefix(start, []byte(proxyV1)):
		return readProxyV1(nc, start)
	}
	return netip.Addr{}, errProxyHeader
}

// readProxyV1 reads octet by octet: what follows the header is not its business.
func readProxyV1(nc net.Conn, header []byte) (netip.Addr, error) {
	for one := make([]byte, 1); !bytes.HasSuffix(header, []byte("\r\n")); {
		if len(header) == proxyV1Max {
			return netip.Addr{}, errProxyHeader
		}
		if _, err := io.ReadFull(nc, one); err != nil {
			return netip.Addr{}, err
		}
		header = append(header, one[0])
	}
	fields := strings.Split(strings.TrimSuffix(string(header), "\r\n"), " ")
	if fields[1] == "UNKNOWN" {
		return netip.Addr{}, nil
	}
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return netip.Addr{}, errProxyHeader
	}
	client, err := netip.ParseAddr(fields[2])
	if err != nil || client.Is4() != (fields[1] == "TCP4") || client.Zone() != "" {
		return netip.Addr{}, errProxyHeader
	}
	return client.Unmap(), nil
}

// readProxyV2 reads what follows the signature.
func readProxyV2(nc net.Conn) (netip.Addr, error) {
	var fixed [4]byte // version and command, family and transport, length
	if _, err := io.ReadFull(nc, fixed[:]); err != nil {
		return netip.Addr{}, err
	}
	rest := make([]byte, binary.BigEndian.Uint16(fixed[2:]))
	if _, err := io.ReadFull(nc, rest); err != nil {
		return netip.Addr{}, err
	}
	const v2, local, proxied = 0x20, 0x00, 0x01
	switch fixed[0] {
	case v2 | local: // the proxy's own connection, to see whether we are well
		return netip.Addr{}, nil
	case v2 | proxied:
	default:
		return netip.Addr{}, errProxyHeader
	}
	const tcp4, tcp6 = 0x11, 0x21
	switch {
	case fixed[1] == tcp4 && len(rest) >= 2*4+2*2:
		return netip.AddrFrom4([4]byte(rest[:4])), nil
	case fixed[1] == tcp6 && len(rest) >= 2*16+2*2:
		return netip.AddrFrom16([16]byte(rest[:16])).Unmap(), nil
	case fixed[1] == tcp4, fixed[1] == tcp6:
		return netip.Addr{}, errProxyHeader
	}
	return netip.Addr{}, nil // a family that has no addresses of ours
}
