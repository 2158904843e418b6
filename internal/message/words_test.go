package message

import (
	"net/textproto"
	"slices"
	"testing"
)

// Encoded words say what they were meant to say, however far from RFC 2047 they are.
func TestEncodedWords(t *testing.T) {
	for raw, want := range map[string]string{
		"=?iso-8859-1?Q?Die_Fr\xf6sche?=":                       "Die Frösche",
		"=?iso-8859-1?Q?J\xfcrgen?= =?utf-8?q?_M?=":             "Jürgen M",
		"=?gb2312?B?1g==?=\t=?GB2312?B?0M7E?= x":                "中文 x", // a character in two words
		"=?gb2312?B?1g==?= =?gb2312?Q?=D0=CE=C4?=":              "中文",
		"=?iso-2022-jp?B?GyRCJS0l?= =?iso-2022-jp?B?OBsoQg==?=": "キジ", // the words share a state
		"=?utf-8?B?YQ?= =?utf-8?b?Yg=?=":                        "ab",
		"=?utf-8?Q?a b ?= c":                                    "a b  c",
		"=?utf-8?Q?a?= =?utf-8?Q?b?= c =?utf-8?B?ZA==?=":        "ab c d",
		"=?utf-8?Q?a?==?iso-8859-1?Q?=E9?=":                     "aé",
		"=?utf-8?Q?100%_=ZZ?=":                                  "100% =ZZ",
		"x =?utf-8?Q??=":                                        "x ",
		"=?none?Q?a?= =? b =?utf-8?x?y?= ?=":                    "a =? b =?utf-8?x?y?= ?=",
		"=?utf-8*en?Q?a?=":                                      "a",
	} {
		if got := decodeText(raw); got != want {
			t.Errorf("%q: %q; want %q", raw, got, want)
		}
	}
	field := "=?utf-8?Q?Doe,_John_(x)?= <j@x>, \"=?ISO-8859-1?Q?Fran=E7ois?= B\" <f@x>, =?gb2312?B?1g==?= =?gb2312?B?0M7E?= <c@x>"
	want := []Address{{"Doe, John (x)", "j@x"}, {"François B", "f@x"}, {"中文", "c@x"}}
	if got := addresses(textproto.MIMEHeader{"To": {field}}, "To"); !slices.Equal(got, want) {
		t.Errorf("%+q", got)
	}
}
