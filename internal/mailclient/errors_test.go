package mailclient

import (
	"errors"
	"testing"
)

func TestMeaningsOfReplies(t *testing.T) {
	for _, c := range []struct {
		command, reply string
		want           error
	}{
		{"RCPT TO:<a>", "552 5.2.3 too large", ErrTooLarge},
		{"RCPT TO:<a>", "552 5.2.2 full", ErrFull},
		{"RCPT TO:<a>", "452 4.2.2 full", ErrFull},
		{"RCPT TO:<a>", "550 5.1.1 no", ErrNoSuchUser},
		{"the message", "552 5.2.3 too large", ErrTooLarge},
		{"the message", "552 5.2.2 full", ErrFull},
		{"RCPT TO:<a>", "550 5.7.1 no", nil},
		{"PASS", "-ERR [AUTH] no", ErrLogin},
		{"PASS", "-ERR [SYS/TEMP] later", nil}, // RFC 3206: it says nothing of the password
		{"AUTH", "-ERR [SYS/TEMP] later", nil},
		{"AUTH", "-ERR [IN-USE] no", ErrBusy},
		{"AUTH", "-ERR [LOGIN-DELAY] no", ErrTooSoon},
		{"PASS", "-ERR [LOGIN-DELAY] no", ErrTooSoon},
		{"RETR 1", "-ERR [SYS/TEMP] later", nil},
		{"DELE 1", "-ERR no", ErrNoMessage},
	} {
		if err := (&ReplyError{c.command, c.reply}); errors.Unwrap(err) != c.want {
			t.Errorf("%s, %s means %v, want %v", c.command, c.reply, errors.Unwrap(err), c.want)
		}
	}
}
