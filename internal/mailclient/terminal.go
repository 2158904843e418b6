package mailclient

import (
	"io"
	"unicode"
	"unicode/utf8"
)

// printable excludes control characters, and format characters that reorder or
// hide text.
func printable(r rune) bool {
	return r == ' ' || unicode.IsGraphic(r) && r != utf8.RuneError && !unicode.Is(unicode.Bidi_Control, r)
}

// TerminalWriter passes text on to a terminal, with each octet or character
// that could command it, or hide text, shown as a replacement character. Line
// ends and tabs pass.
type TerminalWriter struct {
	w    io.Writer
	held []byte // the beginning of a character
}

// NewTerminalWriter returns a TerminalWriter; its Close must be called.
func NewTerminalWriter(w io.Writer) *TerminalWriter { return &TerminalWriter{w: w} }

func (t *TerminalWriter) Write(p []byte) (int, error) {
	text := append(t.held, p...)
	out := make([]byte, 0, len(text))
	for len(text) > 0 && utf8.FullRune(text) && string(text) != "\r" { // an LF may follow
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		switch {
		case r == '\r' && len(text) > 0 && text[0] == '\n':
		case r == '\n' || r == '\t' || printable(r):
			out = utf8.AppendRune(out, r)
		default:
			out = utf8.AppendRune(out, utf8.RuneError)
		}
	}
	t.held = append([]byte(nil), text...)
	if _, err := t.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close shows what was held back. It does not close the terminal.
func (t *TerminalWriter) Close() error {
	if len(t.held) == 0 {
		return nil
	}
	_, err := io.WriteString(t.w, string(utf8.RuneError))
	return err
}
