package commands

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/urfave/cli/v2"

	"xm/internal/mailclient"
)

func watch() *cli.Command {
	return &cli.Command{
		Name:  "watch",
		Usage: "print a line, or run a command, for each new message",
		Description: "Looks for new mail until it is interrupted. A line is the row that xm inbox would print.\n" +
			"A command is run by sh with XM_ID, XM_FROM, XM_SUBJECT and XM_TRUST in its environment:\n" +
			"what came from outside in them is for quoting, as in\n\n" +
			"   xm watch --exec 'notify-send \"$XM_FROM\" \"$XM_SUBJECT\"'",
		Flags: accountFlags(passphraseFlag(),
			&cli.DurationFlag{Name: "interval", Usage: "look every `TIME`", Value: time.Minute},
			&cli.StringFlag{Name: "exec", Usage: "run `COMMAND`"},
			&cli.BoolFlag{Name: "all", Usage: "begin with what is there already"},
		),
		Action: runWatch,
	}
}

func runWatch(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	if c.Duration("interval") <= 0 {
		return usageErrorf("--interval takes a time, such as 30s")
	}
	a, err := loadAccount(c)
	if err != nil {
		return err
	}
	if a.Account.Password, err = a.password(c); err != nil { // asked for once
		return err
	}
	a.PasswordFile, a.PasswordCommand = "", ""
	w := watcher{c: c, account: a, quiet: !c.Bool("all")}
	for {
		err := w.look()
		switch {
		case c.Context.Err() != nil:
			return errInterrupted
		case errors.Is(err, mailclient.ErrLogin), errors.Is(err, errNoIDs):
			return err
		case err != nil: // a network may come back
			say(c, "%s", err)
		}
		select {
		case <-c.Context.Done():
			return errInterrupted
		case <-time.After(c.Duration("interval")):
		}
	}
}

var errNoIDs = errors.New("the server gives messages no ids (UIDL): what is new can't be told")

// watcher knows what it has seen.
type watcher struct {
	c       *cli.Context
	account account
	seen    map[string]bool // nil before the first look
	quiet   bool            // what the first look finds is not new
}

func (w *watcher) look() error {
	first := w.seen == nil
	var fresh []listedMessage
	seen := map[string]bool{}
	err := withMaildrop(w.c, w.account, func(p *mailclient.POP3) error {
		list, err := p.List()
		if err != nil {
			return err
		}
		var wanted []mailclient.Listing
		for _, l := range list {
			if l.UID == "" {
				return errNoIDs
			}
			seen[l.UID] = true
			if !w.seen[l.UID] && !(first && w.quiet) {
				wanted = append(wanted, l)
			}
		}
		fresh, err = describeAll(w.c, w.account, p, wanted)
		return err
	})
	if err != nil {
		return err
	}
	if w.seen = seen; first {
		say(w.c, "watching; there are %d messages", len(seen))
	}
	for _, m := range fresh {
		if err := w.tell(m); err != nil {
			return err
		}
	}
	return nil
}

func (w *watcher) tell(m listedMessage) error {
	command := w.c.String("exec")
	if command == "" {
		return printInbox(w.c, []listedMessage{m})
	}
	cmd := exec.CommandContext(w.c.Context, "sh", "-c", command)
	cmd.Stdout, cmd.Stderr = w.c.App.Writer, w.c.App.ErrWriter
	cmd.Env = append(os.Environ(), "XM_ID="+m.ID, "XM_FROM="+mailclient.Printable(m.Address),
		"XM_SUBJECT="+mailclient.Printable(m.Subject), "XM_TRUST="+string(m.Trust))
	if err := cmd.Run(); err != nil {
		say(w.c, "%s", fmt.Errorf("the command for message %s: %w", m.ID, err))
	}
	return nil
}
