package commands

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

func completion() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print what lets a shell complete commands and options",
		ArgsUsage: "bash|zsh|fish",
		Description: "bash: eval \"$(xm completion bash)\" in ~/.bashrc. zsh: the same in ~/.zshrc, after compinit.\n" +
			"fish: xm completion fish > ~/.config/fish/completions/xm.fish",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1); err != nil {
				return err
			}
			words := completions(c.App)
			switch shell := c.Args().First(); shell {
			case "bash":
				return completeBash(c.App.Writer, words, "")
			case "zsh": // which can do as bash does
				return completeBash(c.App.Writer, words, "#compdef xm\nautoload -Uz bashcompinit && bashcompinit\n")
			case "fish":
				return completeFish(c.App.Writer, words)
			default:
				return usageErrorf("there is no completion for %q", shell)
			}
		},
	}
}

// word is one that can follow a command: a subcommand, or an option.
type word struct {
	path  string // the commands before it: " user add"
	text  string
	usage string
	value bool // an option that takes one
}

func completions(app *cli.App) []word {
	words := flagWords("", app.Flags)
	return append(words, commandWords("", app.Commands)...)
}

func commandWords(path string, commands []*cli.Command) (words []word) {
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		words = append(words, word{path, c.Name, c.Usage, false})
		below := path + " " + c.Name
		words = append(words, flagWords(below, c.Flags)...)
		words = append(words, commandWords(below, c.Subcommands)...)
	}
	return words
}

func flagWords(path string, flags []cli.Flag) (words []word) {
	for _, f := range flags {
		if doc, ok := f.(cli.DocGenerationFlag); ok {
			words = append(words, word{path, flagName(f), strings.ReplaceAll(doc.GetUsage(), "`", ""), doc.TakesValue()})
		}
	}
	return words
}

// completeBash completes a word from those that can follow the commands before
// it, and files in any other place.
func completeBash(w io.Writer, words []word, before string) error {
	var b strings.Builder
	b.WriteString(before)
	b.WriteString("_xm() {\n\tlocal path= word i values=' ")
	follow, paths := map[string][]string{}, []string{}
	for _, w := range words {
		if follow[w.path] == nil {
			paths = append(paths, w.path)
		}
		follow[w.path] = append(follow[w.path], w.text)
		if w.value {
			b.WriteString(w.text + " ")
		}
	}
	b.WriteString("'\n\tlocal -A follow=(\n")
	for _, p := range paths {
		fmt.Fprintf(&b, "\t\t['xm%s']='%s'\n", p, strings.Join(follow[p], " "))
	}
	b.WriteString(`	)
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case "$values" in
		*" $word "*) ((i++)) ;;
		*) case " ${follow["xm$path"]} " in *" $word "*) [[ $word == -* ]] || path+=" $word" ;; esac ;;
		esac
	done
	word=${COMP_WORDS[COMP_CWORD]}
	local all=${follow["xm$path"]}
	[[ -n $path && $word == -* ]] && all+=" ${follow[xm]}"
	if [[ $word != -* ]]; then
		set --
		for i in $(printf '%s' "$all"); do [[ $i == -* ]] || set -- "$@" "$i"; done
		all="$*"
	fi
	((i > COMP_CWORD)) && all= # the value of an option
	COMPREPLY=($(compgen -W "$all" -- "$word"))
}
complete -o default -F _xm xm
`)
	_, err := io.WriteString(w, b.String())
	return err
}

// completeFish has a line for each word, with its explanation.
func completeFish(w io.Writer, words []word) error {
	var b strings.Builder
	b.WriteString("complete -c xm -f\n")
	for _, word := range words {
		condition := "__fish_use_subcommand"
		if path := strings.Fields(word.path); len(path) > 0 {
			condition = "__fish_seen_subcommand_from " + path[0]
			for _, p := range path[1:] {
				condition += "; and __fish_seen_subcommand_from " + p
			}
		}
		line := fmt.Sprintf("complete -c xm -n '%s' ", condition)
		switch {
		case strings.HasPrefix(word.text, "--"):
			if word.path == "" {
				line = "complete -c xm "
			}
			line += "-l " + word.text[2:]
		case strings.HasPrefix(word.text, "-"):
			line += "-s " + word.text[1:]
		default:
			line += "-a " + word.text
		}
		if word.value {
			line += " -r -F"
		}
		fmt.Fprintf(&b, "%s -d '%s'\n", line, strings.ReplaceAll(strings.ReplaceAll(word.usage, `\`, `\\`), "'", `\'`))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
