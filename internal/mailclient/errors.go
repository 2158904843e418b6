package mailclient

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrBroken is matched by errors after which a connection is of no more use.
	ErrBroken = errors.New("the server broke the connection off")
	// ErrClosing is matched where the server says with its reply that it closes the
	// connection (RFC 5321, section 3.8). It took nothing of the message. ErrBroken is
	// matched, too.
	ErrClosing = fmt.Errorf("%w", ErrBroken)
	// ErrUnreachable is matched where there is no connection.
	ErrUnreachable = errors.New("can't reach")
	// ErrLogin is matched where a server does not take user name and password.
	ErrLogin = errors.New("wrong user name or password")
	// ErrNoSuchUser is matched where a server does not know a recipient.
	ErrNoSuchUser = errors.New("the server knows no such user")
	// ErrFull is matched where a mailbox, or the server, has no more room.
	ErrFull = errors.New("the mailbox is full")
	// ErrTooLarge is matched where a message is larger than a server takes.
	ErrTooLarge = errors.New("the message is too large for the server")
	// ErrBusy is matched where the mailbox is open in another session.
	ErrBusy = errors.New("the mailbox is open in another session; try again later")
	// ErrTooSoon is matched where a server wants more time from login to login.
	ErrTooSoon = errors.New("too soon after the last login; try again later")
	// ErrNoMessage is matched where a POP3 server has no such message.
	ErrNoMessage = errors.New("the server has no such message")
)

// ReplyError is a server's refusal of a command.
type ReplyError struct {
	Command string // without anything secret
	Reply   string
}

func (e *ReplyError) Error() string {
	text := fmt.Sprintf("the server answered %s with: %s", Printable(e.Command), Printable(e.Reply))
	if meaning := e.Unwrap(); meaning != nil {
		return meaning.Error() + ": " + text
	}
	return text
}

// closes reports whether the server closes the connection with the reply (RFC 5321,
// section 3.8).
func (e *ReplyError) closes() bool { return strings.HasPrefix(e.Reply, "421") }

// UnfitError is for a message that the server can't take, by what it said of itself:
// nothing was sent, and others can be.
type UnfitError struct{ Err error }

func (e *UnfitError) Error() string { return e.Err.Error() }
func (e *UnfitError) Unwrap() error { return e.Err }

// meanings tells what replies mean, by their beginning. The codes of the first
// list are SMTP's (RFC 5321, section 4.2.3) and enhanced ones (RFC 3463).
var meanings = []struct {
	command, reply string
	meaning        error
}{
	{"AUTH", "535", ErrLogin},
	{"", "530", ErrLogin},
	{"RCPT", "550 5.1.1", ErrNoSuchUser},
	{"RCPT", "550 5.1.2", ErrNoSuchUser},
	{"RCPT", "552 5.2.3", ErrTooLarge},
	{"RCPT", "552", ErrFull},
	{"RCPT", "452 4.2.2", ErrFull},
	{"RCPT", "422", ErrFull},
	{"the message", "552 5.2.2", ErrFull},
	{"the message", "452 4.2.2", ErrFull},
	{"the message", "552", ErrTooLarge},
	{"MAIL", "552", ErrTooLarge},
	// POP3: RFC 2449, section 8, and RFC 3206.
	{"", "-ERR [IN-USE]", ErrBusy},
	{"", "-ERR [LOGIN-DELAY]", ErrTooSoon},
	{"PASS", "-ERR [SYS/", nil},
	{"AUTH", "-ERR [SYS/", nil},
	{"PASS", "-ERR", ErrLogin},
	{"AUTH", "-ERR", ErrLogin},
	{"RETR", "-ERR [SYS/", nil},
	{"TOP", "-ERR [SYS/", nil},
	{"DELE", "-ERR [SYS/", nil},
	{"RETR", "-ERR", ErrNoMessage},
	{"TOP", "-ERR", ErrNoMessage},
	{"DELE", "-ERR", ErrNoMessage},
}

// Unwrap tells what the reply means; nil if that is all there is to say.
func (e *ReplyError) Unwrap() error {
	for _, m := range meanings {
		if strings.HasPrefix(e.Command, m.command) && strings.HasPrefix(e.Reply, m.reply) {
			return m.meaning
		}
	}
	return nil
}

// Printable replaces what is not a printable character or a blank, so that text
// from outside can't command a terminal.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if printable(r) {
			return r
		}
		return '\ufffd'
	}, s)
}
