package commands

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"xm/internal/disk"
	"xm/internal/maildir"
	"xm/internal/safefile"
	"xm/userdb"
)

func fsck() *cli.Command {
	return &cli.Command{
		Name:  "fsck",
		Usage: "check users.txt and all maildrops",
		Description: "Prints what is wrong: broken lines of users.txt and users.settings, names that stand\n" +
			"there twice, messages that are no files, can't be read or have another size than their\n" +
			"names say, what broken deliveries and changes of files left, missing directories, what\n" +
			"others may read, and maildrops of nobody. Servers may be running.\n\n" +
			"With --repair, broken lines of users.txt go to " + userdb.BrokenLines + ", broken files to\n" +
			"NAME/.broken, or to .broken where they are nobody's; directories are made, and permissions\n" +
			"taken away. Nothing is deleted or overwritten. Lines of users.settings and maildrops of\n" +
			"nobody are left to you. Exit code: 0 if all is well, or is well now; 1 if not.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "repair", Usage: "set aside what is broken"},
			jsonFlag(),
		},
		Action: withUsers(0, 0, false, runFsck),
	}
}

func runFsck(o operator) error {
	c := o.c
	var problems []maildir.Problem
	store, err := openStore(o.cfg, o.DB, func(err error) {
		problems = append(problems, maildir.Problem{Path: maildir.JournalName, What: err.Error()})
	})
	if err != nil {
		return err
	}
	defer store.Close()

	users, maildrops, err := checkUsers(o)
	problems = append(problems, users...)
	for _, check := range []func() ([]maildir.Problem, error){
		func() ([]maildir.Problem, error) { return checkModes(o.cfg.DataDir, c.Bool("repair")) },
		func() ([]maildir.Problem, error) { return checkMaildrops(store, maildrops, c.Bool("repair")) },
		func() ([]maildir.Problem, error) { return checkLeftOvers(o.cfg.DataDir, c.Bool("repair")) },
	} {
		if err == nil {
			var more []maildir.Problem
			more, err = check()
			problems = append(problems, more...)
		}
	}
	if err != nil { // after what was found and done until then
		say(c, "%v", err)
	}
	if err := printProblems(c, problems); err != nil {
		return err
	}
	left := slices.DeleteFunc(problems, func(p maildir.Problem) bool { return p.Done != "" })
	switch {
	case err != nil:
		return errors.New("the check did not get to its end")
	case len(left) > 0:
		return fmt.Errorf("problems left: %d", len(left))
	}
	return nil
}

// checkUsers checks the users' files, and returns the names of all maildrops that are
// somebody's.
func checkUsers(o operator) (problems []maildir.Problem, maildrops map[string]bool, err error) {
	maildrops = map[string]bool{}
	broken, err := o.Check()
	if err != nil {
		return nil, nil, err
	}
	var failed error
	done := ""
	if o.c.Bool("repair") && len(broken) > 0 {
		ctx, cancel := o.patience()
		defer cancel()
		if moved, err := o.SetAside(ctx); err != nil {
			failed = err
		} else {
			broken, done = moved, "moved to "+userdb.BrokenLines
		}
	}
	for _, b := range broken {
		problems = append(problems, maildir.Problem{Path: "users.txt", What: fmt.Sprintf("line %d: %v", b.Number, b.Err), Done: done})
		if name, err := userdb.ParseName(b.Name); err == nil {
			maildrops[name.String()] = true // until somebody has looked at the line
		}
	}
	settings, err := o.CheckSettings()
	if err = errors.Join(failed, err); err != nil {
		return problems, nil, err
	}
	for _, err := range settings {
		problems = append(problems, maildir.Problem{Path: "users.settings", What: err.Error() + ": correct it with an editor"})
	}
	records, _ := o.Users() // its errors are the ones above
	for _, r := range records {
		dirs, err := o.Maildrops(r.Name)
		if err != nil {
			return problems, nil, err
		}
		for _, dir := range dirs {
			maildrops[dir] = true
		}
	}
	return problems, maildrops, nil
}

// secretFiles are the files of the data directory that hold records, keys, codes
// or mail. xm makes them their owner's alone; a copy may have lost that.
var secretFiles = []string{"users.txt", "users.settings", "users.former", "users.invites", userdb.BrokenLines, ".decoy.key", maildir.JournalName}

// checkModes finds those that others may read. A link leads elsewhere, which is not for
// root to change.
func checkModes(dataDir string, repair bool) (problems []maildir.Problem, err error) {
	root, err := os.OpenRoot(dataDir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for _, name := range secretFiles {
		st, err := root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return problems, err
		}
		perm := st.Mode().Perm()
		if perm&0o077 == 0 || !st.Mode().IsRegular() {
			continue
		}
		p := maildir.Problem{Path: name, What: fmt.Sprintf("others may use it: mode %#o", perm)}
		if repair {
			p.Mended(fmt.Sprintf("changed to mode %#o", perm&^0o077), root.Chmod(name, perm&^0o077))
		}
		problems = append(problems, p)
	}
	return problems, nil
}

// checkMaildrops checks those that are somebody's, and all others that are there.
func checkMaildrops(store *maildir.Store, owned map[string]bool, repair bool) (problems []maildir.Problem, err error) {
	there, unread, err := store.Maildrops()
	if err != nil {
		return nil, err
	}
	for _, p := range unread {
		if !owned[p.Path] { // else Check tells
			problems = append(problems, p)
		}
	}
	names := slices.AppendSeq(there, maps.Keys(owned))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !owned[name] {
			problems = append(problems, maildir.Problem{Path: name, What: "a maildrop of nobody in users.txt: add that user, or move it away"})
		}
		problems = append(problems, store.Check(name, repair)...)
	}
	return problems, nil
}

// leftOversAside is the directory of the data directory that they go to.
const leftOversAside = ".broken"

// checkLeftOvers finds the temporary files of changes that a crash broke off.
func checkLeftOvers(dataDir string, repair bool) (problems []maildir.Problem, err error) {
	root, err := disk.OpenDir(dataDir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	found, err := safefile.LeftOvers(root, ".")
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var moves []safefile.Move
	for _, l := range found {
		problems = append(problems, maildir.Problem{Path: l.Name, What: "a change of a file did not end: what was written is of " + l.Time.Format(time.DateTime)})
		moves = append(moves, safefile.Move{From: l.Name, To: safefile.Aside(l.Name, leftOversAside)})
	}
	if !repair {
		return problems, nil
	}
	if err := safefile.Mkdir(root, leftOversAside, 0o700); err != nil {
		return problems, err
	}
	safefile.MoveAll(root, moves)
	for i, m := range moves {
		problems[i].Mended(fmt.Sprintf("moved to %q", m.To), m.Err)
	}
	return problems, nil
}

func printProblems(c *cli.Context, problems []maildir.Problem) error {
	if c.Bool("json") {
		return printJSON(c, append([]maildir.Problem{}, problems...))
	}
	for _, p := range problems {
		if p.Done != "" {
			p.What += "; " + p.Done
		}
		if _, err := fmt.Fprintf(c.App.Writer, "%q: %s\n", p.Path, p.What); err != nil {
			return err
		}
	}
	return nil
}
