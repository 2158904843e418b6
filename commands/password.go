package commands

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
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
	text, err := bufio.NewReader(io.LimitReader(interruptible{c.Context, in}, maxPassword)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", interrupted(c.Context, err)
	}
	password := strings.TrimRight(text, "\r\n")
	if password == "" {
		return "", fmt.Errorf("%s: the first line holds no password", file)
	}
	return password, nil
}

// ask prompts without echo. An interruption gives the terminal its echo back.
func ask(c *cli.Context, prompt string) (string, error) {
	in, ok := c.App.Reader.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", usageErrorf("there is no terminal to ask for the password on: use --password-file")
	}
	before, err := term.GetState(int(in.Fd()))
	if err != nil {
		return "", err
	}
	fmt.Fprint(c.App.ErrWriter, prompt)
	defer fmt.Fprintln(c.App.ErrWriter)
	type result struct {
		password []byte
		err      error
	}
	done := make(chan result, 1)
	go func() {
		p, err := term.ReadPassword(int(in.Fd()))
		done <- result{p, err}
	}()
	select {
	case <-c.Context.Done():
		return "", errors.Join(errors.New("interrupted"), term.Restore(int(in.Fd()), before))
	case r := <-done:
		return string(r.password), r.err
	}
}
