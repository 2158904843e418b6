package commands

import (
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
	"golang.org/x/text/width"

	"xm/internal/mailclient"
)

// maxCell bounds a column where nobody knows how wide the screen is.
const maxCell = 40

// screenWidth is how many columns standard output has; 0 if it is no terminal.
func screenWidth(c *cli.Context) int {
	columns, _ := screenSize(c)
	return columns
}

func screenSize(c *cli.Context) (columns, lines int) {
	out, ok := asTerminal(c.App.Writer)
	if !ok {
		return 0, 0
	}
	columns, lines, err := term.GetSize(int(out.Fd()))
	if err != nil {
		return 0, 0
	}
	return columns, lines
}

// newColumns lines up what is written to it, cells that end with a tab; Flush prints it.
func newColumns(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }

// printTable prints rows of cells, with two blanks between. The columns in
// shrink give way where the rows are wider than the screen. Cells hold text from
// outside; what could command a terminal is made harmless.
func printTable(w io.Writer, screen int, rows [][]string, shrink ...int) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			row[i] = mailclient.Printable(cell)
			if row[i] == "" {
				row[i] = "-"
			}
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], textWidth(row[i]))
		}
	}
	fit(widths, screen, shrink)
	var out strings.Builder
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			cell = cut(cell, widths[i])
			line += cell + strings.Repeat(" ", widths[i]-textWidth(cell)+2)
		}
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

const leastCell = 8

// fit makes columns narrower until the screen holds them, the widest first.
func fit(widths []int, screen int, shrink []int) {
	total := 2 * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for {
		widest := -1
		for _, i := range shrink {
			if i < len(widths) && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 || screen > 0 && (total <= screen || widths[widest] <= leastCell) || screen == 0 && widths[widest] <= maxCell {
			return
		}
		widths[widest]--
		total--
	}
}

// cut makes text fit into so many columns.
func cut(s string, columns int) string {
	if textWidth(s) <= columns {
		return s
	}
	used := 0
	for i, r := range s {
		if used += runeWidth(r); used > columns-1 {
			return s[:i] + "…"
		}
	}
	return s
}

func textWidth(s string) (columns int) {
	for _, r := range s {
		columns += runeWidth(r)
	}
	return columns
}

// runeWidth is how many columns a terminal gives to a character (Unicode,
// annex 11).
func runeWidth(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
