package sasl

import (
	"context"
	"encoding/base64"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestOutcome(t *testing.T) {
	plain := base64.StdEncoding.EncodeToString([]byte("\x00tim\x00tanstaaftanstaaf"))
	wrong := base64.StdEncoding.EncodeToString([]byte("\x00tim\x00wrong"))
	for _, c := range []struct {
		initial string
		lines   []string
		want    Outcome
	}{
		{plain, nil, Accepted}, {wrong, nil, Failed}, {"=", nil, Aborted}, {"!", nil, Aborted}, {"", nil, Aborted},
	} {
		_, _, err := converse(newServer(t, Plain, secure), &c.initial, c.lines...)
		if got := OutcomeOf(err); got != c.want {
			t.Errorf("%q: %v is %s, want %s", c.initial, err, got, c.want)
		}
	}
	for _, lines := range [][]string{{}, {"*"}} { // the connection is lost; the client gives up
		if _, _, err := converse(newServer(t, Plain, secure), nil, lines...); OutcomeOf(err) != Aborted {
			t.Errorf("%q: %v is %s", lines, err, OutcomeOf(err))
		}
	}
	if OutcomeOf(errTrouble) != Trouble {
		t.Error("trouble is something else")
	}
	// Too many, also where that is found out after a challenge.
	l, addr := &Limiter{MaxFailures: 1}, netip.MustParseAddr("192.0.2.1")
	_, err := l.Converse(context.Background(), addr, newServer(t, Plain, secure), nil, func(string) (string, error) {
		done, err := l.Begin(t.Context(), addr)
		if err != nil {
			return "", err
		}
		done(true)
		return plain, nil
	})
	if OutcomeOf(err) != Limited {
		t.Errorf("%v is %s", err, OutcomeOf(err))
	}
}

// slow takes a second to tell who it is.
type slow struct{ Users }

func (slow) Authenticate(context.Context, string, string) (string, bool, error) {
	time.Sleep(time.Second)
	return "tim", true, nil
}

// What the client thinks is not in our time.
func TestTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := NewServer(Login, slow{}, secure)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Converse(context.Background(), nil, func(string) (string, error) {
			time.Sleep(time.Minute)
			return "dGlt", nil
		})
		if err != nil || s.Took() != time.Second {
			t.Errorf("%v after %v, want 1s", err, s.Took())
		}
	})
}
