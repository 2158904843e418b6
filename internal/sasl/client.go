package sasl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

var (
	// ErrServer is matched by the error for a message that no server sends that
	// knows the password and keeps to the mechanism.
	ErrServer = errors.New("the server does not authenticate as it should")
	// ErrUnfinished: the server ended the exchange too early.
	ErrUnfinished = errors.New("the exchange ended before the server proved that it knows the password")
)

// Client is the client's side of one exchange. One goroutine uses it.
type Client struct {
	begin func() ([]byte, clientStep)
	next  clientStep
	err   error // why the exchange is not done
}

// clientStep takes a challenge and returns the response and what follows, nil
// when the mechanism is at its end.
type clientStep func(challenge []byte) (response []byte, next clientStep, err error)

// Choose returns the best of the mechanisms that a server offers and a channel
// allows: a password passes in clear on a secure one alone.
func Choose(offered []string, ch Channel) (mechanism string, ok bool) {
	for _, m := range ch.Mechanisms() {
		if slices.ContainsFunc(offered, func(o string) bool { return strings.EqualFold(o, m) }) {
			return m, true
		}
	}
	return "", false
}

// NewClient starts an exchange. bindings are the channel's: SCRAM-SHA-256-PLUS
// uses the first, and SCRAM-SHA-256 tells the server that there are some, which
// must not be passed if the server offered PLUS: both are so if Choose chose.
// The error is ErrMechanism, or says what is wrong with user or password.
func NewClient(mechanism, user, password string, bindings []Binding) (*Client, error) {
	if user == "" || password == "" || !isText(user) || !isText(password) {
		return nil, errors.New("the user name or the password is empty, or is not text")
	}
	c := &Client{err: ErrUnfinished}
	switch {
	case mechanism == Plain:
		c.begin = func() ([]byte, clientStep) { return []byte("\x00" + user + "\x00" + password), nil }
	case mechanism == Login:
		c.begin = func() ([]byte, clientStep) { return nil, answer(user, answer(password, nil)) }
	case mechanism == ScramSHA256, mechanism == ScramSHA256Plus && len(bindings) > 0:
		x, err := newScramClient(user, password, mechanism == ScramSHA256Plus, bindings)
		if err != nil {
			return nil, err
		}
		c.begin = x.first
	default:
		return nil, ErrMechanism
	}
	return c, nil
}

// answer gives text whatever the prompt says: servers word it differently.
func answer(text string, next clientStep) clientStep {
	return func([]byte) ([]byte, clientStep, error) { return []byte(text), next, nil }
}

// Start returns the initial response; nil if the mechanism has none. A protocol
// that can't carry it with its AUTH command answers the server's first, empty,
// challenge with it.
func (c *Client) Start() (initial []byte, err error) {
	if c.begin == nil {
		return nil, errOver
	}
	initial, c.next = c.begin()
	c.begin = nil
	c.finish()
	return initial, nil
}

// Next answers a challenge; a response may be empty. An error, which mostly
// matches ErrServer, is a reason to cancel the exchange ("*").
func (c *Client) Next(challenge []byte) (response []byte, err error) {
	step := c.next
	c.next = nil
	switch {
	case step == nil:
		err = fmt.Errorf("%w: it asks for more than the mechanism has", ErrServer)
	case len(challenge) > maxMessage:
		err = fmt.Errorf("%w: its message is too long", ErrServer)
	default:
		response, c.next, err = step(challenge)
	}
	if err != nil {
		c.next, c.err = nil, err
		return nil, err
	}
	c.finish()
	return response, nil
}

func (c *Client) finish() {
	if c.next == nil {
		c.err = nil
	}
}

// Done is what to ask once the server has said that all is well: nil if it may
// say so. A SCRAM server must have proved by then that it knows the password.
func (c *Client) Done() error { return c.err }
