package commands

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// level is the application or a subcommand on the command line.
type level struct {
	name     string
	flags    []cli.Flag
	commands []*cli.Command
	given    []string // flags, with their values
}

// permute puts the flags of each command before its arguments: cli takes a flag
// after an argument for another argument. What follows "--" stays as it is.
func permute(app *cli.App, args []string) []string {
	levels := []*level{{name: args[0], flags: app.Flags, commands: app.Commands}}
	var rest []string
	for i := 1; i < len(args); i++ {
		arg, here := args[i], levels[len(levels)-1]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if len(arg) > 1 && arg[0] == '-' {
			at, takesValue := findFlag(levels, arg)
			at.given = append(at.given, arg)
			if takesValue && i+1 < len(args) {
				i++
				at.given = append(at.given, args[i])
			}
			continue
		}
		if sub := findCommand(here.commands, arg); sub != nil && len(rest) == 0 {
			levels = append(levels, &level{name: arg, flags: sub.Flags, commands: sub.Subcommands})
			continue
		}
		rest = append(rest, arg)
	}
	var out []string
	for _, l := range levels {
		out = append(append(out, l.name), l.given...)
	}
	if len(rest) > 0 {
		out = append(append(out, "--"), rest...)
	}
	return out
}

func findCommand(commands []*cli.Command, name string) *cli.Command {
	i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(name) })
	if i < 0 {
		return nil
	}
	return commands[i]
}

// findFlag tells to which level a flag belongs: the innermost that knows it. Help
// is wanted for the innermost, and one that nobody knows is left to it, to be
// complained about.
func findFlag(levels []*level, arg string) (at *level, takesValue bool) {
	name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if slices.Contains(cli.HelpFlag.Names(), name) {
		return levels[len(levels)-1], false
	}
	for _, l := range slices.Backward(levels) {
		for _, f := range l.flags {
			if slices.Contains(f.Names(), name) {
				_, isBool := f.(*cli.BoolFlag)
				return l, !isBool && !hasValue
			}
		}
	}
	return levels[len(levels)-1], false
}
