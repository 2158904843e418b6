package regd

import (
	"errors"
	"strings"
	"unicode"
)

var errConfusing = errors.New("the name could be taken for another: it mixes scripts, or looks like Latin letters and is not")

// together are the scripts that people write together, beside each alone
// (Unicode Technical Standard 39, section 5.2, "highly restrictive").
var together = [][]string{
	{"Latin", "Han", "Hiragana", "Katakana"},
	{"Latin", "Han", "Bopomofo"},
	{"Latin", "Han", "Hangul"},
}

// lookalikes are letters of other scripts that look like Latin ones: a name of
// such letters alone can pass for a Latin one, though it mixes nothing.
const lookalikes = "аеорсухѕіјԁԛԝһӏ" + // Cyrillic
	"αγικνορυχ" + // Greek
	"օոսցհ" // Armenian

// confusing reports whether a person could take a name for another that is
// written with other letters.
func confusing(name string) bool {
	scripts := map[string]bool{}
	own := false // there is a letter that looks like no Latin one
	for _, r := range strings.ToLower(name) {
		s := scriptOf(r)
		if s == "" {
			continue
		}
		scripts[s] = true
		own = own || !strings.ContainsRune(lookalikes, r)
	}
	return len(scripts) > 1 && !writtenTogether(scripts) || len(scripts) > 0 && !own
}

func writtenTogether(scripts map[string]bool) bool {
	for _, group := range together {
		left := len(scripts)
		for _, s := range group {
			if scripts[s] {
				left--
			}
		}
		if left == 0 {
			return true
		}
	}
	return false
}

// scriptOf is the script of a letter or mark; "" for what belongs to several.
func scriptOf(r rune) string {
	if r < unicode.MaxASCII {
		if unicode.IsLetter(r) {
			return "Latin"
		}
		return ""
	}
	if unicode.In(r, unicode.Common, unicode.Inherited) {
		return ""
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return "unknown"
}
