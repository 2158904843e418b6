package sasl

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
)

// maxName bounds what is looked up, and logged, as a name: RFC 4616, section 2,
// wants 255 octets accepted, and no mailbox has more.
const maxName = 255

// prepareName is SASLprep (RFC 4013): the same name looks the same however it
// was typed.
func prepareName(name string) (string, bool) {
	if len(name) > maxName {
		return "", false
	}
	prepared, err := stringprep.SASLprep.Prepare(name)
	return prepared, err == nil && prepared != ""
}

// isText reports whether a message, or part of one, is UTF-8 without NUL.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// claim prepares the name that the client claims, and notes it for the log.
func (s *Server) claim(name string) error {
	s.login = name[:min(len(name), maxName)]
	prepared, ok := prepareName(name)
	if !ok {
		return ErrFailed
	}
	s.login = prepared
	return nil
}

// plain takes "authzid NUL authcid NUL passwd". RFC 4616, section 2.
func (s *Server) plain(ctx context.Context, response []byte) ([]byte, serverStep, error) {
	fields := strings.Split(string(response), "\x00")
	if len(fields) != 3 || fields[1] == "" || fields[2] == "" || !utf8.Valid(response) {
		return nil, nil, ErrSyntax
	}
	if err := s.claim(fields[1]); err != nil {
		return nil, nil, err
	}
	return nil, nil, s.check(ctx, fields[0], fields[2])
}

// check ends an exchange in which the password came as it is. Whether it is to
// be prepared depends on how the store keeps it.
func (s *Server) check(ctx context.Context, authzid, password string) error {
	user, ok, err := s.users.Authenticate(ctx, s.login, password)
	if err != nil {
		return err
	}
	if !ok {
		return ErrFailed
	}
	return s.authorize(user, authzid)
}

func (s *Server) loginName(_ context.Context, response []byte) ([]byte, serverStep, error) {
	name := string(response)
	if name == "" || !isText(name) {
		return nil, nil, ErrSyntax
	}
	// A name that can't be prepared is as wrong as any other: the client learns
	// it after the password.
	claimed := s.claim(name)
	return []byte("Password:"), func(ctx context.Context, response []byte) ([]byte, serverStep, error) {
		if len(response) == 0 || !isText(string(response)) {
			return nil, nil, ErrSyntax
		}
		if claimed != nil {
			return nil, nil, claimed
		}
		return nil, nil, s.check(ctx, "", string(response))
	}, nil
}
