package smtpd

import (
	"errors"
	"strings"

	"xm/internal/line"
	"xm/internal/sasl"
)

// wrongPassword is the one answer to every failure, whatever its cause.
var wrongPassword = reply{535, "5.7.8", "Wrong name or password", false}

// auth is RFC 4954, section 4.
func (s *session) auth(arg string) reply {
	mechanism, rest, hasInitial := strings.Cut(arg, " ")
	mechanism = strings.ToUpper(mechanism)
	switch {
	case !s.esmtp:
		return reply{503, "5.5.1", "Send EHLO first", false}
	case s.user != "":
		return reply{503, "5.5.1", "You have authenticated already", false}
	case s.tx != nil:
		return hasTransaction
	case s.needsTLS():
		return s.needTLS()
	}
	exchange, err := sasl.NewServer(mechanism, s.srv.Users, s.channel())
	switch {
	case errors.Is(err, sasl.ErrInsecure):
		return s.needTLS()
	case err != nil:
		return reply{504, "5.5.4", "That mechanism is not offered: EHLO lists those that are", false}
	}
	var initial *string
	if hasInitial {
		initial = &rest
	}
	user, err := s.srv.Logins.Converse(s.conn.Context(), s.conn.Peer(), exchange, initial, s.challenge)
	s.srv.observer().Login(mechanism, string(sasl.OutcomeOf(err)), exchange.Took())
	if errors.Is(err, sasl.ErrFailed) {
		s.failures++
		s.log.Warn("login failed", "user", exchange.Claimed(), "mechanism", mechanism)
		s.conn.Pause(s.srv.FailureDelay - exchange.Took()) // the time tells nothing either
	}
	if err != nil {
		return s.authError(err)
	}
	s.user = user
	s.log = s.log.With("user", user)
	s.log.Info("logged in", "mechanism", mechanism)
	return reply{235, "2.7.0", "Welcome", false}
}

func (s *session) needTLS() reply {
	if s.conn.CanStartTLS() {
		return reply{538, "5.7.11", "Send STARTTLS first", false}
	}
	return reply{538, "5.7.11", "That mechanism needs TLS, which is not offered here", false}
}

// challenge sends what the server has to say and reads the client's answer.
func (s *session) challenge(text string) (string, error) {
	if err := s.conn.Reply("334 " + text); err != nil {
		return "", err
	}
	answer, err := s.conn.ReadLine(maxAuthLine, commandTimeout, false)
	return string(answer), err
}

func (s *session) authError(err error) reply {
	var conn sasl.AskError
	switch {
	case errors.Is(err, sasl.ErrTooMany):
		line.Abuse(s.log, err.Error())
		return reply{421, "4.7.0", "Too many logins from your address, try again later", true}
	case errors.Is(err, sasl.ErrFailed):
		return wrongPassword
	case errors.Is(err, sasl.ErrCancelled):
		return reply{501, "5.7.0", "Cancelled, as you wish", false}
	case errors.Is(err, sasl.ErrEncoding):
		return reply{501, "5.5.2", "That is not base64", false}
	case errors.Is(err, sasl.ErrSyntax):
		return reply{501, "5.5.2", "That is not a message of the mechanism", false}
	case errors.As(err, &conn) && errors.Is(conn.Err, line.ErrLineTooLong):
		return reply{500, "5.5.6", "The line is too long", false}
	case errors.As(err, &conn):
		return s.lineError(conn.Err)
	}
	s.log.Error("authenticate", "err", err)
	return reply{454, "4.7.0", "Trouble on our side, try again later", false}
}
