package userdb

import (
	"context"
	"errors"
	"testing"
)

func TestLooks(t *testing.T) {
	for text, good := range map[string]bool{
		"alice": true, "jürgen.müller": true, "o'neil": true, "bob2": true, "łukasz": true, "алиса": true, "алиса-7": true,
		"αλίκη": true, "太郎": true, "たろう": true, "タロー": true, "山田タロー": true, "김철수": true, "王小明": true, "محمد": true,
		"משה": true, "अमित": true, "สมชาย": true, "alice.太郎": true, "алиса@пример.org": true,

		"аlice": false, "alicе": false, "αlice": false, "алисa": false, // one letter of the other script
		"ａlice": false, "𝐚lice": false, "ﬁn": false, // variants
		"alice\ufe0f": false, "a\u034flice": false, "김\u3164": false, // nothing to see
		"alice\u0332": false, // a mark that makes no letter
		"ꓮꓡꓲꓚꓰ":       false, "ᏚᎳ": false, "alice太郎": false, "たろう김": false,
		"محمد١": true, "محمد1": true, "محمد1١": false, "अमित७": true,
	} {
		err := name(t, text).checkLooks()
		if (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
		if err != nil && !errors.Is(err, ErrTaken) {
			t.Errorf("%s: %v does not match ErrTaken", text, err)
		}
	}
}

func TestLookAlikes(t *testing.T) {
	for first, others := range map[string][]string{
		"copa":  {"сора", "СОРА", "Сора@localhost", "ϲορα"},
		"сора":  {"copa", "COPA", "copa+x"},
		"HEART": {"НЕАRТ", "heart"},
		"anna":  {"ΑΝΝΑ", "αννα"},
		"ирис":  {"upuc"},
		"lisa":  {"lısa"},
	} {
		db, _ := openDB(t, record(t, first).String()+"\n")
		for _, other := range others {
			if err := db.Add(context.Background(), record(t, other)); !errors.Is(err, ErrTaken) {
				t.Errorf("%s beside %s: %v", other, first, err)
			}
		}
		for _, other := range []string{"алиса", "bob", "сора@example.org"} {
			if err := db.Add(context.Background(), record(t, other)); err != nil {
				t.Errorf("%s beside %s: %v", other, first, err)
			}
		}
	}
}

// A name that is in the file goes on working.
func TestOldNamesKeepWorking(t *testing.T) {
	db, _ := openDB(t, record(t, "аlice").String()+"\n"+record(t, "alice").String()+"\n")
	for _, user := range []string{"alice", "аlice"} {
		if got, ok := login(t, db, user, "secret"); !ok || got != user {
			t.Errorf("%s logs in as %s, %v", user, got, ok)
		}
	}
}

func FuzzLooks(f *testing.F) {
	for _, s := range []string{"alice", "аlice", "Straße", "ΑΝΝΑ+x", "İi", "太郎"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil || n.local[0] == '+' { // which has no sub-address
			return
		}
		_ = n.checkLooks()
		// Names that differ in case or sub-address alone have a look in common.
		if looks := (Name{fold(n.local) + "+x", n.domain}).looks(); looks[0] != n.looks()[0] {
			t.Errorf("%q looks like %q, with another case like %q", s, n.looks(), looks)
		}
	})
}
