package commands

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// asTerminal returns a stream as a file, if it is a terminal.
func asTerminal(stream any) (f *os.File, ok bool) {
	f, ok = stream.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// maxTyped is the longest line that a terminal gives (termios(3)).
const maxTyped = 4096

// typedLine reads what somebody types at a terminal, which gives a line with one read,
// and keeps what was typed after it.
func typedLine(c *cli.Context, in *os.File) (string, error) {
	line := make([]byte, maxTyped)
	n, err := newInterruptible(c.Context, in).Read(line)
	if err != nil && err != io.EOF {
		return "", interrupted(c.Context, err)
	}
	return string(line[:n]), nil
}

// answer gives the value of a flag, or, if that is not set and there is a
// terminal, what somebody types there. An empty line, and no terminal, mean def.
func answer(c *cli.Context, flag, question, def string) (string, error) {
	if c.IsSet(flag) {
		return c.String(flag), nil
	}
	in, ok := asTerminal(c.App.Reader)
	if !ok {
		return def, nil
	}
	if def != "" {
		question += " [" + def + "]"
	}
	fmt.Fprint(c.App.ErrWriter, question+": ")
	line, err := typedLine(c, in)
	if err != nil {
		return "", err
	}
	return cmp.Or(strings.TrimSpace(line), def), nil
}

// confirm asks a question that "yes" is the answer to. wayOut says what to do
// where there is nobody to ask.
func confirm(c *cli.Context, question, wayOut string) (bool, error) {
	in, ok := asTerminal(c.App.Reader)
	if !ok {
		return false, usageErrorf("there is no terminal to ask on: use %s", wayOut)
	}
	fmt.Fprint(c.App.ErrWriter, question)
	line, err := typedLine(c, in)
	return strings.EqualFold(strings.TrimSpace(line), "yes"), err
}
