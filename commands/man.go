package commands

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
)

func man() *cli.Command {
	names := append([]string{"xm", "xm.toml"}, topics()...)
	what := "xm(1) is about the commands, xm.toml(5) about the settings, and these about the rest:\n"
	for _, name := range topics() {
		text, _ := topic(name)
		what += fmt.Sprintf("\n   %-13s  %s", "xm-"+name+"(7)", about(text))
	}
	return &cli.Command{
		Name:        "man",
		Usage:       "print a page of the manual, for man: xm man xm | man -l -",
		ArgsUsage:   strings.Join(names, "|"),
		Description: what,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1); err != nil {
				return err
			}
			return writePage(c, strings.TrimPrefix(c.Args().First(), "xm-"))
		},
	}
}

func writePage(c *cli.Context, name string) error {
	switch text, ok := topic(name); {
	case name == "xm":
		return writeCommandsPage(c.App.Writer, c.App)
	case name == "xm.toml":
		return writeSettingsPage(c.App.Writer, c.App)
	case ok:
		return writeTopicPage(c.App.Writer, c.App, name, text)
	}
	return usageErrorf("the manual has no page %q: see xm man --help", c.Args().First())
}

// roff writes a page in the language of man(7).
type roff struct {
	strings.Builder
}

// text writes lines as they are.
func (r *roff) text(lines string) {
	for line := range strings.SplitSeq(lines, "\n") {
		fmt.Fprintln(r, escapeRoff(line))
	}
}

// description writes what --help says of a command. Lines that are indented there, such
// as commands, stand as they are: filled, they would be broken and have their blanks
// widened.
func (r *roff) description(text string) {
	asIs := false
	for line := range strings.SplitSeq(text, "\n") {
		if is := strings.HasPrefix(line, " "); is != asIs {
			fmt.Fprintln(r, map[bool]string{true: ".nf", false: ".fi"}[is])
			asIs = is
		}
		r.text(line)
	}
	if asIs {
		fmt.Fprintln(r, ".fi")
	}
}

func (r *roff) section(name, text string) {
	fmt.Fprintf(r, ".SH %s\n", escapeRoff(name))
	r.text(text)
}

// seeAlso names another page, and those of section 7.
func (r *roff) seeAlso(other string) {
	r.section("SEE ALSO", other+", xm-"+strings.Join(topics(), "(7), xm-")+"(7)")
}

// item writes what is explained, in bold, and the text about it.
func (r *roff) item(head, text string) {
	fmt.Fprintf(r, ".TP\n\\fB%s\\fR\n", escapeRoff(head))
	r.text(text)
}

// escapeRoff keeps a line from being read as a request, and its characters as
// they are typed.
func escapeRoff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `~`, `\(ti`, `^`, `\(ha`).Replace(line)
	if strings.HasPrefix(line, ".") {
		line = `\&` + line
	}
	return line
}

// writeCommandsPage writes xm(1): what --help says, of all commands.
func writeCommandsPage(w io.Writer, app *cli.App) error {
	var r roff
	fmt.Fprintf(&r, ".TH XM 1 \"\" \"xm %s\" \"User Commands\"\n", app.Version)
	r.section("NAME", app.Name+" - "+app.Usage)
	r.section("SYNOPSIS", "xm [OPTION]... COMMAND [OPTION]... [ARGUMENT]...")
	r.section("DESCRIPTION", app.Description)
	r.WriteString(".PP\n")
	r.text("Options may stand anywhere before \"--\".")
	r.section("OPTIONS", "These are for all commands.")
	r.flags(app.Flags)
	r.section("COMMANDS", "Each has --help.")
	r.commands(app.Name, app.Commands)
	r.section("FILES", "./xm.toml, then xm/xm.toml in the user's config directory, then /etc/xm/xm.toml, unless --config or XM_CONFIG names another: see xm.toml(5).")
	r.seeAlso("xm.toml(5)")
	_, err := io.WriteString(w, r.String())
	return err
}

