// Package trace reads the log of xm's servers, and finds in it what became of a
// message.
//
// The log is what log/slog writes, one record a line: as text, key=value with the
// values quoted as Go strings where that is needed, or as a JSON object. A record
// begins with time, level and msg; then come service, session and peer, which a
// client can't choose, then the rest. Lines of a message have its id, those of
// POP3 about one its unique-id, uid; those that begin a session have neither.
// What systemd's journal puts around a line is taken off.
//
// What a record says comes from outside: it may hold anything, and is to be made
// printable by whoever prints it.
package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// Record is a line of the log.
type Record struct {
	Time       time.Time
	Level, Msg string
	Attrs      []Attr // the others, in order

	line int // where it was found
}

// Attr is one thing that a record tells. A list is written as "[a b]".
type Attr struct{ Key, Value string }

// Get returns the first value of a key; "" if there is none.
func (r Record) Get(key string) string {
	for _, a := range r.Attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

var errRecord = errors.New("not a record of the log")

// Parse reads a line, without its line end. The error says that it is no record.
func Parse(line []byte) (Record, error) { return parse(line, true) }

// parse also takes the journal's form off, which is there once at most.
func parse(line []byte, journal bool) (Record, error) {
	if bytes.HasPrefix(line, []byte("{")) {
		return parseJSON(line, journal)
	}
	attrs, err := parseText(string(line))
	if err != nil {
		return Record{}, err
	}
	return newRecord(attrs)
}

// newRecord wants the three attributes that begin every record.
func newRecord(attrs []Attr) (r Record, err error) {
	if len(attrs) < 3 || attrs[0].Key != "time" || attrs[1].Key != "level" || attrs[2].Key != "msg" {
		return Record{}, errRecord
	}
	r = Record{Level: attrs[1].Value, Msg: attrs[2].Value, Attrs: attrs[3:]}
	r.Time, err = time.Parse(time.RFC3339Nano, attrs[0].Value)
	return r, err
}

// parseText reads what slog.TextHandler writes.
func parseText(s string) (attrs []Attr, err error) {
	for {
		var a Attr
		if a.Key, s, err = word(s, "="); err != nil || !strings.HasPrefix(s, "=") {
			return nil, errRecord
		}
		if a.Value, s, err = word(s[1:], " "); err != nil {
			return nil, errRecord
		}
		attrs = append(attrs, a)
		if s == "" {
			return attrs, nil
		}
		if s[0] != ' ' {
			return nil, errRecord
		}
		s = s[1:]
	}
}

// word takes a key, or a value, off the beginning: a Go string, or all up to end
// (in neither of which slog leaves a quote, a blank or "=" unquoted).
func word(s, end string) (text, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return "", "", err
		}
		text, err = strconv.Unquote(quoted)
		return text, s[len(quoted):], err
	}
	text = s
	if i := strings.Index(s, end); i >= 0 {
		text = s[:i]
	}
	if strings.ContainsAny(text, "\" =") {
		return "", "", errRecord
	}
	return text, s[len(text):], nil
}

// parseJSON reads what slog.JSONHandler writes, or journalctl around a record.
func parseJSON(line []byte, journal bool) (Record, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if _, err := d.Token(); err != nil { // the "{"
		return Record{}, err
	}
	var attrs []Attr
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return Record{}, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return Record{}, err
		}
		if key == "MESSAGE" && journal {
			return parseJournal(value)
		}
		text, err := valueOf(value)
		if err != nil {
			return Record{}, err
		}
		attrs = append(attrs, Attr{key.(string), text})
	}
	if _, err := d.Token(); err != nil { // the "}"
		return Record{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return Record{}, errRecord
	}
	return newRecord(attrs)
}

// parseJournal reads MESSAGE of journalctl -o json: a string, or the octets of one
// that is not UTF-8 or can't be printed.
func parseJournal(message json.RawMessage) (Record, error) {
	var text string
	if err := json.Unmarshal(message, &text); err != nil {
		var octets []int
		if err := json.Unmarshal(message, &octets); err != nil {
			return Record{}, err
		}
		var b strings.Builder
		for _, o := range octets {
			b.WriteByte(byte(o))
		}
		text = b.String()
	}
	return parse([]byte(text), false)
}

// valueOf gives a value as the text format has it.
func valueOf(raw json.RawMessage) (string, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case []any:
		var texts []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return string(raw), nil
			}
			texts = append(texts, s)
		}
		return "[" + strings.Join(texts, " ") + "]", nil
	}
	return string(raw), nil
}
