package smtpd

import (
	"errors"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// address is a path (RFC 5321, section 4.1.2) without its source route. The
// null reverse-path has raw "<>" alone.
type address struct {
	local  string // unquoted
	domain string // a name, or a literal in its brackets; "" if there is none
	raw    string // "<...>" as it was given, the source route cut off
}

// ascii reports whether the address is one without RFC 6531's extensions.
func (a address) ascii() bool {
	return !strings.ContainsFunc(a.raw, func(r rune) bool { return r >= utf8.RuneSelf })
}

var (
	errNoBrackets = errors.New("it must stand in <>")
	errLocalPart  = errors.New("the part before @ is not a word")
	errDomain     = errors.New("the part after @ is not a domain")
)

// Limits. RFC 5321, section 4.5.3.1, asks for no less than 64 octets of local
// part and 256 of path, and for no limits where that can be: some forwarders and
// lists make long ones. Ours is what fits a line of the trace fields.
const (
	maxDomain = 255
	maxPath   = 900
)

// cutKeyword takes "FROM:" or "TO:", in any case, off arg. Blanks after it are
// against RFC 5321, section 3.3, but people and programs write them.
func cutKeyword(arg, keyword string) (rest string, ok bool) {
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return "", false
	}
	return strings.TrimLeft(arg[len(keyword):], " "), true
}

// parsePath reads a path and the parameters after it. A local part without a
// domain is accepted: RFC 5321 has <postmaster> alone, but users of the original
// have bare names.
func parsePath(s string) (a address, params []string, err error) {
	if !utf8.ValidString(s) {
		return address{}, nil, errors.New("it is not UTF-8")
	}
	if !strings.HasPrefix(s, "<") {
		return address{}, nil, errNoBrackets
	}
	s, routed, err := skipSourceRoute(s[1:])
	if err != nil {
		return address{}, nil, err
	}
	local, rest, err := parseLocalPart(s)
	if err != nil {
		return address{}, nil, err
	}
	domain := ""
	if strings.HasPrefix(rest, "@") {
		if domain, rest, err = parseDomain(rest[1:]); err != nil {
			return address{}, nil, err
		}
	}
	params, err = parseParams(rest)
	if err != nil {
		return address{}, nil, err
	}
	raw := s[:len(s)-len(rest)]
	switch {
	case len(domain) > maxDomain || len(raw) > maxPath-len("<>"):
		return address{}, nil, errors.New("it is too long")
	case local == "" && (raw != "" && raw[0] != '"' || raw == "" && routed):
		return address{}, nil, errLocalPart
	}
	return address{local, domain, "<" + raw + ">"}, params, nil
}

// parseParams splits what follows an address: ">", and parameters after blanks.
func parseParams(rest string) ([]string, error) {
	after, ok := strings.CutPrefix(rest, ">")
	if !ok || after != "" && after[0] != ' ' {
		return nil, errNoBrackets
	}
	return strings.Fields(after), nil
}

// isAuthParam reports whether a value is one of MAIL's AUTH parameter: an
// address, or <>, as xtext (RFC 4954, section 5; RFC 3461, section 4).
func isAuthParam(value string) bool {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c <= ' ' || c > '~' || c == '=':
			return false
		case c == '+':
			if i+2 >= len(value) || strings.Trim(value[i+1:i+3], "0123456789ABCDEF") != "" {
				return false
			}
			i += 2
			b.WriteByte('x') // whatever it is: it is only to be an address
		default:
			b.WriteByte(c)
		}
	}
	text := b.String()
	if !strings.HasPrefix(text, "<") { // curl's --mail-auth writes <address>
		text = "<" + text + ">"
	}
	_, _, err := parsePath(text)
	return err == nil && value != ""
}

