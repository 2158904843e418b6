package smtpd

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// through passes a message in pieces of a size, and returns what comes out.
func through(h *header, text string, size int) (string, error) {
	var out bytes.Buffer
	next := func(p []byte) { out.Write(p) }
	for piece := range slices.Chunk([]byte(text), size) {
		if err := h.pass(piece, next); err != nil {
			return out.String(), err
		}
	}
	err := h.end(next)
	return out.String(), err
}

func completing() *header {
	return &header{complete: func(has func(string) bool) string {
		return fmt.Sprintf("Has: %v %v\r\n", has("date"), has("message-id"))
	}}
}

func TestHeaderInAnyPieces(t *testing.T) {
	long := strings.Repeat("x", 3*maxHeld)
	for text, want := range map[string]string{
		"":                              "Has: false false\r\n",
		"A: b\r\n\r\nbody\r\n":          "A: b\r\nHas: false false\r\n\r\nbody\r\n",
		"date: x\r\nMESSAGE-ID : y\r\n": "date: x\r\nMESSAGE-ID : y\r\nHas: true true\r\n",
		"A: b\r\n\r\nDate: no\r\n":      "A: b\r\nHas: false false\r\n\r\nDate: no\r\n",
		"A: b\r\n Date: folded\r\n\r\n": "A: b\r\n Date: folded\r\nHas: false false\r\n\r\n",
		// The one Return-Path is ours, whoever wrote another.
		"Return-Path: <x>\r\nA: b\r\nreturn-path:\r\n <" + long + ">\r\n\t.\r\nB: c\r\n\r\nReturn-Path: <y>\r\n": "A: b\r\nB: c\r\nHas: false false\r\n\r\nReturn-Path: <y>\r\n",
		"Return-Path: <x>\r\n y\r\nHello.\r\n":       "Has: false false\r\n\r\nHello.\r\n",
		"Return-Path: <" + long + ">\r\nDate: x\r\n": "Date: x\r\nHas: true false\r\n",
		"A: b\r\nReturn-Path: <" + long:              "A: b\r\nHas: false false\r\n",
		"\r\nbody\r\n":                               "Has: false false\r\n\r\nbody\r\n",
		"Hello Alice.\r\n":                           "Has: false false\r\n\r\nHello Alice.\r\n",
		"Hello":                                      "Has: false false\r\n\r\nHello",
		"A: b":                                       "A: b\r\nHas: false false\r\n", // BDAT may end anywhere
		"A: " + long:                                 "A: " + long + "\r\nHas: false false\r\n",
		"A: " + long + "\r\nDate: x\r\n":             "A: " + long + "\r\nDate: x\r\nHas: true false\r\n",
		long + ": b\r\n\r\n":                         "Has: false false\r\n\r\n" + long + ": b\r\n\r\n", // a name that is longer than a line may be
		"A: b\r\nnonsense\r\nDate: x\r\n\r\n.\r\n":   "A: b\r\nnonsense\r\nDate: x\r\nHas: true false\r\n\r\n.\r\n",
	} {
		for _, size := range []int{1, 2, 3, 7, maxHeld, 4096} {
			if got, err := through(completing(), text, size); err != nil || got != want {
				t.Errorf("%.40q in pieces of %d: got %.300q, %v; want %.300q", text, size, got, err, want)
			}
		}
	}
}

func TestMessageIDForTheLog(t *testing.T) {
	for text, want := range map[string]string{
		"A: b\r\nMessage-ID: <a@b>\r\nMessage-ID: <c@d>\r\n\r\n":    "<a@b>",
		"message-id:<a@b> \r\n\r\nMessage-ID: <c@d>\r\n":            "<a@b>",
		"Message-ID:\r\n\t<a@b>\r\n\r\n":                            "<a@b>", // as Outlook has it
		"Message-ID:\r\nSubject: x\r\n <a@b>\r\n\r\n":               "",
		"Message-ID: \r\n\r\n <a@b>\r\n":                            "",
		"Message-ID:" + strings.Repeat("x", 5*maxHeld) + "\r\n\r\n": strings.Repeat("x", maxQuoted),
		"A: b\r\n\r\n": "",
	} {
		for _, size := range []int{1, 3, maxHeld, 4096} {
			h := &header{}
			if _, err := through(h, text, size); err != nil || h.id != want {
				t.Errorf("%.40q in pieces of %d: %q, %v; want %q", text, size, h.id, err, want)
			}
		}
	}
}

func TestHeaderBounds(t *testing.T) {
	hop := "Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000\r\n"
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"99 hops", strings.Repeat(hop, 99) + "\r\n", nil},
		{"100 hops", strings.Repeat(strings.ToLower(hop), 100) + "\r\n", errLoop},
		{"100 in the body", "\r\n" + strings.Repeat(hop, 100), nil},
		{"many fields", strings.Repeat("A: b\r\n", maxHeader/6+1), errHeader},
		{"one field", "A: " + strings.Repeat("x", maxHeader), errHeader},
		{"a first line that is none", strings.Repeat("x", maxHeader+10), nil},
		{"a large body", "\r\n" + strings.Repeat("x", maxHeader+10), nil},
	} {
		if _, err := through(&header{}, c.text, 4096); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add("A: b\r\nReceived: c\r\n\r\nbody", 3)
	f.Add("Hello", 1)
	f.Add("Return-Path: a\r\n b\r\nC: d", 5)
	f.Add(strings.Repeat("x", maxHeld)+": b", 4096)
	f.Fuzz(func(t *testing.T, text string, size int) {
		if size < 1 {
			return
		}
		got, err := through(&header{}, text, size)
		if err != nil {
			return
		}
		// Nothing else is lost, and nothing but an empty line is put before it.
		if got != text && got != "\r\n"+text && !strings.Contains(strings.ToLower(text), "return-path") {
			t.Errorf("%q became %q", text, got)
		}
		if again, _ := through(&header{}, text, 1); again != got {
			t.Errorf("octet by octet, %q became %q", text, again)
		}
	})
}
