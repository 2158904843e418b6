package message

import (
	"io"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// htmlToText makes plain text of HTML: paragraphs, lists, and where links go.
// What is not text, such as scripts and styles, is left out.
func htmlToText(source string) string {
	t := textMaker{in: html.NewTokenizer(strings.NewReader(source))}
	t.in.SetMaxBuf(maxText)
	for {
		kind := t.in.Next()
		if kind == html.ErrorToken {
			if t.in.Err() != io.EOF {
				t.out.WriteString("\n[the rest of the HTML can't be read]\n")
			}
			return strings.TrimSpace(t.out.String()) + "\n"
		}
		t.token(kind, t.in.Token())
	}
}

// textMaker is the work on one document.
type textMaker struct {
	in     *html.Tokenizer
	out    strings.Builder
	breaks int // line ends at the end of out
	space  bool
	hidden atom.Atom // the element whose content is left out
	pre    int
	link   string
}

func (t *textMaker) token(kind html.TokenType, token html.Token) {
	if t.hidden != 0 {
		if kind == html.EndTagToken && token.DataAtom == t.hidden {
			t.hidden = 0
		}
		return
	}
	switch kind {
	case html.TextToken:
		t.text(token.Data)
	case html.StartTagToken, html.SelfClosingTagToken:
		t.start(kind, token)
	case html.EndTagToken:
		t.end(token.DataAtom)
	}
}

func (t *textMaker) start(kind html.TokenType, token html.Token) {
	switch token.DataAtom {
	case atom.Script, atom.Style, atom.Title, atom.Template, atom.Noscript: // all that a head holds, whose end may be left out
		if kind == html.StartTagToken {
			t.hidden = token.DataAtom
		}
	case atom.Br, atom.Tr:
		t.newline()
	case atom.Hr:
		t.line(1)
		t.put("----------")
		t.line(1)
	case atom.Li:
		t.line(1)
		t.put("* ")
	case atom.Td, atom.Th:
		t.space = true
	case atom.Pre:
		t.line(2)
		t.pre++
	case atom.Img:
		if alt := attribute(token, "alt"); strings.TrimSpace(alt) != "" {
			t.text("[" + alt + "]")
		}
	case atom.A:
		t.link = attribute(token, "href")
	default:
		t.line(gap(token.DataAtom))
	}
}

func (t *textMaker) end(tag atom.Atom) {
	switch tag {
	case atom.Pre:
		t.pre = max(0, t.pre-1)
		t.line(2)
	case atom.A:
		// Where a link goes is worth more than what it says.
		if t.link != "" && !strings.HasPrefix(t.link, "#") && !strings.HasSuffix(t.out.String()[max(0, t.out.Len()-len(t.link)):], t.link) {
			t.put(" <" + t.link + ">")
		}
		t.link = ""
	default:
		t.line(gap(tag))
	}
}

// gap is how many line ends stand around an element.
func gap(tag atom.Atom) int {
	switch tag {
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Ul, atom.Ol, atom.Table, atom.Blockquote, atom.Dl:
		return 2
	case atom.Div, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Dt, atom.Dd, atom.Address, atom.Form:
		return 1
	}
	return 0
}

func (t *textMaker) text(s string) {
	if t.pre > 0 {
		t.put(s)
		return
	}
	for i, word := range strings.FieldsFunc(s, isBlank) {
		if i > 0 || isBlank(rune(s[0])) {
			t.space = true
		}
		t.put(word)
	}
	if s != "" && isBlank(rune(s[len(s)-1])) {
		t.space = true
	}
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\f' }

func (t *textMaker) put(s string) {
	if s == "" {
		return
	}
	if t.space && t.breaks == 0 && t.out.Len() > 0 {
		t.out.WriteByte(' ')
	}
	t.out.WriteString(s)
	t.space, t.breaks = false, 0
	for i := len(s) - 1; i >= 0 && s[i] == '\n'; i-- {
		t.breaks++
	}
}

// line makes sure that at least n line ends stand before what comes.
func (t *textMaker) line(n int) {
	for n > 0 && t.out.Len() > 0 && t.breaks < n {
		t.newline()
	}
}

func (t *textMaker) newline() {
	t.out.WriteByte('\n')
	t.breaks++
	t.space = false
}

func attribute(token html.Token, name string) string {
	for _, a := range token.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
