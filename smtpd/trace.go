package smtpd

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
)

// trace makes the header fields that final delivery adds (RFC 5321, section
// 4.4).
func (s *session) trace(id string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Return-Path: %s\r\n", s.tx.from.raw)
	fmt.Fprintf(&b, "Received: from %s (%s)\r\n\tby %s with %s id %s", s.clientName(), literal(s.conn.Peer()), s.srv.Hostname, s.protocol(), id)
	if len(s.tx.recipients) == 1 { // else each would see who the others are
		fmt.Fprintf(&b, "\r\n\tfor %s", s.tx.recipients[0].raw)
	}
	if t := s.conn.TLS(); t != nil {
		fmt.Fprintf(&b, "\r\n\ttls %s", tls.CipherSuiteName(t.State.CipherSuite)) // RFC 8314, section 4.3
	}
	fmt.Fprintf(&b, ";\r\n\t%s\r\n", now())
	return b.String()
}

// protocol is a name of RFC 3848, or of RFC 6531, section 4.3.
func (s *session) protocol() string {
	name := "SMTP"
	switch {
	case s.tx.utf8:
		name = "UTF8SMTP"
	case s.esmtp:
		name = "ESMTP"
	default:
		return name
	}
	if s.conn.TLS() != nil {
		name += "S"
	}
	if s.user != "" {
		name += "A"
	}
	return name
}

// clientName is what the client calls itself, if that can stand in a header.
func (s *session) clientName() string {
	name := s.client
	if _, ok := parseLiteral(name); ok || isDomain(name) && (address{raw: name}).ascii() {
		return name
	}
	return "unknown"
}

// literal writes an address as RFC 5321, section 4.1.3, has it.
func literal(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "[unknown]"
	case a.Is6():
		return "[IPv6:" + a.WithZone("").String() + "]"
	}
	return "[" + a.String() + "]"
}
