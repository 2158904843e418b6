package pop3d

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"xm/internal/line"
	"xm/internal/sasl"
)

// capa lists what is offered. RFC 2449, section 6, has it the same in both states;
// what differs is what the connection is good for, and STLS.
func (s *session) capa([]string) reply {
	ch := s.channel()
	list := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "UTF8 USER", "LANG",
		"SASL " + strings.Join(mechanisms(ch), " ")}
	if ch.Secure {
		list = append(list, "USER")
	}
	// RFC 2595, section 4: it is listed where it is permitted in the current state.
	if s.state() == authorization && s.conn.CanStartTLS() {
		list = append(list, "STLS")
	}
	if s.srv.LoginDelay != nil {
		list = append(list, fmt.Sprintf("LOGIN-DELAY %d", s.srv.LoginDelay.seconds()))
	}
	list = append(list, "IMPLEMENTATION xm")
	return reply{ok: true, text: "capabilities follow", rest: lines(func(w *line.DotWriter) error {
		_, err := io.WriteString(w, strings.Join(list, "\r\n")+"\r\n")
		return err
	})}
}

// mechanisms are those that POP3 offers. LOGIN has been obsolete for as long as
// POP3 has had AUTH with PLAIN.
func mechanisms(ch sasl.Channel) []string {
	return slices.DeleteFunc(ch.Mechanisms(), func(m string) bool { return m == sasl.Login })
}

// sayUTF8 is RFC 6856, section 2.1. Names and passwords may be in UTF-8 without
// it (section 2.2).
func (s *session) sayUTF8([]string) reply {
	s.utf8 = true
	return reply{ok: true, text: "UTF-8 it is"}
}

// languages are those of the texts in replies. RFC 6856, section 3, and RFC
// 2277, section 4.5, want i-default.
var languages = []struct{ tag, name string }{
	{"i-default", "Default language"},
	{"en", "English"},
}

// lang is RFC 6856, section 3.
func (s *session) lang(args []string) reply {
	if len(args) == 1 {
		tag, ok := lookup(args[0])
		if !ok {
			return failure("that language is not spoken here")
		}
		return reply{ok: true, text: tag + " English it is"}
	}
	return reply{ok: true, text: "languages follow", rest: lines(func(w *line.DotWriter) error {
		for _, l := range languages {
			if _, err := fmt.Fprintf(w, "%s %s\r\n", l.tag, l.name); err != nil {
				return err
			}
		}
		return nil
	})}
}

// lookup finds the language for a range, en for en-GB, say. "*" is the server's
// choice. RFC 4647, section 3.4.
func lookup(wanted string) (tag string, ok bool) {
	if wanted == "*" {
		return languages[0].tag, true
	}
	for wanted != "" {
		for _, l := range languages {
			if strings.EqualFold(l.tag, wanted) {
				return l.tag, true
			}
		}
		wanted = wanted[:max(0, strings.LastIndexByte(wanted, '-'))]
	}
	return "", false
}
