package smtpd

import (
	"crypto/tls"
	"net/netip"
)

// trace makes the header fields that final delivery adds (RFC 5321, section
// 4.4).
func (s *session) trace(id string) string {
	t := "Return-Path: " + s.tx.from.raw + "\r\n" +
		"Received: from " + s.clientName() + " (" + literal(s.conn.Peer()) + ")\r\n" +
		"\tby " + s.srv.Hostname + " with " + s.protocol() + " id " + id
	if len(s.tx.recipients) == 1 { // else each would see who the others are
		t += "\r\n\tfor " + s.tx.recipients[0].raw
	}
	if secured := s.conn.TLS(); secured != nil {
		t += "\r\n\ttls " + tls.CipherSuiteName(secured.State.CipherSuite) // RFC 8314, section 4.3
	}
	return t + ";\r\n\t" + now() + "\r\n"
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
