package pop3d

import (
	"time"

	"xm/internal/line"
)

// Observer counts what a Server does. See line.Observer for what is asked of its
// methods.
type Observer interface {
	line.Observer
	// Command is called for each reply to a line that a client sent, or should
	// have, with whether it is +OK. verb is one of those of package pop3d, or
	// Unknown.
	Command(verb string, ok bool)
	// Login is called for each exchange of AUTH, with its mechanism, and for each
	// PASS after a USER, with "PASS". outcome is a sasl.Outcome, took our part of
	// the time, without opening the mailbox.
	Login(mechanism, outcome string, took time.Duration)
}

// Unknown stands for all that is no command here.
const Unknown = "unknown"

// unobserved is for a Server that nobody observes. Its line.Observer is nil, and
// is not called.
type unobserved struct{ line.Observer }

func (unobserved) Command(string, bool)                {}
func (unobserved) Login(string, string, time.Duration) {}

func (s *Server) observer() Observer {
	if s.Observer == nil {
		return unobserved{}
	}
	return s.Observer
}
