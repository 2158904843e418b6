package userdb

import "testing"

func TestRole(t *testing.T) {
	for text, want := range map[string]bool{
		"postmaster": true, "PostMaster+x@localhost": true, "root": true, "MAILER-DAEMON": true,
		"гоот": true, "ГООТ": true, "ѕесuгіtу": true, // Cyrillic, which looks like it
		"roots": false, "alice": false, "почта": false,
	} {
		if got := name(t, text).Role(); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
