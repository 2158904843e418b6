package commands

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// token is a word of the command line, or a flag with its value.
type token struct {
	flag  string   // its name; "" for a word
	words []string // as they were typed
	bare  bool     // a flag whose value is missing, at the end of the line
}

// level is the application or a subcommand on the command line.
type level struct {
	name     string
	flags    []cli.Flag
	commands []*cli.Command
	given    []string // flags, with their values
	bare     bool     // the last of them lacks its value
}

// permute puts the flags of each command right after its name: cli takes a flag
// after an argument for another argument. What follows "--" stays as it is.
// Where help is wanted, only the command matters. A command with flags of its own
// kind gets all as it is.
func permute(app *cli.App, args []string) []string {
	tokens, rest := tokenize(app, args[1:])
	levels := []*level{{name: args[0], flags: app.Flags, commands: app.Commands}}
	var arguments []string
	for _, t := range tokens {
		if t.flag != "" {
			continue
		}
		here := levels[len(levels)-1]
		if sub := findCommand(here.commands, t.words[0]); sub != nil && arguments == nil {
			if sub.SkipFlagParsing {
				return args
			}
			levels = append(levels, &level{name: t.words[0], flags: sub.Flags, commands: sub.Subcommands})
			continue
		}
		arguments = append(arguments, t.words[0])
	}
	arguments = append(arguments, rest...)

	innermost := levels[len(levels)-1]
	help := false
	for _, t := range tokens {
		switch {
		case t.flag == "":
		case slices.Contains(cli.HelpFlag.Names(), t.flag):
			help = true
		default:
			at := owner(levels, t.flag)
			at.given = append(at.given, t.words...)
			at.bare = t.bare
		}
	}
	// An unknown subcommand is reported, rather than explained.
	if help && (innermost.commands == nil || arguments == nil) {
		innermost.given, arguments = []string{"--help"}, nil
	}
	var out []string
	for _, l := range levels {
		out = append(append(out, l.name), l.given...)
		if l.bare {
			return out // or what follows, "--" even, would be the value
		}
	}
	if len(arguments) > 0 {
		out = append(append(out, "--"), arguments...)
	}
	return out
}

// tokenize splits the command line up to "--" into words and flags. A flag's
// name means the same to all commands, so whether it takes a value is known
// before the command is.
func tokenize(app *cli.App, args []string) (tokens []token, rest []string) {
	withValue := map[string]bool{}
	addFlags(withValue, app.Flags)
	addCommands(withValue, app.Commands)
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return tokens, args[i+1:]
		case len(arg) < 2 || arg[0] != '-':
			tokens = append(tokens, token{words: []string{arg}})
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		t := token{flag: name, words: []string{arg}}
		if name == "" {
			t.flag = arg // only dashes: no flag of anybody's
		}
		if withValue[name] && !hasValue {
			i++
			t.bare = i == len(args)
			t.words = append(t.words, args[i:min(i+1, len(args))]...)
		}
		tokens = append(tokens, t)
	}
	return tokens, nil
}

func addFlags(withValue map[string]bool, flags []cli.Flag) {
	for _, f := range flags {
		if _, isBool := f.(*cli.BoolFlag); !isBool {
			for _, name := range f.Names() {
				withValue[name] = true
			}
		}
	}
}

func addCommands(withValue map[string]bool, commands []*cli.Command) {
	for _, c := range commands {
		addFlags(withValue, c.Flags)
		addCommands(withValue, c.Subcommands)
	}
}

func findCommand(commands []*cli.Command, name string) *cli.Command {
	i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(name) })
	if i < 0 {
		return nil
	}
	return commands[i]
}

// owner tells to which level a flag belongs: the innermost that knows it. One
// that nobody knows is left to the innermost, to be complained about.
func owner(levels []*level, name string) *level {
	for _, l := range slices.Backward(levels) {
		for _, f := range l.flags {
			if slices.Contains(f.Names(), name) {
				return l
			}
		}
	}
	return levels[len(levels)-1]
}
