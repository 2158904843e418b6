package message

import (
	"strings"
	"testing"
	"testing/iotest"
)

func TestStoreAsIs(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "",
		"A: b":                                 "A: b",
		"X-Sig: me\r\n":                        "",
		"X-Sig":                                "X-Sig",
		"x-sIG: me\n fold\n\tfold\nA: b\n\n":   "A: b\n\n",
		"A: b\r\nX-Sig \t: me\r\n\r\nX-Sig: y": "A: b\n\nX-Sig: y",
		"X-Signed: me\nX-Si: b\n\n":            "X-Signed: me\nX-Si: b\n\n",
		"A: b\rX-Sig: me\rB: c\n\n":            "A: b\rB: c\n\n",
		"A: b\n X-Sig: folded\n\nX":            "A: b\n X-Sig: folded\n\nX",
		"no field\nX-Sig: me\nA: b\n\n":        "no field\nA: b\n\n",
		"\r\nX-Sig: of the body\r\n":           "\nX-Sig: of the body\n",
		"A: b\n\nbody\r\n\rX-Sig: y\n":         "A: b\n\nbody\n\rX-Sig: y\n",
		"X-Sig: a\nX-Sig: b\n\n":               "\n",
	} {
		var got strings.Builder
		if err := StoreAsIs(&got, iotest.OneByteReader(strings.NewReader(in)), "X-Sig"); err != nil || got.String() != want {
			t.Errorf("%q became %q, want %q; %v", in, got.String(), want, err)
		}
		got.Reset()
		if err := StoreAsIs(&got, strings.NewReader(in), "X-Sig"); err != nil || got.String() != want {
			t.Errorf("%q became %q at once, want %q; %v", in, got.String(), want, err)
		}
	}
	if err := StoreAsIs(&strings.Builder{}, iotest.ErrReader(iotest.ErrTimeout), "X-Sig"); err != iotest.ErrTimeout {
		t.Errorf("%v", err)
	}
}
