package commands

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"xm/userdb"
)

func passwordFileFlag() cli.Flag {
	return &cli.StringFlag{Name: "password-file", Usage: "read the password from the first line of `FILE`; - is standard input"}
}

const maxPassword = 4096

// secret is what can be asked for: its name, and the flag that gives it.
type secret struct {
	name, flag string
	// anywhere lets it be asked for where standard input is something else: the
	// message to encrypt, most often.
	anywhere bool
}

var (
	password   = secret{"password", "--password-file", false}
	passphrase = secret{"passphrase", "--passphrase-file", true}
)

// newPassword gets one from --password-file, or asks twice.
func newPassword(c *cli.Context, user userdb.Name) (string, error) {
	if file := c.String("password-file"); file != "" {
		return password.fromFile(c, file)
	}
	return password.askTwice(c, fmt.Sprintf("New password of %s: ", user))
}

// once gets a secret, and keeps it while the command runs: it may need it for two
// servers, or for several keys.
func once(c *cli.Context, what string, get func() (string, error)) (string, error) {
	if text, ok := c.App.Metadata[what].(string); ok {
		return text, nil
	}
	text, err := get()
	if err == nil {
		c.App.Metadata[what] = text
	}
	return text, err
}

// askTwice asks for a new secret.
func (s secret) askTwice(c *cli.Context, prompt string) (string, error) {
	text, err := s.ask(c, prompt)
	if err != nil {
		return "", err
	}
	again, err := s.ask(c, "The same again: ")
	if err != nil {
		return "", err
	}
	if again != text {
		return "", fmt.Errorf("the two %ss differ", s.name)
	}
	return text, nil
}

// fromFile reads the first line of a file, or of standard input.
func (s secret) fromFile(c *cli.Context, file string) (string, error) {
	in := c.App.Reader
	if file != stdio {
		f, err := await(c.Context, func() (*os.File, error) { return os.Open(file) })
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	text, err := bufio.NewReader(io.LimitReader(newInterruptible(c.Context, in), maxPassword+1)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", interrupted(c.Context, err)
	}
	text, err = s.fromLine(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return text, nil
}

// fromLine takes a secret from the line that it stands on.
func (s secret) fromLine(line string) (string, error) {
	text := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	switch {
	case text == "":
		return "", fmt.Errorf("there is no %s in the first line", s.name)
	case len(text) > maxPassword:
		return "", fmt.Errorf("the %s is over %d octets", s.name, maxPassword)
	case strings.ContainsAny(text, "\r\x00"):
		return "", fmt.Errorf("the %s holds a CR or NUL", s.name)
	}
	return text, nil
}

// ask prompts without echo.
func (s secret) ask(c *cli.Context, prompt string) (text string, err error) {
	in, done, err := s.terminal(c)
	if err != nil {
		return "", err
	}
	defer done()
	restore, err := silence(int(in.Fd()))
	if err != nil {
		return "", err
	}
	defer func() {
		fmt.Fprintln(c.App.ErrWriter)
		err = errors.Join(err, restore())
	}()
	fmt.Fprint(c.App.ErrWriter, prompt)
	line, err := typedLine(c, in)
	if err != nil {
		return "", err
	}
	return s.fromLine(line)
}

// terminal finds somebody to ask.
func (s secret) terminal(c *cli.Context) (in *os.File, done func(), err error) {
	if in, ok := asTerminal(c.App.Reader); ok {
		return in, func() {}, nil
	}
	if s.anywhere {
		if in, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
			return in, func() { in.Close() }, nil
		}
	}
	return nil, nil, usageErrorf("there is no terminal to ask for the %s on: use %s", s.name, s.flag)
}

// silence turns a terminal's echo off, before anything is asked: x/term does it
// only once it waits, and shows what is typed ahead.
func silence(fd int) (restore func() error, err error) {
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	silent := *before
	silent.Lflag &^= unix.ECHO
	silent.Lflag |= unix.ICANON | unix.ISIG
	silent.Iflag |= unix.ICRNL
	return func() error { return unix.IoctlSetTermios(fd, unix.TCSETS, before) },
		unix.IoctlSetTermios(fd, unix.TCSETS, &silent)
}
