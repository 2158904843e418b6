package smtpd

import (
	"strconv"
	"strings"
)

// reply is what a handler answers. text may have several lines. The zero reply
// is none.
type reply struct {
	code     int
	enhanced string // RFC 3463 status code; "" where none is due
	text     string
	close    bool // the session ends after it
}

// String gives the reply as it is sent, without the last CRLF (RFC 5321,
// section 4.2.1). RFC 2034, section 4: every line has the enhanced code.
func (r reply) String() string {
	code, enhanced := strconv.Itoa(r.code), ""
	if r.enhanced != "" {
		enhanced = r.enhanced + " "
	}
	var before strings.Builder
	last := r.text
	for {
		text, rest, more := strings.Cut(last, "\n")
		if !more {
			return before.String() + code + " " + enhanced + last
		}
		before.WriteString(code + "-" + enhanced + text + "\r\n")
		last = rest
	}
}

// line is the reply as the log has it: without what EHLO lists.
func (r reply) line() string {
	first, _, _ := strings.Cut(r.text, "\n")
	r.text = first
	return r.String()
}

// Replies that several commands give.
var (
	done           = reply{250, "2.0.0", "OK", false}
	notGreeted     = reply{503, "5.5.1", "Send HELO or EHLO first", false}
	badSequence    = reply{503, "5.5.1", "Send MAIL first", false}
	cutOff         = reply{421, "4.4.2", "The message was cut off", true}
	hasTransaction = reply{503, "5.5.1", "Not during a transaction: RSET ends it", false}
)
