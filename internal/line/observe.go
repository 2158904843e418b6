package line

// Observer counts what happens on a Server's connections. Its methods are called
// by many goroutines, and often: they are quick, and never wait.
type Observer interface {
	// Opened and Closed are called once each for a connection that was accepted.
	Opened()
	Closed()
	// Refused is called for one of those that got no session; reason is one of the
	// constants below.
	Refused(reason string)
	// AcceptFailed is called when no connection could be accepted. It is tried
	// again within a second.
	AcceptFailed(err error)
	// Handshake is called after a TLS handshake. version is that of package
	// crypto/tls; err is nil if it succeeded.
	Handshake(version uint16, err error)
	// Received and Sent are called with the octets of each read and write, without
	// what TLS adds.
	Received(octets int)
	Sent(octets int)
}

// The reasons for a connection without a session.
const (
	RefusedLimit    = "limit"    // Limits
	RefusedProxy    = "proxy"    // no PROXY header from a balancer
	RefusedTLS      = "tls"      // the handshake that begins a connection failed
	RefusedStopping = "stopping" // the server stops
)

// unobserved is for a Server that nobody observes.
type unobserved struct{}

func (unobserved) Opened()                 {}
func (unobserved) Closed()                 {}
func (unobserved) Refused(string)          {}
func (unobserved) AcceptFailed(error)      {}
func (unobserved) Handshake(uint16, error) {}
func (unobserved) Received(int)            {}
func (unobserved) Sent(int)                {}

func (s *Server) observer() Observer {
	if s.Observer == nil {
		return unobserved{}
	}
	return s.Observer
}
