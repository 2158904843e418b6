package smtpd

import (
	"bytes"
	"fmt"
	"strings"
)

// header passes a message's header on, line by line, and looks at it: how large
// it is, how often the message has passed a server, what it lacks. It puts an
// empty line before a message that does not begin with a header field: typed
// into telnet, that is all body, and its first line must not become a part of
// our fields. It drops each Return-Path: the one that a message has is ours (RFC 5321,
// section 4.4).
type header struct {
	// complete gives the fields to add; nil for none.
	complete func(has func(field string) bool) string

	line   []byte // the beginning of the line that is read
	inLine bool   // its beginning was passed on
	drop   bool   // the field that it belongs to
	begun  bool   // a line was passed on
	over   bool
	size   int
	hops   int
	fields map[string]bool // those that complete may ask for
	id     string          // the Message-ID, for the log; "" as long as there is none
	inID   bool            // its field has begun, and holds nothing so far
}

// maxHeld is what is kept of a line until its end comes: more than any field
// name.
const maxHeld = 1000

var (
	errHeader = refusal{reply{552, "5.3.4", fmt.Sprintf("The header is over %d octets", maxHeader), false}}
	errLoop   = refusal{reply{554, "5.4.6", fmt.Sprintf("The message has passed %d servers: it goes in circles", maxHops), false}}
)

// pass takes the next piece of the message and gives it, and what is added, to
// next. The error is a refusal.
func (h *header) pass(p []byte, next func([]byte)) error {
	for !h.over && len(p) > 0 {
		end := bytes.IndexByte(p, '\n') + 1
		whole := end > 0
		if !whole {
			end = len(p)
		}
		h.line = append(h.line, p[:end]...)
		p = p[end:]
		if !whole && len(h.line) < maxHeld {
			return nil
		}
		if err := h.take(whole, next); err != nil {
			return err
		}
	}
	next(p)
	return nil
}

// end is for a message that ends within its header.
func (h *header) end(next func([]byte)) error {
	if h.over {
		return nil
	}
	if len(h.line) > 0 {
		if err := h.take(false, next); err != nil {
			return err
		}
	}
	if h.over {
		return nil
	}
	if h.inLine && !h.drop && h.complete != nil { // BDAT may end anywhere, but fields begin on a line of their own
		next([]byte("\r\n"))
	}
	h.add(next)
	return nil
}

// take looks at a line, or at a part of a long one.
func (h *header) take(whole bool, next func([]byte)) error {
	defer func() { h.line = h.line[:0] }()
	if !h.inLine {
		// As much of it as there always is, however the message came.
		if err := h.look(h.line[:min(len(h.line), maxHeld)], next); err != nil {
			return err
		}
	}
	if h.size += len(h.line); h.size > maxHeader && !h.over {
		return errHeader
	}
	h.inLine = !whole
	if !h.drop {
		next(h.line)
	}
	return nil
}

// look looks at the beginning of a line.
func (h *header) look(line []byte, next func([]byte)) error {
	name, isField := fieldName(line)
	h.lookForID(name, line)
	if line[0] != ' ' && line[0] != '\t' { // else it goes on
		h.drop = isField && name == "return-path"
	}
	if h.drop {
		return nil
	}
	first := !h.begun
	h.begun = true
	switch {
	case string(line) == "\r\n":
		h.add(next)
		h.over = true
	case isField && name == "received":
		if h.hops++; h.hops >= maxHops {
			return errLoop
		}
	case isField && h.complete != nil && (name == "date" || name == "message-id"):
		if h.fields == nil {
			h.fields = map[string]bool{}
		}
		h.fields[name] = true
	case !isField && first:
		h.add(next)
		next([]byte("\r\n"))
		h.over = true
	}
	return nil
}

// lookForID finds the Message-ID, which may stand on a line of its own (RFC 5322,
// section 2.2.3), as some programs have it.
func (h *header) lookForID(field string, line []byte) {
	value := line
	switch {
	case h.id == "" && field == "message-id":
		_, value, _ = bytes.Cut(line, []byte(":"))
	case !h.inID || line[0] != ' ' && line[0] != '\t':
		h.inID = false
		return
	}
	value = bytes.TrimSpace(value)
	h.id = string(value[:min(len(value), maxQuoted)])
	h.inID = h.id == ""
}

// add gives the missing fields.
func (h *header) add(next func([]byte)) {
	if h.complete != nil {
		next([]byte(h.complete(func(field string) bool { return h.fields[field] })))
	}
}

// fieldName gives the name, in lower case, of the field that a line begins (RFC
// 5322, section 2.2).
func fieldName(line []byte) (string, bool) {
	name, _, found := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t") // RFC 5322, section 4.5: obsolete, but met
	if !found || len(name) == 0 || bytes.ContainsFunc(name, func(r rune) bool { return r < '!' || r > '~' }) {
		return "", false
	}
	return strings.ToLower(string(name)), true
}
