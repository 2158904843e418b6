package commands

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"xm/hybrid"
	"xm/internal/disk"
	"xm/internal/safefile"
)

// text gets the text of a message into a spool: from the words of the command
// line, from -i, from $EDITOR on a terminal, or from standard input.
func (l *composer) text(spool hybrid.Spool) (*hidden, error) {
	c := l.c
	if isStdin(c, l.account.PasswordFile) && len(l.words) == 0 && !c.IsSet("i") {
		return nil, usageErrorf("standard input can't be both the password and the message")
	}
	_, onTerminal := asTerminal(c.App.Reader)
	if editor := editorName(); editor != "" && len(l.words) == 0 && !c.IsSet("i") && onTerminal {
		return l.edit(editor, spool)
	}
	in, err := messageInput(c, l.words)
	if err != nil {
		return nil, err
	}
	defer in.close()
	return hide(in.Reader, spool)
}

func editorName() string {
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if editor := os.Getenv(name); editor != "" {
			return editor
		}
	}
	return ""
}

// errNothingWritten says that the person thought better of it.
var errNothingWritten = errors.New("the message is empty: nothing is sent")

// edit lets a person write the text. It is in a private file for as long, in
// memory where the system has a place for that.
func (l *composer) edit(editor string, spool hybrid.Spool) (*hidden, error) {
	dir, err := os.MkdirTemp(os.Getenv("XDG_RUNTIME_DIR"), "xm-")
	if err != nil {
		if dir, err = os.MkdirTemp("", "xm-"); err != nil {
			return nil, err
		}
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "message.txt")
	if err := os.WriteFile(path, []byte(l.quote), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(l.c.Context, "sh", "-c", editor+` "$1"`, "sh", path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = l.c.App.Reader, l.c.App.Writer, l.c.App.ErrWriter
	if err := cmd.Run(); err != nil {
		return nil, interrupted(l.c.Context, fmt.Errorf("the editor failed: %w", err))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if written := strings.TrimSpace(string(text)); written == "" || written == strings.TrimSpace(l.quote) {
		return nil, errNothingWritten
	}
	return hide(strings.NewReader(string(text)), spool)
}

// writeBuffered writes many small pieces as few large ones, and goes back to the
// beginning.
func writeBuffered(h *hidden, write func(io.Writer) error) error {
	w := bufio.NewWriterSize(h, 64<<10)
	if err := errors.Join(write(w), w.Flush()); err != nil {
		return err
	}
	_, err := h.Seek(0, io.SeekStart)
	return err
}

// writeNewFile lets write make a private file, which appears when it is complete and
// durable.
func writeNewFile(dir disk.Dir, name string, write func(io.Writer) error) error {
	f, err := safefile.Create(dir, name, 0o600)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 64<<10)
	if err := errors.Join(write(w), w.Flush()); err != nil {
		return err
	}
	return f.CommitNew()
}

// isUTF8 reads a message through.
func isUTF8(r io.Reader) (bool, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		c, size, err := in.ReadRune()
		if err == io.EOF {
			return true, nil
		}
		if err != nil || c == utf8.RuneError && size == 1 {
			return false, err
		}
	}
}
