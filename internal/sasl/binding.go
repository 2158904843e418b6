package sasl

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
)

// The types of channel bindings (RFC 9266; RFC 5929, sections 3 and 4).
const (
	tlsExporter       = "tls-exporter"
	tlsServerEndPoint = "tls-server-end-point"
	tlsUnique         = "tls-unique"
)

// Binding ties an exchange to a TLS connection: Data is what both ends, and
// nobody between them, see of it.
type Binding struct {
	Type string
	Data []byte
}

// Bindings lists the bindings of a TLS connection, best first; none for a nil
// state or an unfinished handshake. serverCert is the certificate that the
// server showed: its own at a server, state.PeerCertificates[0] at a client. nil
// leaves tls-server-end-point out.
func Bindings(state *tls.ConnectionState, serverCert *x509.Certificate) []Binding {
	if state == nil || !state.HandshakeComplete {
		return nil
	}
	var bindings []Binding
	// RFC 9266, section 2. It fails where TLS 1.2 lacks the extended master
	// secret, without which the value would not be the connection's alone.
	if data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
		bindings = append(bindings, Binding{tlsExporter, data})
	}
	if serverCert != nil {
		if hash, ok := endPointHash(serverCert.SignatureAlgorithm); ok {
			h := hash.New()
			h.Write(serverCert.Raw)
			bindings = append(bindings, Binding{tlsServerEndPoint, h.Sum(nil)})
		}
	}
	// RFC 5802, section 6: what all clients have that bind at all. TLS 1.3 has it no
	// more.
	if len(state.TLSUnique) > 0 {
		bindings = append(bindings, Binding{tlsUnique, state.TLSUnique})
	}
	return bindings
}

// endPointHash is the hash of the certificate's signature, but never one weaker
// than SHA-256. A signature without a single hash (Ed25519) has no binding.
// RFC 5929, section 4.1.
func endPointHash(a x509.SignatureAlgorithm) (crypto.Hash, bool) {
	switch a {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256, x509.DSAWithSHA256:
		return crypto.SHA256, true
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		return crypto.SHA384, true
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		return crypto.SHA512, true
	}
	return 0, false
}
