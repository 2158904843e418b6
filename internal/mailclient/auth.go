package mailclient

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"xm/internal/sasl"
)

// Credentials are what a user logs in with.
type Credentials struct {
	User, Password string
}

// maxInitial bounds a command that carries an initial response: RFC 5034,
// section 4, and RFC 1939, section 4, for POP3; SMTP allows more.
const maxInitial = 255

// exchange is how a protocol carries AUTH.
type exchange struct {
	offered []string
	auth    Credentials
	// next reads the server's turn: a challenge, in base64, or, if more is
	// false, its consent.
	next func() (challenge string, more bool, err error)
}

// authenticate logs in. A user whose record on the server is too old for SCRAM
// is refused as one with a wrong password is: where the password may pass as it
// is, that is tried then.
func (c *conn) authenticate(x exchange) error {
	mechanism, ok := sasl.Choose(x.offered, c.channel())
	if !ok {
		return fmt.Errorf("the server offers no way to log in that is safe here: %s", Printable(strings.Join(x.offered, " ")))
	}
	err := c.tryMechanism(mechanism, x)
	if !errors.Is(err, ErrLogin) || !strings.HasPrefix(mechanism, sasl.ScramSHA256) {
		return err
	}
	simple := slices.DeleteFunc(slices.Clone(x.offered), func(m string) bool { return strings.HasPrefix(m, sasl.ScramSHA256) })
	if mechanism, ok = sasl.Choose(simple, c.channel()); !ok {
		return err
	}
	return c.tryMechanism(mechanism, x)
}

// tryMechanism carries one exchange.
func (c *conn) tryMechanism(mechanism string, e exchange) error {
	x, err := sasl.NewClient(mechanism, e.auth.User, e.auth.Password, c.channel().Bindings)
	if err != nil {
		return err
	}
	response, err := x.Start()
	if err != nil {
		return err
	}
	line, held := "AUTH "+mechanism, response
	if response != nil && len(line)+1+base64.StdEncoding.EncodedLen(len(response)) <= maxInitial {
		line, held = line+" "+base64.StdEncoding.EncodeToString(response), nil
	}
	for {
		if err := c.send(line); err != nil {
			return err
		}
		text, more, err := e.next()
		if err != nil {
			return err
		}
		if !more {
			return x.Done() // a server that consents too early may be anybody
		}
		if response, err = held, nil; held == nil {
			response, err = answer(x, text)
		}
		if err != nil {
			return c.cancel(err, e.next)
		}
		line, held = base64.StdEncoding.EncodeToString(response), nil
	}
}

func answer(x *sasl.Client, text string) ([]byte, error) {
	challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("the server's challenge is not base64: %w", err)
	}
	return x.Next(challenge)
}

// cancel ends an exchange for a reason (RFC 4954, section 4; RFC 5034, section
// 4).
func (c *conn) cancel(reason error, next func() (string, bool, error)) error {
	var refused *ReplyError
	if err := c.send("*"); err != nil {
		return errors.Join(reason, err)
	}
	if _, _, err := next(); err != nil && !errors.As(err, &refused) {
		return errors.Join(reason, err)
	}
	return reason
}

// offersSASL reports whether a mechanism can be used here.
func (c *conn) offersSASL(offered []string) bool {
	_, ok := sasl.Choose(offered, c.channel())
	return ok
}
