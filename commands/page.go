package commands

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/internal/mailclient"
	"xm/internal/message"
)

// page is text that is to be shown to a person. Nothing in it can command a
// terminal, wherever it goes.
type page struct {
	c              *cli.Context
	text           bytes.Buffer
	columns, lines int // of the terminal; 0 if there is none
}

func newPage(c *cli.Context) *page {
	p := &page{c: c}
	p.columns, p.lines = screenSize(c)
	return p
}

// line adds a line of xm's own.
func (p *page) line(text string) { p.text.WriteString(mailclient.Printable(text) + "\n") }

// header adds what a message says of itself.
func (p *page) header(h message.Header) {
	for _, field := range []struct {
		name string
		list []message.Address
	}{{"From", h.From}, {"Reply-To", h.ReplyTo}, {"To", h.To}, {"Cc", h.Cc}} {
		var all []string
		for _, a := range field.list {
			all = append(all, mailclient.Printable(a.String())) // a line end would begin another field
		}
		if len(all) > 0 {
			p.outside(field.name + ": " + strings.Join(all, ", ") + "\n")
		}
	}
	if !h.Date.IsZero() {
		p.outside("Date: " + h.Date.Format("Mon, 2 Jan 2006 15:04:05 -0700") + "\n")
	}
	p.outside("Subject: " + mailclient.Printable(h.Subject) + "\n\n")
}

// outside adds text from outside, such as that of a message. On a terminal, each of its
// lines is marked as such.
func (p *page) outside(text string) {
	w := mailclient.NewTerminalWriter(&p.text) // a buffer: nothing can fail
	for line := range strings.Lines(text) {
		if p.columns > 0 {
			fmt.Fprint(w, "| ")
		}
		fmt.Fprint(w, line)
	}
	_ = w.Close()
	if text != "" && !strings.HasSuffix(text, "\n") {
		p.text.WriteString("\n")
	}
}

// show prints the page, through a pager where a terminal is too small for it.
func (p *page) show() error {
	if p.lines > 0 && bytes.Count(p.text.Bytes(), []byte("\n")) >= p.lines {
		return p.throughPager()
	}
	_, err := p.text.WriteTo(p.c.App.Writer)
	return err
}

func (p *page) throughPager() error {
	pager := os.Getenv("PAGER")
	if pager == "" {
		pager = "less"
	}
	cmd := exec.CommandContext(p.c.Context, "sh", "-c", pager)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(p.text.Bytes()), p.c.App.Writer, p.c.App.ErrWriter
	cmd.Env = append(os.Environ(), "LESSSECURE=1") // no commands from within it
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 127 { // there is no such program
		_, err = p.text.WriteTo(p.c.App.Writer)
	}
	return interrupted(p.c.Context, err)
}

// showRaw prints octets as they are; on a terminal, what could command it is made
// harmless, and each line is marked as the message's.
func showRaw(c *cli.Context, content io.Reader) error {
	if screenWidth(c) == 0 {
		_, err := io.Copy(c.App.Writer, content)
		return err
	}
	w := mailclient.NewTerminalWriter(&marker{w: c.App.Writer})
	_, err := io.Copy(w, content)
	return errors.Join(err, w.Close())
}

// marker puts "| " before each line.
type marker struct {
	w      io.Writer
	inLine bool
}

func (m *marker) Write(p []byte) (int, error) {
	var out bytes.Buffer
	for line := range bytes.Lines(p) {
		if !m.inLine {
			out.WriteString("| ")
		}
		out.Write(line)
		m.inLine = line[len(line)-1] != '\n'
	}
	if _, err := out.WriteTo(m.w); err != nil {
		return 0, err
	}
	return len(p), nil
}
