package pop3d

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"xm/internal/line"
	"xm/internal/sasl"
)

// channel tells what the connection is good for in an authentication.
func (s *session) channel() sasl.Channel {
	t := s.conn.TLS()
	if t == nil {
		return sasl.Channel{Secure: s.conn.Peer().IsLoopback()}
	}
	return sasl.Channel{Secure: true, Bindings: sasl.Bindings(&t.State, t.Certificate)}
}

// stls is RFC 2595, section 4. The handshake comes after the reply.
func (s *session) stls([]string) reply {
	switch {
	case s.conn.TLS() != nil:
		return failure("TLS is active already")
	case !s.conn.CanStartTLS():
		return failure("there is no TLS here")
	}
	s.upgrade = true
	return reply{ok: true, text: "begin the TLS handshake"}
}

// handshake drops what was learnt in clear: somebody in between may have said it
// (RFC 2595, section 4).
func (s *session) handshake() bool {
	s.upgrade = false
	dropped, err := s.conn.StartTLS()
	if dropped > 0 {
		s.log().Warn("octets behind STLS were dropped", "octets", dropped)
	}
	if err != nil {
		s.log().Info("connection lost", "err", err)
		return false
	}
	s.known = known{}
	return true
}

func (s *session) needsTLS() reply {
	if s.conn.CanStartTLS() {
		return failure("passwords need TLS: send STLS first")
	}
	return failure("passwords are taken under TLS and from this machine alone")
}

// user says nothing about whether the name exists.
func (s *session) user(args []string) reply {
	if !s.channel().Secure {
		return s.needsTLS()
	}
	s.name = args[0]
	return reply{ok: true, text: "now the password"}
}

// pass is PLAIN in other words: so names and passwords are prepared and checked
// in one place.
func (s *session) pass(args []string) reply {
	if s.name == "" {
		return failure("send USER first")
	}
	response := []byte("\x00" + s.name + "\x00" + args[0])
	s.name = "" // RFC 1939, section 7: after a failure, USER comes first again
	exchange, err := sasl.NewServer(sasl.Plain, s.srv.Users, s.channel())
	if err != nil {
		return s.needsTLS()
	}
	return s.loginApart("PASS", exchange, func() (string, error) {
		done, err := s.srv.Logins.Begin(s.conn.Context(), s.conn.Peer())
		if err != nil {
			return "", err
		}
		failed := true // as long as nothing else is known: Users may panic
		defer func() { done(failed) }()
		_, _, err = exchange.Next(s.conn.Context(), response)
		failed = errors.Is(err, sasl.ErrFailed)
		return exchange.User(), err
	})
}

// auth is RFC 5034, section 4.
func (s *session) auth(args []string) reply {
	mechanism := strings.ToUpper(args[0])
	exchange, err := sasl.NewServer(mechanism, s.srv.Users, s.channel())
	switch {
	case mechanism == sasl.Login, errors.Is(err, sasl.ErrMechanism):
		return failure("that mechanism is not offered: CAPA lists those that are")
	case err != nil:
		return s.needsTLS()
	}
	var initial *string
	if len(args) == 2 {
		initial = &args[1]
	}
	return s.loginApart(mechanism, exchange, func() (string, error) {
		return s.srv.Logins.Converse(s.conn.Context(), s.conn.Peer(), exchange, initial, s.challenge)
	})
}

// challenge sends what the server has to say and reads the client's answer.
func (s *session) challenge(text string) (string, error) {
	if err := s.conn.Reply("+ " + text); err != nil {
		return "", err
	}
	answer, err := s.conn.ReadLine(sasl.MaxLine, idleTimeout, false)
	return string(answer), err
}

// loginApart is login on a stack of its own. Nothing else that a session does
// needs much, and 10,000 idle ones would keep what a login takes.
func (s *session) loginApart(mechanism string, exchange *sasl.Server, converse func() (user string, err error)) (r reply) {
	ended := make(chan any)
	go func() {
		defer func() {
			v := recover() // else it would end the process, not the session
			if v != nil {
				v = fmt.Sprintf("%v\n%s", v, debug.Stack())
			}
			ended <- v
		}()
		r = s.login(mechanism, exchange, converse)
	}()
	if v := <-ended; v != nil {
		panic(v)
	}
	return r
}

// login runs an exchange, and opens the maildrop of whoever it was.
func (s *session) login(mechanism string, exchange *sasl.Server, converse func() (user string, err error)) reply {
	user, err := converse()
	s.srv.observer().Login(mechanism, string(sasl.OutcomeOf(err)), exchange.Took())
	if errors.Is(err, sasl.ErrFailed) {
		s.log().Warn("login failed", "user", exchange.Claimed(), "mechanism", mechanism)
		s.failures++
		s.conn.Pause(s.srv.FailureDelay - exchange.Took()) // the time tells nothing either
	}
	if err != nil {
		return s.authError(mechanism, err)
	}
	return s.open(user, mechanism)
}

func (s *session) authError(mechanism string, err error) reply {
	var conn sasl.AskError
	switch {
	case errors.Is(err, sasl.ErrFailed):
		return reply{code: badAuth, text: "wrong name or password", close: s.failures >= maxFailures}
	case errors.Is(err, sasl.ErrTooMany):
		line.Abuse(s.log(), err.Error())
		return reply{code: sysTemp, text: "too many logins from your address, try again later", close: true}
	case errors.Is(err, sasl.ErrCancelled):
		return failure("cancelled, as you wish")
	case errors.Is(err, sasl.ErrEncoding):
		return failure("that is not base64")
	case errors.Is(err, sasl.ErrSyntax) && strings.HasPrefix(mechanism, sasl.ScramSHA256):
		return failure("that is not a message of the mechanism")
	case errors.Is(err, sasl.ErrSyntax):
		// RFC 3206, section 4: without the code, it would not be for what the user has typed.
		return reply{code: badAuth, text: "that can't be a name and a password"}
	case errors.As(err, &conn):
		return s.lineError(conn.Err)
	}
	s.log().Error("authenticate", "err", err)
	return trouble(err, "that can't be told now")
}

// open is the way to the TRANSACTION state.
func (s *session) open(user, mechanism string) reply {
	mailbox, err := s.srv.Mail.Open(user)
	switch {
	case errors.Is(err, ErrInUse):
		return reply{code: inUse, text: "the maildrop is open in another session"}
	case err != nil:
		s.log().Error("open the maildrop", "user", user, "err", err)
		return trouble(err, "the maildrop can't be opened")
	case !s.srv.LoginDelay.enter(user):
		mailbox.Close()
		return reply{code: loginDelay, text: "you were here a moment ago, try again later"}
	}
	s.drop = newDrop(mailbox)
	s.owner = user
	s.log().Info("logged in", "mechanism", mechanism, "messages", mailbox.Len())
	return reply{ok: true, text: s.drop.summary()}
}
