package commands

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
)

// pagesOf returns the README and the pages of section 7, by name.
func pagesOf(t *testing.T) map[string]string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{"README": string(readme)}
	for _, name := range topics() {
		pages[name], _ = topic(name)
	}
	return pages
}

var (
	// A command stands in an indented line, at its beginning or behind a prompt or a pipe,
	// or in quotation marks.
	commandLine = regexp.MustCompile("(?m)(?:^    (?:.*[|$#] )?|[\"`])(xm [-a-z][^|;\"`\n]*)")
	optionWord  = regexp.MustCompile(`^--?[a-z][-a-z]*$`)
	anyOption   = regexp.MustCompile(`--[a-z][-a-z]+`)
	settingWord = regexp.MustCompile(`\b[a-z]+(?:_[a-z]+)+\b`)
	settings    = regexp.MustCompile(`(?m)(?:^    (?:\[[a-z0-9]+\]|[a-z_]+ += .*)\n)+`)
	reference   = regexp.MustCompile(`\b(xm[-.a-z0-9]*)\((\d)\)`)
)

// Every command and option that a page names exists.
func TestPagesNameCommands(t *testing.T) {
	app := New()
	options := []string{"--help", "--sign", "--encrypt", "--now", "--tls", "--auth", "--au", "--from"} // of all, and of other programs
	for _, w := range completions(app) {
		options = append(options, w.text)
	}
	found := 0
	for name, text := range pagesOf(t) {
		for _, m := range commandLine.FindAllStringSubmatch(text, -1) {
			checkCommand(t, name, app, m[1])
			found++
		}
		for _, option := range anyOption.FindAllString(text, -1) {
			if !slices.Contains(options, option) {
				t.Errorf("%s: no command has %s", name, option)
			}
		}
	}
	if found < 100 {
		t.Errorf("the pages have %d commands", found)
	}
}

// checkCommand wants the words after xm to be commands, as far as there are any, and
// the options to be theirs.
func checkCommand(t *testing.T, page string, app *cli.App, line string) {
	words, flags, commands := strings.Fields(line)[1:], app.Flags, app.Commands
	named := false
	for i := 0; i < len(words); i++ {
		at := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.Name == words[i] })
		switch {
		case at >= 0:
			flags, named = append(slices.Clip(flags), commands[at].Flags...), true
			if commands[at].SkipFlagParsing {
				return
			}
			commands = commands[at].Subcommands
		case optionWord.MatchString(words[i]):
			name := strings.TrimLeft(words[i], "-")
			f := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
			if f < 0 && name != "help" && name != "version" {
				t.Errorf("%s: %q: there is no %s", page, line, words[i])
			}
			if f >= 0 && !named && flags[f].(cli.DocGenerationFlag).TakesValue() {
				i++
			}
		case !named || len(commands) > 0:
			t.Errorf("%s: %q: there is no command %s", page, line, words[i])
			return
		}
	}
}

// Every setting that a page names exists, and what it shows of xm.toml can be read.
func TestPagesNameSettings(t *testing.T) {
	shown := 0
	for name, text := range pagesOf(t) {
		for _, word := range settingWord.FindAllString(text, -1) {
			others := word == "pop3_lock_session" || word == "smtp_authenticators" // Dovecot's, mutt's
			if !others && !strings.Contains(config.Reference, "#"+word+" =") {
				t.Errorf("%s: there is no setting %s", name, word)
			}
		}
		for _, block := range settings.FindAllString(text, -1) {
			shown++
			if err := config.Check(block); err != nil {
				t.Errorf("%s: %v in\n%s", name, err, block)
			}
		}
	}
	if shown < 4 {
		t.Errorf("the pages show %d times what can stand in xm.toml", shown)
	}
}

// Every page that another one, or xm(1) or xm.toml(5), sends its readers to exists, and
// each is named in the README.
func TestPagesNameEachOther(t *testing.T) {
	pages := pagesOf(t)
	for _, name := range []string{"xm", "xm.toml"} {
		var b strings.Builder
		app := New()
		app.Writer = &b
		if err := writePage(cli.NewContext(app, nil, nil), name); err != nil {
			t.Fatal(err)
		}
		pages[name] = strings.ReplaceAll(b.String(), `\-`, "-")
	}
	named := map[string]bool{}
	for page, text := range pages {
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			name, section := strings.TrimPrefix(m[1], "xm-"), m[2]
			want := map[string]string{"xm": "1", "xm.toml": "5"}[name]
			if _, ok := topic(name); ok {
				want = "7"
			}
			if section != want {
				t.Errorf("%s: there is no page %s", page, m[0])
			}
			named[name] = named[name] || page == "README"
		}
	}
	for page := range pages {
		if page != "README" && !named[page] {
			t.Errorf("the README does not name the page %s", page)
		}
	}
}
