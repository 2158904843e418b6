package smtpd

import (
	"time"

	"xm/internal/line"
)

// Observer counts what a Server does. See line.Observer for what is asked of its
// methods.
type Observer interface {
	line.Observer
	// Command is called with the verb and the code of each final reply to a line
	// that a client sent, or should have. verb is one of those that HELP lists, or
	// Unknown.
	Command(verb string, code int)
	// Message is called for each message that DATA or BDAT began, with the code of
	// what came of it and the octets that were received. It is durable if the code
	// is 250.
	Message(code, recipients int, octets int64)
	// Login is called for each exchange of AUTH. mechanism is one that EHLO may
	// offer, outcome a sasl.Outcome, took our part of the time.
	Login(mechanism, outcome string, took time.Duration)
}

// Unknown stands for all that is no command here.
const Unknown = "unknown"

// unobserved is for a Server that nobody observes. Its line.Observer is nil, and
// is not called.
type unobserved struct{ line.Observer }

func (unobserved) Command(string, int)                 {}
func (unobserved) Message(int, int, int64)             {}
func (unobserved) Login(string, string, time.Duration) {}

func (s *Server) observer() Observer {
	if s.Observer == nil {
		return unobserved{}
	}
	return s.Observer
}
