package commands

import (
	"slices"
	"strings"
	"testing"
)

func TestPermute(t *testing.T) {
	app := New()
	app.Setup()
	for in, want := range map[string]string{
		"xm":                             "xm",
		"xm encrypt bob hello":           "xm encrypt -- bob hello",
		"xm encrypt bob -o - hello":      "xm encrypt -o - -- bob hello",
		"xm encrypt bob -o=x --keys k":   "xm --keys k encrypt -o=x -- bob",
		"xm encrypt --keys=k bob - -i -": "xm --keys=k encrypt -i - -- bob -",
		"xm encrypt bob -- -o x":         "xm encrypt -- bob -o x",
		"xm encrypt encrypt -o -":        "xm encrypt -o - -- encrypt",
		"xm encrypt bob hello -o":        "xm encrypt -o",
		"xm encrypt bob hello --keys":    "xm --keys",
		"xm encrypt bob --bogus":         "xm encrypt --bogus -- bob",
		"xm encrypt bob --what x":        "xm encrypt --what -- bob x",
		"xm user add bob --data d":       "xm --data d user add -- bob",
		"xm user list --json":            "xm user list --json",
		"xm user --help add":             "xm user add --help",
		"xm user add -h bob --data d":    "xm --data d user add --help",
		"xm user bogus --help":           "xm user -- bogus",
		"xm --help":                      "xm --help",
		"xm -o - encrypt bob":            "xm encrypt -o - -- bob",
		"xm --user encrypt inbox":        "xm inbox --user encrypt",
		"xm encrypt bob ---":             "xm encrypt --- -- bob",
		"xm bogus -x":                    "xm -x -- bogus",
		"xm --config c user bogus add":   "xm --config c user -- bogus add",
	} {
		if got := permute(app, strings.Fields(in)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s\nbecame %q\nwant   %q", in, got, want)
		}
	}
}
