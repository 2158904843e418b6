package commands

import (
	"os"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// Every command and every option is in the manual and in the completions.
func TestManualIsComplete(t *testing.T) {
	app := New()
	var page strings.Builder
	if err := writeCommandsPage(&page, app); err != nil {
		t.Fatal(err)
	}
	words := completions(app)
	var walk func(path string, commands []*cli.Command)
	walk = func(path string, commands []*cli.Command) {
		for _, c := range commands {
			name := path + " " + c.Name
			if !strings.Contains(page.String(), ".SS "+escapeRoff("xm"+name)) {
				t.Errorf("the manual lacks xm%s", name)
			}
			for _, f := range c.Flags {
				if !strings.Contains(page.String(), `\fB`+escapeRoff(flagName(f))) {
					t.Errorf("the manual lacks %s of xm%s", flagName(f), name)
				}
				found := false
				for _, w := range words {
					found = found || w.path == name && w.text == flagName(f)
				}
				if !found {
					t.Errorf("the completions lack %s of xm%s", flagName(f), name)
				}
			}
			walk(name, c.Subcommands)
		}
	}
	walk("", app.Commands)
}

// The manual tells the same defaults as --help.
func TestManualHasDefaults(t *testing.T) {
	app := New()
	var page strings.Builder
	if err := writeCommandsPage(&page, app); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"the keys are in DIR (default: .) (XM_KEYS)\n", "look every TIME (default: 1m0s)\n", "as 12h or 7d (default: 7d)\n",
		"0 is now (default: never)\n", "4096 BITS (default: 2048)\n", "read the payload from FILE; - is standard input (default: enc)\n",
	} {
		if !strings.Contains(strings.ReplaceAll(page.String(), `\-`, "-"), want) {
			t.Errorf("the manual lacks %q", want)
		}
	}
}

// What is indented in a description, such as a command to type, is not filled.
func TestManualKeepsLines(t *testing.T) {
	app := New()
	var page strings.Builder
	if err := writeCommandsPage(&page, app); err != nil {
		t.Fatal(err)
	}
	asIs, found := false, 0
	for line := range strings.Lines(page.String()) {
		switch {
		case line == ".nf\n" || line == ".fi\n":
			asIs = line == ".nf\n"
		case strings.HasPrefix(line, " ") != asIs:
			t.Errorf("filled: %v, %q", !asIs, line)
		case asIs:
			found++
		}
	}
	if found < 20 {
		t.Errorf("the page has %d lines that are indented", found)
	}
}

// The program says the version of the newest changes.
func TestVersion(t *testing.T) {
	changes, err := os.ReadFile("../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(changes), "# Changes\n\n## "+version+",") {
		t.Errorf("the version is %s, and CHANGELOG.md begins with another", version)
	}
}
