package smtpd

import (
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestParsePath(t *testing.T) {
	for in, want := range map[string]address{
		"<>":                     {"", "", "<>"},
		"<a@b>":                  {"a", "b", "<a@b>"},
		"<a.b+c@d-e.example>":    {"a.b+c", "d-e.example", "<a.b+c@d-e.example>"},
		"<postmaster>":           {"postmaster", "", "<postmaster>"},
		`<"john doe"@b>`:         {"john doe", "b", `<"john doe"@b>`},
		`<"a\"b\\c@d>"@b>`:       {`a"b\c@d>`, "b", `<"a\"b\\c@d>"@b>`},
		"<@x,@y:a@b>":            {"a", "b", "<a@b>"},
		"<a@[ipv6:::1]>":         {"a", "[ipv6:::1]", "<a@[ipv6:::1]>"},
		"<a@[192.0.2.1]>":        {"a", "[192.0.2.1]", "<a@[192.0.2.1]>"},
		"<a@[IPv6:2001:db8::1]>": {"a", "[IPv6:2001:db8::1]", "<a@[IPv6:2001:db8::1]>"},
		"<jörg@bücher.example>":  {"jörg", "bücher.example", "<jörg@bücher.example>"},
		"<a@การท่องเที่ยวแห่งประเทศไทย.example>": {"a", "การท่องเที่ยวแห่งประเทศไทย.example", "<a@การท่องเที่ยวแห่งประเทศไทย.example>"}, // 78 octets, but 45 as an A-label
		`<"j ö"@b>`:                            {"j ö", "b", `<"j ö"@b>`},
		"<!#$%&'*+-/=?^_`{|}~@b>":              {"!#$%&'*+-/=?^_`{|}~", "b", "<!#$%&'*+-/=?^_`{|}~@b>"},
		`<""@b>`:                               {"", "b", `<""@b>`},
		"<" + strings.Repeat("l", 896) + "@b>": {strings.Repeat("l", 896), "b", "<" + strings.Repeat("l", 896) + "@b>"},
	} {
		got, params, err := parsePath(in + "  A=1 B")
		if err != nil || got != want || !slices.Equal(params, []string{"A=1", "B"}) {
			t.Errorf("%s: %+v %q, %v; want %+v", in, got, params, err, want)
		}
	}
	for _, in := range []string{
		"", "a@b", "<a@b", "a@b>", "<a@b>x", "<a@b>\tx", "<@>", "<a@>", "<@b>", "<a@@b>", "<a b@c>", "<.a@b>", "<a.@b>", "<a..b@c>",
		"<a@.b>", "<a@b.>", "<a@b..c>", "<a@-b>", "<a@b->", "<a@b_>x", "<a@[1.2.3]>", "<a@[IPv6:1.2.3.4]>", "<a@[::1]>", "<a@[IPv6:fe80::1%eth0]>", "<a@[1.2.3.4>",
		`<"a@b>`, `<"a"b@c>`, "<\"a\tb\"@c>", `<"a\`, "<\xe4@b>", "<a@\xe4>", "<\u0085@b>", "<a@\u0085>", "<\"\\\xe4\"@b>", "<a\x00@b>", "<a<@b>", "<@x,@y a@b>", "<@x> X=y:a@b>", "<@x:>x", "<@x:>", "<@:a@b>", "<@,,,:a@b>", "<@a..b,c!:a@b>", "<@x,y:a@b>", "<@x,@y>",
		"<\u202ea@b>", "<\u2028a@b>", "<\"\u0085\"@b>",
		"<" + strings.Repeat("l", 897) + "@b>", "<a@" + strings.Repeat("d", 64) + ">", "<a@" + strings.Repeat("d.", 128) + "d>",
	} {
		if got, params, err := parsePath(in); err == nil {
			t.Errorf("%q was read as %+v %q", in, got, params)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add(`<"a\"b"@c> SIZE=1`)
	f.Add("<@x:a@[IPv6:::1]>")
	f.Fuzz(func(t *testing.T, s string) {
		a, _, err := parsePath(s)
		if err != nil {
			return
		}
		if !strings.Contains(s, a.raw[1:]) || strings.ContainsFunc(a.raw, unicode.IsControl) {
			t.Errorf("%q has the raw address %q", s, a.raw)
		}
		again, _, err := parsePath(a.raw)
		if err != nil || again != a {
			t.Errorf("%q is %+v, which reads as %+v, %v", s, a, again, err)
		}
	})
}