// skipSourceRoute passes over "@a,@b:". RFC 5321, section 4.1.1.3: to be
// accepted and ignored.
func skipSourceRoute(s string) (rest string, found bool, err error) {
	if !strings.HasPrefix(s, "@") {
		return s, false, nil
	}
	for {
		after, ok := strings.CutPrefix(s, "@")
		if !ok {
			return "", false, errors.New("the source route is not one")
		}
		if _, s, err = parseDomain(after); err != nil {
			return "", false, err
		}
		if rest, ok := strings.CutPrefix(s, ":"); ok {
			return rest, true, nil
		}
		if s, ok = strings.CutPrefix(s, ","); !ok {
			return "", false, errors.New("the source route is not one")
		}
	}
}

// parseLocalPart reads a dot-string or a quoted string. It returns an empty one
// only for a path that is empty.
func parseLocalPart(s string) (local, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		return parseQuoted(s[1:])
	}
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && !isAtext(r) })
	if end < 0 {
		end = len(s)
	}
	local, rest = s[:end], s[end:]
	if strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return "", "", errLocalPart
	}
	if rest != "" && rest[0] != '@' && rest[0] != '>' {
		return "", "", errLocalPart
	}
	return local, rest, nil
}

// parseQuoted reads the rest of a quoted string: printable ASCII, blanks and the
// UTF-8 of RFC 6531, section 3.3; quoted pairs undone.
func parseQuoted(s string) (local, rest string, err error) {
	var b strings.Builder
	escaped := false
	for i, c := range s {
		switch {
		case c != ' ' && !unicode.IsGraphic(c):
			return "", "", errLocalPart
		case escaped:
			escaped = false
		case c == '"':
			return b.String(), s[i+1:], nil
		case c == '\\':
			escaped = true
			continue
		}
		b.WriteRune(c)
	}
	return "", "", errors.New("a quote is not closed")
}

// parseDomain reads a domain name or an address literal (RFC 5321, section
// 4.1.3).
func parseDomain(s string) (domain, rest string, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']') + 1
		if _, ok := parseLiteral(s[:end]); !ok {
			return "", "", errDomain
		}
		return s[:end], s[end:], nil
	}
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && !isDomainChar(r) })
	if end < 0 {
		end = len(s)
	}
	domain, rest = s[:end], s[end:]
	if !isDomain(domain) {
		return "", "", errDomain
	}
	return domain, rest, nil
}

// parseLiteral reads "[192.0.2.1]" or "[IPv6:2001:db8::1]".
func parseLiteral(s string) (netip.Addr, bool) {
	const tag = "IPv6:"
	s, ok := strings.CutPrefix(s, "[")
	s, ok2 := strings.CutSuffix(s, "]")
	tagged := len(s) >= len(tag) && strings.EqualFold(s[:len(tag)], tag)
	if tagged {
		s = s[len(tag):]
	}
	ip, err := netip.ParseAddr(s)
	return ip, ok && ok2 && err == nil && ip.Zone() == "" && ip.Is6() == tagged
}

// isDomain accepts names of labels. An underscore is no part of a host name,
// but is met in practice.
func isDomain(s string) bool {
	if len(s) > maxDomain {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || isTooLong(label) || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return !isDomainChar(r) }) {
			return false
		}
	}
	return true
}

// isTooLong reports whether a label has over 63 octets in the DNS. Of letters beyond
// ASCII, those are fewer than in UTF-8, but no fewer than the letters (RFC 5890,
// section 4.2).
func isTooLong(label string) bool { return utf8.RuneCountInString(label) > 63 }

func isDomainChar(r rune) bool { return isAlnum(r) || isForeign(r) || r == '-' || r == '_' }

// isAtext is RFC 5322, section 3.2.3, extended by RFC 6531, section 3.3.
func isAtext(r rune) bool {
	return isAlnum(r) || isForeign(r) || r < utf8.RuneSelf && strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

// isForeign reports whether a character is beyond ASCII and can be seen, or is
// one that joins or parts letters in some scripts.
func isForeign(r rune) bool {
	return r >= utf8.RuneSelf && (unicode.IsPrint(r) || r == '\u200c' || r == '\u200d')
}

func isAlnum(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
