package trace

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// of is a source with a text.
func of(text string) Source {
	return Source{"x.log", func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}

// story gives the log's words for each event, and "+n" for those left out.
func story(s *Story) string {
	var words []string
	for _, r := range s.Events {
		words = append(words, strings.TrimSpace(r.Msg+" "+r.Get("command")))
	}
	if s.Left > 0 {
		words = append(words, fmt.Sprintf("+%d", s.Left))
	}
	return strings.Join(words, "; ")
}

// example is a log with two messages in one session, and what others do.
func example(handler string) string {
	var b bytes.Buffer
	all := slog.New(handlers[handler](&b))
	log := all.With("service", "smtp")
	if handler == "text" {
		fmt.Fprintln(&b, "xm: no record\nid=one")
	}
	a, other := log.With("session", "s1", "peer", "192.0.2.1"), log.With("session", "s2")
	a.Info("connected")
	other.Info("answered", "command", "EHLO s1", "id", "")
	a.Info("answered", "command", "EHLO a")
	a.Info("refused", "command", "MAIL FROM:<x>")
	a.Info("answered", "id", "one", "command", "RCPT TO:<b>")
	other.Info("refused", "id", "three", "command", "RCPT TO:<id=one uid=u1 session=s1>")
	a.Info("message accepted", "id", "one", "message_id", `<a&"b"@c>`, "file", "f1", "uid", "u1")
	a.Info("answered", "command", "EHLO again")
	a.Info("refused", "id", "two", "command", "RCPT TO:<c>")
	a.Info("message accepted", "id", "two", "message_id", "<d@e>", "file", "f2")
	a.Warn("connection lost")
	other.Info("message refused", "id", "three", "message_id", `<a&"b"@c>`)
	pop3 := all.With("service", "pop3", "session", "s9")
	pop3.Info("message retrieved", "uid", "u1")
	pop3.Info("message retrieved", "uid", "f1")
	pop3.Info("message deleted", "uid", "f2")
	return b.String()
}

func TestFind(t *testing.T) {
	const (
		one   = "connected; answered EHLO a; answered RCPT TO:<b>; message accepted; connection lost; message retrieved"
		two   = "connected; answered EHLO a; answered EHLO again; refused RCPT TO:<c>; message accepted; connection lost; message deleted"
		three = "answered EHLO s1; refused RCPT TO:<id=one uid=u1 session=s1>; message refused"
	)
	for name := range handlers {
		log := example(name)
		half := strings.Index(log[len(log)/2:], "\n") + len(log)/2 + 1
		var packed bytes.Buffer
		zip := gzip.NewWriter(&packed)
		io.WriteString(zip, log[half:])
		zip.Close()
		for message, want := range map[string]string{
			"one": one, "two": two, "<d@e>": two, "d@e": two, `<a&"b"@c>`: one + " | " + three,
			"s1": "", "nobody@nowhere": "", "u1": "", "f1": "", "on": "",
		} {
			for form, sources := range map[string][]Source{
				"whole": {of(log)}, "rotated": {of(packed.String()), of(log[:half])}, "no last line end": {of(strings.TrimSpace(log))},
				"CRLF": {of(strings.ReplaceAll(log, "\n", "\r\n"))},
			} {
				stories, err := Find(context.Background(), sources, message)
				var got []string
				for _, s := range stories {
					got = append(got, story(s))
				}
				if err != nil || strings.Join(got, " | ") != want {
					t.Errorf("%s, %s, %s: %v\n%s\nwant\n%s", name, form, message, err, strings.Join(got, "\n"), want)
				}
			}
		}
	}
}

// However much there is, no more is kept than the bounds say.
func TestFindBounds(t *testing.T) {
	var log strings.Builder
	for range maxEvents + 7 {
		fmt.Fprintf(&log, "%s\n", written("text", "connected", "session", "s9."))
	}
	for i := range maxStories + 5 {
		fmt.Fprintf(&log, "%s\n", written("text", "message accepted", "id", fmt.Sprintf("id%d.", i), "session", fmt.Sprintf("s%d.", i), "message_id", "<same@id>"))
	}
	fmt.Fprintf(&log, "%s\n", written("text", "refused", "id", "id9.", "padding", strings.Repeat("x", maxLine)))
	stories, err := Find(context.Background(), []Source{of(log.String())}, "same@id")
	if err != nil || len(stories) != maxStories {
		t.Fatalf("%d stories, %v", len(stories), err)
	}
	if slices.ContainsFunc(stories, func(s *Story) bool { return s.ID == "id4." }) {
		t.Error("the first story is told, not the last")
	}
	if s := stories[0]; s.ID != "id9." || len(s.Events) != maxEvents+1 || s.Left != 7 {
		t.Errorf("%s: %d events, %d left out", s.ID, len(s.Events), s.Left)
	}
}

func TestFindFails(t *testing.T) {
	broken := errors.New("the disk is on fire")
	log := example("text")
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	io.WriteString(zip, log)
	zip.Close()
	for name, source := range map[string]Source{
		"open": {"x.log", func() (io.ReadCloser, error) { return nil, broken }},
		"read": {"x.log", func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(log), iotest.ErrReader(broken))), nil
		}},
		"cut off": of(packed.String()[:packed.Len()/2]),
	} {
		if stories, err := Find(context.Background(), []Source{source}, "none"); err == nil || stories != nil || !strings.HasPrefix(err.Error(), "x.log: ") {
			t.Errorf("%s: %v, %v", name, stories, err)
		}
		stories, err := Find(context.Background(), []Source{source, of(log)}, "one")
		if err == nil || len(stories) == 0 || !strings.HasPrefix(err.Error(), "x.log: ") {
			t.Errorf("%s, before a good one: %v, %v", name, stories, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Find(ctx, []Source{of(log)}, "one"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
