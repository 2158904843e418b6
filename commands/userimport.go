package commands

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/urfave/cli/v2"

	"xm/userdb"
)

func userImport() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "add the users in FILE: all of them, or none",
		ArgsUsage: "FILE",
		Description: "FILE holds lines of users.txt, of the original's userinfo (\"name password\") or of Dovecot's\n" +
			"passwd-file (\"name:{SCHEME}password\", the schemes PLAIN, SCRAM-SHA-256 and SSHA256); - is\n" +
			"standard input. Empty lines, and those that begin with #, are passed over. Passwords in\n" +
			"clear are hashed; whom Dovecot has as nologin is disabled. What is wrong is told for each\n" +
			"line.",
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "n", Usage: "only tell what would be done"}},
		Action: withUsers(1, 1, true, runUserImport),
	}
}

// imported is a line that is to become a user.
type imported struct {
	line  int
	entry userdb.Entry
	err   error
}

func runUserImport(o operator) error {
	data, err := readInput(o.c, o.c.Args().First())
	if err != nil {
		return err
	}
	all := parseImport(data)
	if err := hashAll(o.c.Context, all, o.cfg.Login.Iterations); err != nil {
		return err
	}
	dry := o.c.Bool("n")
	if err := o.addAll(all, dry); err != nil {
		return err
	}
	if wrong := tellWrong(o.c, all); wrong > 0 {
		return fmt.Errorf("%d of %d users can't be added; nothing was changed", wrong, len(all))
	}
	if dry {
		say(o.c, "%d users would be added", len(all))
	} else {
		say(o.c, "added %d users", len(all))
	}
	return nil
}

func parseImport(data []byte) []*imported {
	var all []*imported
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // as in users.txt itself
	for i, line := range bytes.Split(data, []byte("\n")) {
		e, ok, err := userdb.ParseEntry(string(line))
		if ok {
			all = append(all, &imported{i + 1, e, err})
		}
	}
	return all
}

// hashAll makes records of passwords in clear, on all processors.
func hashAll(ctx context.Context, all []*imported, iterations int) error {
	todo := make(chan *imported)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range todo {
				i.entry.Record, i.err = userdb.NewRecord(i.entry.Record.Name, i.entry.Password, iterations)
			}
		})
	}
	for _, i := range all {
		if i.err == nil && i.entry.Password != "" && ctx.Err() == nil {
			todo <- i
		}
	}
	close(todo)
	wg.Wait()
	return interrupted(ctx, ctx.Err())
}

// addAll adds the users, unless one of them is wrong, and notes what is wrong with
// each. If dry, it only does the latter.
func (o operator) addAll(all []*imported, dry bool) error {
	var good []*imported
	var entries []userdb.Entry
	for _, i := range all {
		if i.err == nil {
			good, entries = append(good, i), append(entries, i.entry)
		}
	}
	ctx, cancel := o.patience()
	defer cancel()
	refused, err := o.AddAll(ctx, entries, dry || len(good) < len(all))
	for n, err := range refused {
		good[n].err = err
	}
	return err
}

func tellWrong(c *cli.Context, all []*imported) (wrong int) {
	for _, i := range all {
		if i.err != nil {
			wrong++
			say(c, "line %d: %v", i.line, i.err)
		}
	}
	return wrong
}

func userExport() *cli.Command {
	return &cli.Command{
		Name:        "export",
		Usage:       "print the users, as lines of users.txt",
		Description: "Settings, former keys and invites are not among it, nor is the mail.",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "dovecot", Usage: "print lines of a passwd-file of Dovecot's, without public keys; disabled users are nologin"}},
		Action:      withUsers(0, 0, false, runUserExport),
	}
}

func runUserExport(o operator) error {
	records, broken := o.Users()
	if broken != nil && records == nil {
		return broken
	}
	out := bufio.NewWriter(o.c.App.Writer)
	for _, r := range records {
		line := r.String()
		if o.c.Bool("dovecot") {
			var err error
			if line, err = o.passwdLine(r); err != nil {
				return err
			}
		}
		fmt.Fprintln(out, line)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if broken != nil {
		return errors.Join(errors.New("not all is printed"), broken)
	}
	return nil
}

func (o operator) passwdLine(r userdb.Record) (string, error) {
	line, err := r.Passwd()
	if err != nil {
		return "", err
	}
	if set, err := o.Settings(r.Name); err != nil || set.Disabled {
		line += "::::::nologin"
	}
	return line, nil
}
