package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "look for what is wrong with a server, and say how to mend it",
		Description: "It looks at settings, files, permissions, users, disk, clock and certificate, and talks\n" +
			"to each service. The exit code is 1 if there is a problem; warnings are none. Run it as\n" +
			"the user that the server runs as.",
		Flags: []cli.Flag{
			jsonFlag(),
			&cli.BoolFlag{Name: "dns", Usage: "print the DNS records that the server needs, as lines of a zone file, and look at nothing"},
		},
		Action: runDoctor,
	}
}

// The levels of a finding.
const (
	levelOK      = "ok"
	levelWarning = "warning"
	levelProblem = "problem"
)

// finding is what doctor says about one thing.
type finding struct {
	Level string `json:"level"`
	About string `json:"about"`
	Text  string `json:"text"`
	Mend  string `json:"mend,omitempty"`
}

type doctor struct {
	ctx      context.Context
	cfg      config.Config
	findings []finding
}

func (d *doctor) say(level, about, mend, format string, args ...any) {
	d.findings = append(d.findings, finding{level, about, fmt.Sprintf(format, args...), mend})
}

func runDoctor(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return err // it says which line, and how to mend it
	}
	if c.Bool("dns") {
		return printRecords(c, cfg)
	}
	d := &doctor{ctx: c.Context, cfg: cfg}
	d.settings()
	if d.dataDir() {
		d.host(c)
	}
	d.keys()
	d.clock()
	d.listeners()
	if err := d.print(c); err != nil {
		return err
	}
	for _, f := range d.findings {
		if f.Level == levelProblem {
			return errors.New("there is a problem")
		}
	}
	return nil
}

func (d *doctor) print(c *cli.Context) error {
	if c.Bool("json") {
		return printJSON(c, d.findings)
	}
	var b strings.Builder
	for _, f := range d.findings {
		fmt.Fprintf(&b, "%-8s %s: %s\n", f.Level, f.About, f.Text)
		if f.Mend != "" {
			fmt.Fprintf(&b, "%-8s %s\n", "", f.Mend)
		}
	}
	_, err := fmt.Fprint(c.App.Writer, b.String())
	return err
}

// host opens what the servers open, and takes what they would log for findings.
func (d *doctor) host(c *cli.Context) {
	before := len(d.findings)
	h, err := openHost(c, d.cfg, slog.New(collector{d, ""}), nil)
	if err != nil {
		d.say(levelProblem, "host", "", "the servers can't start: %v", err)
		return
	}
	defer h.close()
	if d.cfg.TLS.ACME {
		d.obtained()
	} else if h.cert != nil {
		d.say(levelOK, "certificate", "", "%s, until %s", d.cfg.TLS.Cert, h.cert.Leaf().NotAfter.Format(time.DateOnly))
		d.trust(h.cert.Leaf())
	}
	d.maildrops(h)
	if len(d.findings) == before+1 {
		d.say(levelOK, "users", "", "nothing is wrong with users.txt, the aliases and the quotas")
	}
}

// collector makes findings of what is logged.
type collector struct {
	d     *doctor
	attrs string
}

// Enabled is slog.Handler's.
func (l collector) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle is slog.Handler's.
func (l collector) Handle(_ context.Context, r slog.Record) error {
	text := r.Message + l.attrs
	r.Attrs(func(a slog.Attr) bool { text += ": " + a.Value.String(); return true })
	level := levelWarning
	if r.Level >= slog.LevelError {
		level = levelProblem
	}
	l.d.say(level, "host", "", "%s", text)
	return nil
}

// WithAttrs is slog.Handler's.
func (l collector) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		l.attrs += ": " + a.Value.String()
	}
	return l
}

// WithGroup is slog.Handler's.
func (l collector) WithGroup(string) slog.Handler { return l }
