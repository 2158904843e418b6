package commands

import (
	"errors"
	"fmt"
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
		Description: "Prints what is wrong: broken lines of users.txt, names that stand there twice, messages\n" +
			"that are no files, can't be read or have another size than their names say, what\n" +
			"broken deliveries and changes of files left, missing directories, what others may read,\n" +
			"and maildrops of nobody. Servers may be running.\n\n" +
			"With --repair, broken lines go to " + userdb.BrokenLines + " and broken files to NAME/.broken,\n" +
			"or .broken where they are nobody's; directories are made and permissions taken away. Nothing is deleted, and a maildrop of\n" +
			"nobody is left to you. Exit code: 0 if all is well, or is well now; 1 if not.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "repair", Usage: "set aside what is broken"},
			jsonFlag(),
		},
		Action: withUsers(0, 0, false, runFsck),
	}
}

func runFsck(o operator) error {
	c := o.c
	store, err := openStore(o.cfg, o.DB, warn(o.c))
	if err != nil {
		return err
	}
	defer store.Close()

	problems, owned, err := checkUsers(o)
	if err != nil {
		return err
	}
	more, err := checkMaildrops(store, owned, c.Bool("repair"))
	problems = append(problems, more...)
	if err == nil {
		more, err = checkLeftOvers(o.cfg.DataDir, c.Bool("repair"))
		problems = append(problems, more...)
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

// checkUsers checks users.txt, and returns the maildrops that are somebody's.
func checkUsers(o operator) (problems []maildir.Problem, owned map[string]bool, err error) {
	broken, err := o.Check()
	if err != nil {
		return nil, nil, err
	}
	done := ""
	if o.c.Bool("repair") && len(broken) > 0 {
		ctx, cancel := o.patience()
		defer cancel()
		if broken, err = o.SetAside(ctx); err != nil {
			return nil, nil, err
		}
		done = "moved to " + userdb.BrokenLines
	}
	owned = map[string]bool{}
	for _, b := range broken {
		problems = append(problems, maildir.Problem{Path: "users.txt", What: fmt.Sprintf("line %d: %v", b.Number, b.Err), Done: done})
		owned[b.Name] = true // until somebody has looked at the line
	}
	records, _ := o.Users() // its errors are the broken lines
	for _, r := range records {
		dirs, err := o.Maildrops(r.Name)
		if err != nil {
			return nil, nil, err
		}
		for _, dir := range dirs {
			owned[dir] = true
		}
	}
	return problems, owned, nil
}

func checkMaildrops(store *maildir.Store, owned map[string]bool, repair bool) (problems []maildir.Problem, err error) {
	there, err := store.Maildrops()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(slices.Values(there)) {
		if !owned[name] {
			problems = append(problems, maildir.Problem{Path: name, What: "a maildrop of nobody in users.txt"})
		}
		found, err := store.Check(name, repair)
		problems = append(problems, found...)
		if err != nil {
			return problems, err
		}
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
	if err != nil {
		return nil, err
	}
	for _, l := range found {
		p := maildir.Problem{Path: l.Name, What: "a change of a file did not end: what was written is of " + l.Time.Format(time.DateTime)}
		if repair {
			to, err := safefile.SetAside(root, ".", l.Name, leftOversAside)
			if err != nil {
				return problems, err
			}
			p.Done = "moved to " + to
		}
		problems = append(problems, p)
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
