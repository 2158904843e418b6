package userdb

import (
	"context"
	"testing"
)

// Whoever is nobody, or has one of the original's records, costs a derivation, as a
// wrong password does. It is told by what that allocates, which is the same each
// time.
func TestFailuresCostTheSame(t *testing.T) {
	db, _ := openDB(t, original(t))
	cost := func(r Record, known bool) float64 {
		return testing.AllocsPerRun(2, func() {
			if right, err := db.check(context.Background(), r, known, "wrong"); right || err != nil {
				t.Fatal(right, err)
			}
		})
	}
	users, err := db.Users()
	if err != nil {
		t.Fatal(err)
	}
	want := cost(record(t, "alice"), true)
	if got := cost(Record{}, false); got < want {
		t.Errorf("nobody costs %v, alice %v", got, want)
	}
	if got := cost(users[0], true); users[0].Kind() == scramKind || got < want {
		t.Errorf("%s costs %v, alice %v", users[0].Name, got, want)
	}
}
