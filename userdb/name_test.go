package userdb

import (
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	for _, s := range []string{
		"alice", "alice@localhost.com", "a.b+c@x-y.example", "o'neil", "ärger@münchen.example", "keys", "Alice",
		strings.Repeat("a", 64) + "@" + strings.Repeat("d", 100),
	} {
		n, err := ParseName(s)
		if err != nil || n.String() != s {
			t.Errorf("%q: %q, %v", s, n, err)
		}
	}
	for _, s := range []string{
		"", "@", "alice@", "@localhost", ".", "..", "../etc/passwd", "a/b", "/a", "a,b", "a\x00b", "a\nb", "a b",
		".hidden", "a..b", "a.", "a@b..c", "a@.b", "a@b/c", "a@b@c/..", "-rf", "#a", "a:b", "a\\b", "<a>", `"a"`,
		"key", "KEY", "server", "users.txt", "userstat", "key.priv", "enc",
		"\xff", "a\u0301" /* not NFC */, "a\u202eb", "a@b c", "a\u200bb",
		strings.Repeat("a", 65), "a@" + strings.Repeat("d", 255),
	} {
		if n, err := ParseName(s); err == nil {
			t.Errorf("%q was accepted as %q", s, n)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("alice@localhost.com")
	f.Add("../x")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			return
		}
		if n.String() != s {
			t.Errorf("%q became %q", s, n)
		}
		if strings.ContainsAny(s, "/,\x00\n\r :") || strings.HasPrefix(s, ".") || len(s) > 251 {
			t.Errorf("%q is unsafe as a file name", s)
		}
	})
}
