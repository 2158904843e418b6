package commands

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/trace"
)

func logCommand() *cli.Command {
	return &cli.Command{
		Name:  "log",
		Usage: "ask the log of the servers",
		Subcommands: []*cli.Command{{
			Name:      "trace",
			Usage:     "tell what became of a message",
			ArgsUsage: "QUEUE-ID|MESSAGE-ID [FILE]...",
			Description: "Tells the story of a message: who sent it from where, which recipients were refused, what\n" +
				"the reply was and which files it went to. QUEUE-ID is in the reply to the sender, in the\n" +
				"log (id=) and in Received; MESSAGE-ID may have its <>. Each FILE is a log of the servers,\n" +
				"as text or JSON, or packed by gzip; - is standard input, which takes as much room in\n" +
				"$TMPDIR. Without FILE it is the journal's, of the unit xm.\n\n" +
				"Each command of SMTP with its reply, and who fetched and deleted the message, is in the\n" +
				"log where its level was debug (log.level in the config).\n\n" +
				"   xm log trace 4f3a1c0d9e7b\n" +
				"   xm log trace '<x@example.org>' /var/log/xm.log /var/log/xm.log.*.gz\n" +
				"   ssh mail journalctl -u xm -o cat | xm log trace x@example.org -\n\n" +
				"Failed logins and abuse have lines of their own, which do not change, and in which nothing\n" +
				"that a client can choose stands before its address: service, session and peer come first.\n" +
				"scripts/fail2ban has the filter for fail2ban.\n\n" +
				"   level=WARN msg=\"login failed\" service=S session=X peer=ADDRESS ... user=NAME ...\n" +
				"   level=WARN msg=abuse service=S session=X peer=ADDRESS ... reason=TEXT",
			Flags:  []cli.Flag{jsonFlag()},
			Action: runTrace,
		}},
	}
}

func runTrace(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	message := c.Args().First()
	if strings.Trim(message, "<>") == "" {
		return usageErrorf("%q is no message", message)
	}
	log, done, err := openLog(c, c.Args().Tail())
	if err != nil {
		return err
	}
	defer done()
	stories, err := trace.Find(c.Context, log, message)
	if err != nil && (len(stories) == 0 || c.Context.Err() != nil) {
		return interrupted(c.Context, err)
	}
	if len(stories) == 0 {
		return fmt.Errorf("%w: the log does not tell of %s", errNotFound, message)
	}
	return errors.Join(printStories(c, stories), err)
}

// openLog opens the parts of the log.
func openLog(c *cli.Context, files []string) (log []trace.Source, done func(), err error) {
	if len(files) == 0 {
		journal, err := journalSource(c)
		return []trace.Source{journal}, func() {}, err
	}
	spool, free := newSpool()
	ends := []func(){free}
	done = func() {
		for _, end := range ends {
			end()
		}
	}
	for _, name := range files {
		in, err := openInput(c, name)
		if err != nil {
			done()
			return nil, nil, err
		}
		ends = append(ends, func() { in.close() })
		file, ok := in.Reader.(io.ReadSeeker)
		if !ok { // it is read twice
			if file, err = spooled(spool, in); err != nil {
				done()
				return nil, nil, err
			}
		}
		log = append(log, trace.Source{Name: name, Open: func() (io.ReadCloser, error) {
			_, err := file.Seek(0, io.SeekStart)
			return io.NopCloser(file), err
		}})
	}
	return log, done, nil
}

func spooled(spool hybrid.Spool, in io.Reader) (io.ReadSeeker, error) {
	file, err := spool()
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(file, in)
	return file, err
}

// journalSource asks systemd's journal.
func journalSource(c *cli.Context) (trace.Source, error) {
	path, err := exec.LookPath("journalctl")
	if err != nil {
		return trace.Source{}, usageErrorf("there is no journal here: name the file of the log, or - for standard input")
	}
	return trace.Source{Name: "journalctl", Open: func() (io.ReadCloser, error) {
		cmd := exec.CommandContext(c.Context, path, "--unit", "xm", "--output", "cat", "--no-pager", "--quiet")
		cmd.Stderr = c.App.ErrWriter
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		return journal{out, cmd}, cmd.Start()
	}}, nil
}

// journal is the output of a journalctl.
type journal struct {
	io.ReadCloser
	cmd *exec.Cmd
}

func (j journal) Close() error {
	j.ReadCloser.Close() // so that it does not wait for us
	return j.cmd.Wait()
}
