package commands

import (
	_ "embed"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// guide is xm-guide(7). Headings are in capitals, paragraphs have empty lines
// between them, and what is typed is indented; scripts/newcomer.sh types it.
//
//go:embed guide.txt
var guide string

const typed = "    " // begins a line that is

// writeGuidePage writes xm-guide(7).
func writeGuidePage(w io.Writer, app *cli.App) error {
	var r roff
	fmt.Fprintf(&r, ".TH XM\\-GUIDE 7 \"\" \"xm %s\" \"Miscellaneous\"\n", app.Version)
	begun := true // whether a heading stands before what follows
	for block := range strings.SplitSeq(strings.TrimSpace(guide), "\n\n") {
		if head, rest, ok := strings.Cut(block, "\n"); ok && head == strings.ToUpper(head) {
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
