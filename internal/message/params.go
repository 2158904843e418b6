package message

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// mediaType reads what Content-Type and Content-Disposition hold (RFC 2045,
// section 5.1; RFC 2183, section 2): a word, in lower case, and parameters. What
// mail programs write against the grammar is taken as it was meant: a value
// without quotes goes up to the next ";", and the first of two of a name counts.
func mediaType(s string) (kind string, params map[string]string) {
	kind, rest, _ := strings.Cut(s, ";")
	kind = strings.TrimSpace(kind)
	if end := strings.IndexAny(kind, " \t("); end >= 0 {
		kind = kind[:end]
	}
	written := map[string]string{}
	for rest != "" {
		var name, value string
		name, value, rest = cutParameter(rest)
		if _, twice := written[name]; !twice && name != "" {
			written[name] = value
		}
	}
	return strings.ToLower(kind), decodeParameters(written)
}

// cutParameter cuts NAME=VALUE off; what follows the next ";" is rest.
func cutParameter(s string) (name, value, rest string) {
	end := strings.IndexAny(s, "=;")
	if end < 0 {
		return "", "", ""
	}
	if s[end] == ';' {
		return "", "", s[end+1:] // it has no value
	}
	name = strings.ToLower(strings.TrimSpace(s[:end]))
	s = strings.TrimLeft(s[end+1:], " \t")
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ";")
		if value = strings.TrimSpace(value); strings.HasSuffix(value, ")") { // a comment
			value, _, _ = strings.Cut(value, "(")
		}
		return name, strings.TrimSpace(value), rest
	}
	value, rest = cutQuoted(s[1:])
	_, rest, _ = strings.Cut(rest, ";")
	return name, value, rest
}

// cutQuoted undoes a quoted string whose first quote has been read. A backslash
// before anything but quotes and backslashes is one: some write paths so.
func cutQuoted(s string) (text, rest string) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return out.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		}
		out.WriteByte(s[i])
	}
	return out.String(), ""
}

// decodeParameters is RFC 2231, sections 3 and 4. A value in its form counts more
// than one beside it, which is for those who can't read that.
func decodeParameters(written map[string]string) map[string]string {
	params := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(written)) { // the plain one comes first
		base, form, extended := strings.Cut(name, "*")
		switch {
		case !extended:
			params[base] = written[name]
		case form == "":
			charset, text := cutCharset(written[name])
			params[base] = convert(charset, unescape(text))
		case form == "0" || form == "0*":
			params[base] = continued(written, base)
		}
	}
	return params
}

// continued puts a value together that is in several parameters.
func continued(written map[string]string, base string) string {
	var all strings.Builder
	charset := ""
	for n := 0; ; n++ {
		name := base + "*" + strconv.Itoa(n)
		piece, plain := written[name]
		if !plain {
			var ok bool
			if piece, ok = written[name+"*"]; !ok {
				return convert(charset, all.String())
			}
			if n == 0 {
				charset, piece = cutCharset(piece)
			}
			piece = unescape(piece)
		}
		all.WriteString(piece)
	}
}

// cutCharset takes CHARSET'LANGUAGE' off.
func cutCharset(s string) (charset, text string) {
	if parts := strings.SplitN(s, "'", 3); len(parts) == 3 {
		return parts[0], parts[2]
	}
	return "", s
}

// unescape undoes %XX.
func unescape(s string) string {
	if d, err := url.PathUnescape(s); err == nil {
		return d
	}
	return s
}

// convert makes UTF-8 of text.
func convert(charset, text string) string {
	if e, err := encodingOf(charset); err == nil {
		if d, err := e.NewDecoder().String(text); err == nil {
			text = d
		}
	}
	return validUTF8(text)
}
