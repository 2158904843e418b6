package sasl

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"
)

// Server is the server's side of one exchange. One goroutine uses it.
type Server struct {
	users   Users
	channel Channel
	next    serverStep // nil when the exchange is over
	nonce   func() string

	login string // as the client claims
	user  string // as it turned out
	took  time.Duration
}

// serverStep takes a response and returns a challenge and what follows; nothing
// follows when the client has proved who it is.
type serverStep func(ctx context.Context, response []byte) (challenge []byte, next serverStep, err error)

// NewServer starts an exchange. Mechanisms have no case here. The error is
// ErrMechanism or ErrInsecure.
func NewServer(mechanism string, users Users, ch Channel) (*Server, error) {
	mechanism = strings.ToUpper(mechanism)
	switch {
	case ch.allows(mechanism):
	case slices.Contains(best, mechanism) && !ch.Secure:
		return nil, ErrInsecure
	default:
		return nil, ErrMechanism
	}
	s := &Server{users: users, channel: ch, nonce: newNonce}
	switch mechanism {
	case Plain:
		s.next = begin("", s.plain)
	case Login:
		s.next = begin("Username:", s.loginName)
	default:
		x := &scramServer{Server: s, plus: mechanism == ScramSHA256Plus}
		s.next = begin("", x.first)
	}
	return s, nil
}

// begin asks a client that sent no initial response for one.
func begin(prompt string, next serverStep) serverStep {
	return func(ctx context.Context, response []byte) ([]byte, serverStep, error) {
		if response == nil {
			return []byte(prompt), next, nil
		}
		return next(ctx, response)
	}
}

var errOver = errors.New("the exchange is over")

// Next takes the client's response: at first its initial response, or nil for
// none. Until done, the challenge is the client's to answer. The error is
// ErrFailed or ErrSyntax, or says what trouble there is on our side; it ends
// the exchange.
func (s *Server) Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error) {
	step := s.next
	s.next = nil
	if step == nil {
		return nil, false, errOver
	}
	if len(response) > maxMessage {
		return nil, false, ErrSyntax
	}
	began := time.Now()
	challenge, s.next, err = step(ctx, response)
	s.took += time.Since(began)
	if err != nil {
		s.next, s.user = nil, ""
		return nil, false, err
	}
	return challenge, s.next == nil, nil
}

// User is the name of the user whom the client turned out to be: empty until
// Next is done.
func (s *Server) User() string {
	if s.next != nil {
		return ""
	}
	return s.user
}

// Claimed is the user whom the client claimed to be; empty if there is none such,
// as far as SCRAM can tell. It is for the log: people type their password where
// the name should be, and login may be one.
func (s *Server) Claimed() string {
	v, err := s.users.SCRAM(s.login)
	if err != nil {
		return ""
	}
	return v.User
}

// Converse runs the exchange over a protocol of lines that carry base64
// (RFC 4954, section 4; RFC 5034, section 4) and returns the user. initial is
// the initial response as the client sent it, nil if it did not; ask sends a
// challenge and returns the client's line. Errors are those of Next, ErrEncoding,
// ErrCancelled, and an AskError for one of ask.
func (s *Server) Converse(ctx context.Context, initial *string, ask func(challenge string) (string, error)) (user string, err error) {
	var response []byte
	if initial != nil {
		if response, err = decodeInitial(*initial); err != nil {
			return "", err
		}
	}
	for {
		challenge, done, err := s.Next(ctx, response)
		if err != nil || done {
			return s.User(), err
		}
		line, err := ask(base64.StdEncoding.EncodeToString(challenge))
		if err != nil {
			return "", AskError{err}
		}
		if line == "*" {
			return "", ErrCancelled
		}
		if response, err = decode(line); err != nil {
			return "", err
		}
	}
}

// decodeInitial reads the argument of AUTH, where "=" is an empty response.
func decodeInitial(arg string) ([]byte, error) {
	switch arg {
	case "=":
		return []byte{}, nil
	case "":
		return nil, ErrEncoding
	}
	return decode(arg)
}

// decode reads base64 in its one form. The result is never nil.
func decode(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // which the decoder passes over
		return nil, ErrEncoding
	}
	return b, nil
}

// authorize ends an exchange whose client proved to be user. An authorization
// identity must mean the same user: nobody acts for another here.
func (s *Server) authorize(user, authzid string) error {
	if authzid != "" && authzid != user {
		same, err := s.means(authzid, user)
		if err != nil {
			return err
		}
		if !same {
			return ErrFailed
		}
	}
	s.user = user
	return nil
}

// means reports whether a name is another spelling of the user's.
func (s *Server) means(name, user string) (bool, error) {
	prepared, ok := prepareName(name)
	if !ok || prepared == s.login {
		return ok, nil
	}
	v, err := s.users.SCRAM(prepared)
	return v.User == user, err
}
