package message

import (
	"bufio"
	"errors"
	"io"
	"net/textproto"
	"regexp"
	"strings"
	"time"
)

// Header is what a message says of itself. It may say anything.
type Header struct {
	From, ReplyTo, To, Cc []Address
	Subject               string
	Date                  time.Time // zero if there is none
	MessageID             string    // as "<...>"; "" if there is none
	InReplyTo, References string

	fields textproto.MIMEHeader
}

// Get returns a field's value as it came; "" if there is none.
func (h Header) Get(name string) string { return h.fields.Get(name) }

// Sender is the address that a message says it is from; "" if it does not.
func (h Header) Sender() string {
	if len(h.From) == 0 {
		return ""
	}
	return h.From[0].Address
}

// maxHeader bounds a header in octets.
const maxHeader = 1 << 20

// ErrHeaderTooLong is returned for a message whose header is not read: it is over
// a megabyte.
var ErrHeaderTooLong = errors.New("the header is too long")

// field is one of a header.
type field struct {
	name, value string   // without folds
	lines       []string // as it came, without line ends; nil if it did not
}

// key is what fields of that name are looked for by.
func (f field) key() string { return textproto.CanonicalMIMEHeaderKey(f.name) }

// readHeader reads header fields by their names.
func readHeader(in *bufio.Reader) (textproto.MIMEHeader, error) {
	fields, err := readFields(in)
	return byName(fields), err
}

func byName(fields []field) textproto.MIMEHeader {
	named := textproto.MIMEHeader{}
	for _, f := range fields {
		named[f.key()] = append(named[f.key()], f.value)
	}
	return named
}

// readFields reads header fields, in their order, up to an empty line, or to the first
// line that is no field, which is left. It is lenient, as net/mail is not: a broken line
// must not hide a message.
func readFields(in *bufio.Reader) (fields []field, err error) {
	left, last := maxHeader, &field{}
	unfold := func() {
		words := []string{last.value}
		for _, l := range last.lines[min(1, len(last.lines)):] {
			words = append(words, strings.TrimSpace(l))
		}
		last.value = strings.Join(words, " ")
	}
	defer unfold()
	for {
		skip := isFromLineNext(in)
		if !skip && !isFieldNext(in, len(fields) > 0) {
			return fields, nil
		}
		line, err := readLine(in, &left)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { // the last line counts
			return fields, err
		}
		text := strings.TrimRight(line, "\r\n")
		name, value, _ := strings.Cut(text, ":")
		switch {
		case skip:
		case text == "":
			return fields, nil
		case text[0] == ' ' || text[0] == '\t': // RFC 5322, section 2.2.3
			last.lines = append(last.lines, text)
		default:
			unfold()
			fields = append(fields, field{strings.TrimRight(name, " \t"), strings.TrimSpace(value), []string{text}})
			last = &fields[len(fields)-1]
		}
		if err == io.EOF {
			return fields, nil
		} else if err != nil {
			return fields, err
		}
	}
}

// isFieldNext looks whether a line of the header, or its end, comes next.
func isFieldNext(in *bufio.Reader, folds bool) bool {
	begin, _ := in.Peek(maxFieldName)
	if len(begin) == 0 {
		return false
	}
	if begin[0] == ' ' || begin[0] == '\t' {
		return folds
	}
	for i, c := range begin {
		switch {
		case c == ':':
			return i > 0
		case c == '\n':
			return i == 0 || i == 1 && begin[0] == '\r'
		case c == ' ' || c == '\t' || c == '\r' && i == 0: // obsolete blanks before the colon (RFC 5322, section 4.5.8)
		case c <= ' ' || c > 126:
			return false
		case i > 0 && (begin[i-1] == ' ' || begin[i-1] == '\t'):
			return false // words
		}
	}
	return false
}

const maxFieldName = 200

// isFromLineNext looks for a line that mailboxes have before each message, and
// that some programs leave in its header.
func isFromLineNext(in *bufio.Reader) bool {
	begin, _ := in.Peek(maxFieldName)
	return fromLine.Match(begin)
}

var fromLine = regexp.MustCompile(`^>?From [^\n]*[ \t][0-9]?[0-9]:[0-9][0-9]`)

func readLine(in *bufio.Reader, left *int) (string, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if *left -= len(part); *left < 0 {
			return "", ErrHeaderTooLong
		}
		if err != bufio.ErrBufferFull {
			return string(line), err
		}
	}
}

func parseHeader(fields textproto.MIMEHeader) Header {
	h := Header{fields: fields}
	h.From = addresses(fields, "From")
	if len(h.From) == 0 {
		h.From = addresses(fields, "Return-Path") // the original's messages have no more
	}
	h.ReplyTo, h.To, h.Cc = addresses(fields, "Reply-To"), addresses(fields, "To"), addresses(fields, "Cc")
	h.Subject = decodeText(fields.Get("Subject"))
	h.Date = parseDate(fields.Get("Date"))
	h.MessageID = firstID(fields.Get("Message-Id"))
	h.InReplyTo = firstID(fields.Get("In-Reply-To"))
	h.References = strings.Join(ids(fields.Get("References")), " ")
	return h
}

// ids finds the message ids in a field (RFC 5322, section 3.6.4). Nothing needs to stand
// between two, and comments may.
func ids(s string) (all []string) {
	for _, id := range idPattern.FindAllString(s, -1) {
		if len(id) <= 998 {
			all = append(all, id)
		}
	}
	return all
}

var idPattern = regexp.MustCompile(`<[^<>\x00-\x20\x7f]+>`)

func firstID(s string) string {
	if all := ids(s); len(all) > 0 {
		return all[0]
	}
	return ""
}

// SplitFields reads a header, and returns its fields as they are, folds and
// CRLFs included; body is the rest.
func SplitFields(r io.Reader) (fields []string, body io.Reader, err error) {
	in, left := bufio.NewReader(r), maxHeader
	for isFieldNext(in, len(fields) > 0) {
		line, err := readLine(in, &left)
		if err != nil && err != io.EOF {
			return nil, nil, err
		}
		switch {
		case strings.TrimRight(line, "\r\n") == "":
			return fields, in, nil
		case line[0] == ' ' || line[0] == '\t':
			fields[len(fields)-1] += line
		default:
			fields = append(fields, line)
		}
	}
	return fields, in, nil
}

// ParseFields reads fields that SplitFields gave. to is everybody whom they send the
// message to, however many: Bcc, which is nobody's to read, is in no other place. A
// message that is sent again goes to those of its Resent fields.
func ParseFields(fields []string) (h Header, to []Address) {
	parsed, _ := readHeader(bufio.NewReader(strings.NewReader(strings.Join(fields, ""))))
	from, prefix := parsed, ""
	if resent := newestResent(fields); len(resent) > 0 {
		from, prefix = resent, "Resent-"
	}
	for _, name := range []string{"To", "Cc", "Bcc"} {
		to = append(to, allAddresses(from, prefix+name)...)
	}
	return parseHeader(parsed), to
}

// newestResent reads the Resent fields of the last time that a message was sent
// again: each time puts its own before the others (RFC 5322, section 3.6.6). They are
// the first of each name, up to one that has been there.
func newestResent(fields []string) textproto.MIMEHeader {
	resent := textproto.MIMEHeader{}
	for _, f := range fields {
		parsed, _ := readHeader(bufio.NewReader(strings.NewReader(f)))
		for name, values := range parsed {
			if !strings.HasPrefix(name, "Resent-") {
				continue
			}
			if resent.Get(name) != "" {
				return resent
			}
			resent[name] = values
		}
	}
	return resent
}
