package userdb

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"xm/internal/disk"
)

// Name is a user's name: "local@domain" or a bare "local". The zero Name is no
// name; ParseName is the only way to make one, so a Name is always safe to be
// the name of a directory and, with ".pub" added, of a file.
type Name struct {
	local, domain string
}

// Limits of RFC 5321, sections 4.5.3.1.1 and 4.5.3.1.2, and of file names:
// keySuffix is what the key ring adds to a name.
const (
	maxLocal  = 64
	maxDomain = 255
	maxFile   = 255
	keySuffix = ".pub"
)

// reserved are the names that would collide with files of ours, in the data
// directory or, with a suffix, among the keys.
var reserved = map[string]bool{
	fileName: true, statName: true, "userinfo": true, "xm.toml": true,
	invitesName: true, settingsName: true, formerName: true,
	"key": true, "key.priv": true, "key.pub": true, "server": true, "server.pub": true,
	"enc": true, "dec": true, "reg": true, disk.LostAndFound: true,
}

// ParseName reads a user name. The local part is what may stand unquoted in an
// address (a dot-string, RFC 5321 section 4.1.2, with the UTF-8 of RFC 6531),
// except "/", and does not begin with "-" or "#".
func ParseName(s string) (Name, error) {
	n, err := parseName(s)
	if err != nil {
		return Name{}, fmt.Errorf("%.*q can't be a user name: %w", maxFile, s, err) // strangers choose it
	}
	return n, nil
}

func parseName(s string) (Name, error) {
	local, domain, qualified := cutDomain(s)
	switch {
	case s == "":
		return Name{}, errors.New("it is empty")
	case len(s)+len(keySuffix) > maxFile || len(local) > maxLocal || len(domain) > maxDomain:
		return Name{}, errors.New("it is too long")
	case !utf8.ValidString(s) || !norm.NFC.IsNormalString(s):
		return Name{}, errors.New("it is not normalized UTF-8 (NFC)")
	case reserved[fold(s)]:
		return Name{}, errors.New("it is the name of a file of xm's")
	case s[0] == '-' || s[0] == '#':
		return Name{}, fmt.Errorf("it begins with %q", s[0])
	}
	if err := checkDotted(local, isAtext); err != nil {
		return Name{}, err
	}
	if qualified {
		if err := checkDotted(domain, isDomainRune); err != nil {
			return Name{}, fmt.Errorf("in the domain: %w", err)
		}
	}
	return Name{local, domain}, nil
}

// cutDomain splits an address around its last "@": a local part may hold one too.
func cutDomain(s string) (local, domain string, found bool) {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// checkDotted wants atoms with single dots between them, so that no name is
// hidden, a relative path, or followed by a second spelling of itself.
func checkDotted(s string, ok func(rune) bool) error {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return errors.New("a part before, between or after dots is empty")
		}
		for _, r := range atom {
			if !ok(r) {
				return fmt.Errorf("it holds %q", r)
			}
		}
	}
	return nil
}

// isAtext is RFC 5322, section 3.2.3, without "/" and with RFC 6531's UTF-8.
func isAtext(r rune) bool {
	return isAlnum(r) || strings.ContainsRune("!#$%&'*+-=?^_`{|}~", r)
}

func isDomainRune(r rune) bool {
	return isAlnum(r) || r == '-' || r == '_'
}

func isAlnum(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	}
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)
}

// String gives the name as it stands in users.txt and names its maildrop.
func (n Name) String() string {
	if n.domain == "" {
		return n.local
	}
	return n.local + "@" + n.domain
}

// Local is the local part: all of a bare name.
func (n Name) Local() string { return n.local }

// Domain is what follows the "@"; "" in a bare name.
func (n Name) Domain() string { return n.domain }

// Role reports whether the name is one under which people expect to reach those
// who run a server (RFC 2142, and RFC 5321 section 4.5.1), or looks like one.
func (n Name) Role() bool {
	return slices.ContainsFunc(n.looks(), func(look string) bool { return roles[look] })
}

var roles = map[string]bool{
	"postmaster": true, "abuse": true, "hostmaster": true, "webmaster": true, "security": true, "noc": true,
	"mailer-daemon": true, "root": true, "admin": true, "administrator": true,
}

// exact and folded are the keys that names are looked up by. Domains have no
// case (RFC 5321, section 2.4).
func (n Name) exact() string  { return n.local + "@" + foldDomain(n.domain) }
func (n Name) folded() string { return fold(n.local) + "@" + foldDomain(n.domain) }

// base is the local part without a sub-address: "alice" of "alice+lists".
func base(local string) string {
	if i := strings.IndexByte(local, '+'); i > 0 {
		return local[:i]
	}
	return local
}

// nfc gives the normal form that names have, to what comes from elsewhere.
func nfc(s string) string { return norm.NFC.String(s) }

func fold(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return nfc(cases.Fold().String(nfc(s)))
}

// foldDomain gives a domain the form in which it is compared: its A-labels (RFC
// 5890, section 2.3.2.1), in lower case. What IDNA refuses is compared without
// case.
func foldDomain(domain string) string {
	if isASCII(domain) {
		return strings.ToLower(domain)
	}
	if ascii, err := idna.Lookup.ToASCII(domain); err == nil {
		return ascii
	}
	return fold(domain)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
