package trace

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// handlers are the two forms of the log. Their clock ticks at each record.
var handlers = map[string]func(*bytes.Buffer) slog.Handler{
	"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, ticking()) },
	"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, ticking()) },
}

func ticking() *slog.HandlerOptions {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.FixedZone("", 3600))
	return &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
			now = now.Add(time.Second)
			a.Value = slog.TimeValue(now)
		}
		return a
	}}
}

// written is the line that slog makes of a record.
func written(handler string, msg string, args ...any) []byte {
	var b bytes.Buffer
	slog.New(handlers[handler](&b)).Warn(msg, args...)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// journal is the line that journalctl -o json makes of it.
func journal(line []byte, asOctets bool) []byte {
	message := any(string(line))
	if asOctets {
		var octets []int
		for _, c := range line {
			octets = append(octets, int(c))
		}
		message = octets
	}
	text, err := json.Marshal(map[string]any{"MESSAGE": message, "_PID": "1", "time": "x", "PRIORITY": "6"})
	if err != nil {
		panic(err)
	}
	return text
}

func TestParse(t *testing.T) {
	args := []any{"service", "smtp", "to", []string{"<a@b>", "<c d@e>"}, "octets", 12, "took", time.Millisecond,
		"quoted", `a "b" = \c`, "nothing", "", "line", "x\nlevel=ERROR msg=forged\x1b[2J\u2028\u00a0é"}
	for name := range handlers {
		line := written(name, "message accepted", args...)
		for _, l := range [][]byte{line, journal(line, false), journal(line, true)} {
			r, err := Parse(l)
			if err != nil || r.Level != "WARN" || r.Msg != "message accepted" || r.Time.Unix() != 1795424401 {
				t.Errorf("%s: %+v, %v", l, r, err)
			}
			want := map[string]string{"service": "smtp", "to": "[<a@b> <c d@e>]", "octets": "12", "quoted": `a "b" = \c`, "nothing": "",
				"line": args[len(args)-1].(string)}
			for key, value := range want {
				if got := r.Get(key); got != value {
					t.Errorf("%s: %s is %q, want %q", name, key, got, value)
				}
			}
			if len(r.Attrs) != len(args)/2 {
				t.Errorf("%s: %d attributes", name, len(r.Attrs))
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const begin = "time=2026-11-23T10:00:00.000Z level=INFO msg=x"
	if _, err := Parse([]byte(begin)); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"", "xm: an error", "time=2026-11-23T10:00:00.000Z level=INFO", "level=INFO " + begin, "time=yesterday level=INFO msg=x",
		begin + " ", " " + begin, begin + "  a=b", begin + " a", begin + " a=b=c", begin + ` a="b`, begin + ` a="b"c`, begin + ` a=b"c"`,
		"{", "{}", "[]", `{"time":"2026-11-23T10:00:00Z","level":"INFO"}`, `{"time":"2026-11-23T10:00:00Z","level":"INFO","msg":"x"`,
		`{"time":"2026-11-23T10:00:00Z","level":"INFO","msg":"x"} x`, `{"MESSAGE":null}`, `{"MESSAGE":"{\"MESSAGE\":\"\"}"}`,
	} {
		if r, err := Parse([]byte(line)); err == nil {
			t.Errorf("%q is %+v", line, r)
		}
	}
}

// What slog writes is read as it was meant, whatever it is.
func FuzzParseWritten(f *testing.F) {
	f.Add("message accepted", "user", `x" peer=1.2.3.4`)
	f.Add("", "", "")
	f.Add("a\nb", "k=", "\xff\x00\u2028=")
	f.Fuzz(func(t *testing.T, msg, key, value string) {
		if slices.Contains([]string{"MESSAGE", "time", "level", "msg"}, key) {
			t.Skip() // none of xm's
		}
		for name := range handlers {
			if name == "JSON" && !(utf8.ValidString(msg) && utf8.ValidString(key) && utf8.ValidString(value)) {
				continue // which JSON can't hold
			}
			line := written(name, msg, key, value)
			if bytes.ContainsAny(line, "\n\r\u2028") {
				t.Fatalf("%q is not one line", line)
			}
			for _, l := range [][]byte{line, journal(line, false), journal(line, true)} {
				r, err := Parse(l)
				if err != nil || r.Msg != msg || len(r.Attrs) != 1 || r.Attrs[0] != (Attr{key, value}) {
					t.Fatalf("%q is read as %+v, %v", l, r, err)
				}
			}
		}
	})
}

// A line from anywhere is an error, or a record that slog could have written.
func FuzzParse(f *testing.F) {
	f.Add(written("text", "refused", "command", "RCPT TO:<a b>", "reply", "550 5.1.1 No"))
	f.Add(written("JSON", "refused", "to", []string{"a", "b"}, "octets", 1))
	f.Add(journal(written("text", "x"), true))
	f.Add([]byte(strings.Repeat("{\"MESSAGE\":", 100)))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := Parse(line)
		if err != nil {
			return
		}
		var args []any
		for _, a := range r.Attrs {
			args = append(args, a.Key, a.Value)
		}
		again, err := Parse(written("text", r.Msg, args...))
		if err != nil || again.Msg != r.Msg || !slices.Equal(again.Attrs, r.Attrs) {
			t.Errorf("%q is %+v, and written anew %+v, %v", line, r, again, err)
		}
	})
}