func (r *roff) commands(path string, commands []*cli.Command) {
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		name := path + " " + c.Name
		if len(c.Subcommands) > 0 {
			fmt.Fprintf(r, ".SS %s\n", escapeRoff(name))
			r.description(sentence(c.Usage) + "\n" + c.Description)
			r.commands(name, c.Subcommands)
			continue
		}
		fmt.Fprintf(r, ".SS %s\n", escapeRoff(strings.TrimSpace(name+" "+c.ArgsUsage)))
		r.description(strings.TrimSpace(sentence(c.Usage) + "\n" + c.Description))
		r.flags(c.Flags)
	}
}

// sentence makes one of a usage line.
func sentence(usage string) string {
	return strings.ToUpper(usage[:1]) + usage[1:] + "."
}

func (r *roff) flags(flags []cli.Flag) {
	for _, f := range flags {
		doc, ok := f.(cli.DocGenerationFlag)
		if !ok || f.Names()[0] == "help" || f.Names()[0] == "version" {
			continue
		}
		head := flagName(f)
		usage := doc.GetUsage()
		if doc.TakesValue() {
			value := "VALUE"
			if before, rest, ok := strings.Cut(usage, "`"); ok {
				var after string
				value, after, _ = strings.Cut(rest, "`")
				usage = before + value + after
			}
			head += " " + value
			if text := strings.Trim(doc.GetDefaultText(), `"`); text != "" {
				usage += fmt.Sprintf(" (default: %s)", text)
			}
		}
		for _, v := range doc.GetEnvVars() {
			usage += " (" + v + ")"
		}
		r.item(head, usage)
	}
}

// flagName is how a flag is typed.
func flagName(f cli.Flag) string {
	if name := f.Names()[0]; len(name) > 1 {
		return "--" + name
	}
	return "-" + f.Names()[0]
}

// writeSettingsPage writes xm.toml(5): the reference, in the order in which it
// stands there.
func writeSettingsPage(w io.Writer, app *cli.App) error {
	var r roff
	fmt.Fprintf(&r, ".TH XM.TOML 5 \"\" \"xm %s\" \"File Formats\"\n", app.Version)
	r.section("NAME", "xm.toml - the settings of xm")
	r.section("DESCRIPTION", "The file is in TOML. \"xm init\" writes one, and \"xm config\" prints the settings in force, with their sources.")
	r.WriteString(".PP\n")
	table := ""
	for block := range strings.SplitSeq(config.Reference, "\n\n") {
		table = r.block(table, block)
	}
	r.seeAlso("xm(1)")
	_, err := io.WriteString(w, r.String())
	return err
}

// block writes lines of comment and the settings after them; it returns the
// table that it ends in.
func (r *roff) block(table, block string) string {
	var comment, settings []string
	for line := range strings.SplitSeq(strings.TrimSpace(block), "\n") {
		text, isText := strings.CutPrefix(line, "# ")
		name, isTable := strings.CutPrefix(strings.TrimPrefix(line, "#"), "[")
		switch {
		case isText && len(settings) > 0: // about the next settings
			r.settings(settings, comment)
			comment, settings = []string{text}, nil
		case isText:
			comment = append(comment, text)
		case isTable:
			table = strings.TrimSuffix(name, "]")
			fmt.Fprintf(r, ".SS [%s]\n", escapeRoff(table))
			r.text(strings.Join(comment, "\n"))
			comment = nil
		default:
			settings = append(settings, strings.TrimPrefix(line, "#"))
		}
	}
	r.settings(settings, comment)
	return table
}

func (r *roff) settings(settings, comment []string) {
	if len(settings) == 0 {
		r.text(strings.Join(comment, "\n"))
		return
	}
	for _, s := range settings[:len(settings)-1] {
		fmt.Fprintf(r, ".TP\n\\fB%s\\fR\n.PD 0\n", escapeRoff(s))
	}
	r.item(settings[len(settings)-1], strings.Join(comment, "\n"))
	r.WriteString(".PD\n")
}
