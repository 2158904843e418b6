package commands

import (
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

const maxAnswer = 4096

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
	// A terminal gives a line with one read, and keeps what was typed after it.
	line := make([]byte, maxAnswer)
	n, err := newInterruptible(c.Context, in).Read(line)
	if err != nil && err != io.EOF {
		return "", interrupted(c.Context, err)
	}
	if text := strings.TrimSpace(string(line[:n])); text != "" {
		return text, nil
	}
	return def, nil
}
