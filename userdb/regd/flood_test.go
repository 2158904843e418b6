package regd

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"xm/hybrid"
	"xm/internal/regwire"
)

// What a peer sends is neither logged nor answered at any length.
func TestLongTexts(t *testing.T) {
	s, _ := newServer(t)
	var log bytes.Buffer
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	c := newClient(t, s)
	long := strings.Repeat("\x01ü", 1_500)
	var answers []string
	send := func(message []byte) {
		t.Helper()
		payload, err := hybrid.SealUnsigned(message, &s.Key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.Post(c.base+regwire.RegisterPath, "", bytes.NewReader(payload))
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, c.read(r))
	}
	for _, change := range []func(*regwire.Request){
		func(r *regwire.Request) { r.Name = long },
		func(r *regwire.Request) { r.Action = long },
		func(r *regwire.Request) { r.Invite = long },
		func(r *regwire.Request) { r.Record = "salt,SCRAM-SHA-256$" + strings.Repeat("9", 10_000) + ":salt$x:x" },
	} {
		r := c.request(regwire.Register, "alice")
		change(&r)
		message, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		send(message)
	}
	send([]byte(`{"` + strings.Repeat("x", 10_000) + `":1}`))
	answers = append(answers, ask(t, strings.TrimPrefix(c.base, "http://"), seal(t, &s.Key.PublicKey, strings.Replace(registration("alice"), "alice", long, 1))))
	_, body := c.get(regwire.KeysPath + strings.Repeat("x", 7_000))
	r, err := http.NewRequest(strings.Repeat("X", 7_000), c.base+regwire.ChallengePath, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range append(answers, body, c.read(response)) {
		if len(a) > 1000 {
			t.Errorf("answered with %d octets: %.100s", len(a), a)
		}
	}
	for line := range strings.Lines(log.String()) {
		if len(line) > 2500 {
			t.Errorf("logged %d octets: %.200s", len(line), line)
		}
	}
}
