package commands

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

func client() *cli.Command {
	return &cli.Command{
		Name:  "client",
		Usage: "a menu: register, send mail, check mail",
		Description: "The original's menu. Each step is a command of xm: what it asks for is what that command\n" +
			"takes. Answers may come from standard input, a line each; a message ends with a line that\n" +
			"holds a dot alone.",
		Flags:  accountFlags(passphraseFlag()),
		Action: runClient,
	}
}

const menu = `
1. Register
2. Log in / send mail
3. Check mail
4. Exit
`

// menuClient is the menu at work.
type menuClient struct {
	c     *cli.Context
	in    *bufio.Reader
	flags []string // the account, for each command
	user  string
}

func runClient(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	m := &menuClient{c: c, in: bufio.NewReader(newInterruptible(c.Context, oneByOneReader{c.App.Reader}))}
	for _, name := range []string{"account", "user", "password-file", "smtp", "pop3", "tls-fingerprint", "passphrase-file"} {
		if c.IsSet(name) {
			m.flags = append(m.flags, "--"+name, c.String(name))
		}
	}
	var last error
	for {
		fmt.Fprint(c.App.Writer, menu)
		choice, err := m.ask("Your choice: ")
		if err == io.EOF {
			return last
		}
		if err != nil {
			return err
		}
		step, known := map[string]func() error{"1": m.register, "2": m.send, "3": m.check}[choice]
		if choice == "4" {
			return last
		}
		if !known {
			fmt.Fprintln(c.App.Writer, "1, 2, 3 or 4, please.")
			continue
		}
		last = step()
		if errors.Is(last, errInterrupted) {
			return last
		}
		if last != nil {
			say(c, "%v", last)
		}
	}
}

// oneByOneReader reads no more than is asked for, so that a command that reads
// the terminal finds what follows.
type oneByOneReader struct{ r io.Reader }

func (o oneByOneReader) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

// ask reads an answer. io.EOF says that there are no more.
func (m *menuClient) ask(prompt string) (string, error) {
	fmt.Fprint(m.c.App.Writer, prompt)
	line, err := m.in.ReadString('\n')
	if err == io.EOF && line != "" {
		err = nil
	}
	return strings.TrimSpace(line), err
}

// run runs a command of xm. in is its standard input.
func (m *menuClient) run(in io.Reader, command string, args ...string) error {
	app := New()
	app.Reader, app.Writer, app.ErrWriter = in, m.c.App.Writer, m.c.App.ErrWriter
	words := []string{"xm"}
	for _, name := range []string{"config", "data", "keys"} {
		if m.c.IsSet(name) {
			words = append(words, "--"+name, m.c.String(name))
		}
	}
	words = append(append(words, command), args...)
	return Run(m.c.Context, app, words)
}

// mail runs a command with the account.
func (m *menuClient) mail(in io.Reader, command string, args ...string) error {
	return m.run(in, command, append(append([]string{}, m.flags...), args...)...)
}

func (m *menuClient) register() error {
	name, err := m.ask("The name that you want: ")
	if err != nil {
		return err
	}
	server, err := m.ask("The registration server: ")
	if err != nil {
		return err
	}
	in, args, err := m.password("--server", server, name)
	if err != nil {
		return err
	}
	return m.run(in, "register", args...)
}

// password makes a command ask for a password on a terminal, or takes it from
// the next line.
func (m *menuClient) password(args ...string) (io.Reader, []string, error) {
	if f, ok := asTerminal(m.c.App.Reader); ok {
		return f, args, nil
	}
	text, err := m.ask("Password: ")
	return strings.NewReader(text + "\n"), append(args, "--password-file", stdio), err
}

// login asks who is there, where nobody has said so.
func (m *menuClient) login() error {
	if m.user != "" {
		return nil
	}
	if a, err := loadAccount(m.c); err == nil {
		m.user = a.User
		return nil
	}
	user, err := m.ask("Your name on the server: ")
	if err != nil {
		return err
	}
	server, err := m.ask("The server (empty for this machine): ")
	if err != nil {
		return err
	}
	args := []string{user}
	if server != "" {
		args = append(args, "--server", server)
	}
	in, args, err := m.password(args...)
	if err != nil {
		return err
	}
	if err := m.run(in, "login", args...); err != nil {
		return err
	}
	m.user = user
	return nil
}

func (m *menuClient) send() error {
	if err := m.login(); err != nil {
		return err
	}
	to, err := m.ask("To: ")
	if err != nil || to == "" {
		return err
	}
	subject, err := m.ask("Subject: ")
	if err != nil {
		return err
	}
	fmt.Fprintln(m.c.App.Writer, "The message; a line with a dot alone ends it:")
	var text strings.Builder
	for {
		line, err := m.in.ReadString('\n')
		if err != nil && err != io.EOF {
			return err
		}
		if strings.TrimRight(line, "\r\n") == "." {
			break
		}
		text.WriteString(line)
		if err == io.EOF {
			break
		}
	}
	return m.mail(m.c.App.Reader, "send", "-s", subject, to, "--", text.String())
}

func (m *menuClient) check() error {
	if err := m.login(); err != nil {
		return err
	}
	if err := m.mail(m.c.App.Reader, "inbox"); err != nil {
		return err
	}
	for {
		number, err := m.ask("Read message (empty to go back): ")
		if err != nil || number == "" {
			if err == io.EOF {
				err = nil
			}
			return err
		}
		if err := m.mail(m.c.App.Reader, "read", number); err != nil {
			say(m.c, "%v", err)
		}
	}
}
