package message

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
)

// encodingOf finds a charset by the names that mail programs give it.
func encodingOf(charset string) (encoding.Encoding, error) {
	name := strings.ToLower(strings.TrimSpace(charset))
	switch name {
	case "", "us-ascii", "ascii", "utf-8", "utf8", "unknown-8bit", "binary":
		return encoding.Nop, nil
	case "eucgb2312_cn": // the names of Python's codecs, in headers that it makes
		name = "gb2312"
	case "big5_tw":
		name = "big5"
	}
	// Browsers don't read some charsets, and take UTF-16 to be little-endian.
	if e, err := htmlindex.Get(name); err == nil && e != encoding.Replacement && name != "utf-16" {
		return e, nil
	}
	if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("unknown charset %q", charset)
}

func charsetReader(charset string, r io.Reader) (io.Reader, error) {
	e, err := encodingOf(charset)
	if err != nil {
		return nil, err
	}
	return e.NewDecoder().Reader(r), nil
}

// validUTF8 takes text that is no UTF-8, and does not say what it is, for the
// most usual charset before it. Where no more is broken than is good, it is UTF-8
// that was cut off or damaged.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	good, broken := 0, 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if i += size; r == utf8.RuneError && size == 1 {
			broken++
		} else if size > 1 {
			good++
		}
	}
	if good < broken {
		if d, err := charmap.Windows1252.NewDecoder().String(s); err == nil {
			return d
		}
	}
	return strings.ToValidUTF8(s, string(utf8.RuneError))
}
