package commands

import (
	"embed"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// manual holds the pages of section 7: NAME.txt is xm-NAME(7). Headings are in
// capitals, NAME first, paragraphs have empty lines between them, and what is to
// stand as it is, such as commands, is indented. scripts/newcomer.sh types those of
// guide.txt.
//
//go:embed manual
var manual embed.FS

const (
	manualDir = "manual/"
	typed     = "    " // begins a line that stands as it is
)

// topics are the names of the pages of section 7.
func topics() (names []string) {
	files, err := manual.ReadDir(strings.TrimSuffix(manualDir, "/"))
	if err != nil {
		panic(err) // it is in the program
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".txt"))
	}
	return names
}

// topic returns the text of a page, and whether there is one.
func topic(name string) (text string, ok bool) {
	b, err := manual.ReadFile(manualDir + name + ".txt")
	return strings.TrimSpace(string(b)), err == nil
}

// about is what a page says that it is about.
func about(text string) string {
	_, text, _ = strings.Cut(text, " - ")
	text, _, _ = strings.Cut(text, "\n")
	return text
}

// writeTopicPage writes a page of section 7.
func writeTopicPage(w io.Writer, app *cli.App, name, text string) error {
	var r roff
	fmt.Fprintf(&r, ".TH %s 7 \"\" \"xm %s\" \"Miscellaneous\"\n", escapeRoff("XM-"+strings.ToUpper(name)), app.Version)
	begun := true // whether a heading stands before what follows
	for block := range strings.SplitSeq(text, "\n\n") {
		if head, rest, ok := strings.Cut(block, "\n"); ok && head == strings.ToUpper(head) && !strings.HasPrefix(head, " ") {
			fmt.Fprintf(&r, ".SH %s\n", escapeRoff(head))
			block, begun = rest, true
		}
		if !begun {
			r.WriteString(".PP\n")
		}
		if strings.HasPrefix(block, typed) {
			block = strings.TrimPrefix(strings.ReplaceAll(block, "\n"+typed, "\n"), typed)
			fmt.Fprint(&r, ".RS 4\n.nf\n")
			r.text(block)
			fmt.Fprint(&r, ".fi\n.RE\n")
		} else {
			r.text(block)
		}
		begun = false
	}
	_, err := io.WriteString(w, r.String())
	return err
}
