package message

import (
	"encoding/base64"
	"io"
	"mime"
	"regexp"
	"strings"
)

// words reads encoded words. One whose charset is not known is taken as it is:
// the others in the field are not to suffer.
var words = mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
	charset, _, _ = strings.Cut(charset, "*") // a language (RFC 2231, section 5)
	if converted, err := charsetReader(charset, r); err == nil {
		return converted, nil
	}
	return r, nil
}}

// decodeText undoes the encoded words of a header field (RFC 2047).
func decodeText(s string) string {
	if d, err := words.DecodeHeader(mendWords(s)); err == nil {
		s = d
	}
	return validUTF8(s)
}

var (
	wordPattern  = regexp.MustCompile(`=\?([^?\s]+)\?([bBqQ])\?([^?]*)\?=`)
	blankPattern = regexp.MustCompile(`^[ \t]*$`)
)

// mendWords writes encoded words anew as RFC 2047 has them: programs leave octets above
// 127, blanks and commas in them, forget the padding of base64, and split a character
// between two, against its section 5.
func mendWords(s string) string {
	if !strings.Contains(s, "=?") {
		return s
	}
	var out strings.Builder
	charset, text, end := "", []byte(nil), 0 // what is to be written, and where it ends in s
	write := func() {
		if charset != "" {
			out.WriteString("=?" + charset + "?b?" + base64.StdEncoding.EncodeToString(text) + "?=")
		}
	}
	for _, at := range wordPattern.FindAllStringSubmatchIndex(s, -1) {
		between, next := s[end:at[0]], s[at[2]:at[3]]
		if charset == "" || !blankPattern.MatchString(between) || !strings.EqualFold(charset, next) {
			write()
			out.WriteString(between)
			charset, text = next, nil
		}
		text, end = append(text, decodeWord(s[at[4]:at[5]], s[at[6]:at[7]])...), at[1]
	}
	write()
	return out.String() + s[end:]
}

func decodeWord(encoding, text string) []byte {
	r := io.Reader(strings.NewReader(text))
	if strings.EqualFold(encoding, "b") {
		r = base64.NewDecoder(base64.StdEncoding, &base64Digits{r: r})
	} else {
		r = newQuotedPrintable(strings.NewReader(strings.NewReplacer("_", "=20", " ", "=20").Replace(text)))
	}
	decoded, _ := io.ReadAll(r) // as far as it goes
	return decoded
}
