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
	"golang.org/x/term"
)

func passwordFileFlag() cli.Flag {
	return &cli.StringFlag{Name: "password-file", Usage: "read the password from the first line of `FILE`; - is standard input"}
}

const maxPassword = 4096

// readPassword gets the password from a file, or by asking on the terminal:
// twice if it is a new one.
func readPassword(c *cli.Context, file, prompt string, isNew bool) (string, error) {
	if file != "" {
		return passwordFromFile(c, file)
	}
	password, err := ask(c, prompt)
	if err != nil || !isNew {
		return password, err
	}
	again, err := ask(c, "The same again: ")
	if err != nil {
		return "", err
	}
	if again != password {
		return "", errors.New("the two passwords differ")
	}
	return password, nil
}

func passwordFromFile(c *cli.Context, file string) (string, error) {
	in := c.App.Reader
	if file != stdio {
		f, err := os.Open(file)
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
	password, err := checkPassword(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return password, nil
}

// checkPassword takes a password from the line that it stands on.
func checkPassword(line string) (string, error) {
	password := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	switch {
	case password == "":
		return "", errors.New("there is no password in the first line")
	case len(line) > maxPassword:
		return "", fmt.Errorf("the password is over %d octets", maxPassword)
	case strings.ContainsAny(password, "\r\x00"):
		return "", errors.New("the password holds a CR or NUL")
	}
	return password, nil
}

// ask prompts without echo.
func ask(c *cli.Context, prompt string) (password string, err error) {
	in, ok := c.App.Reader.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", usageErrorf("there is no terminal to ask for the password on: use --password-file")
	}
	restore, err := silence(int(in.Fd()))
	if err != nil {
		return "", err
	}
	defer func() {
		fmt.Fprintln(c.App.ErrWriter)
		err = errors.Join(err, restore())
	}()
	fmt.Fprint(c.App.ErrWriter, prompt)
	// A terminal gives a line with one read, and keeps what was typed after it.
	line := make([]byte, maxPassword+1)
	n, err := newInterruptible(c.Context, in).Read(line)
	if err != nil && err != io.EOF {
		return "", interrupted(c.Context, err)
	}
	return checkPassword(string(line[:n]))
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
