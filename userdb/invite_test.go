package userdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func invite(t *testing.T, db *DB, ttl time.Duration) string {
	t.Helper()
	code, err := db.NewInvite(context.Background(), ttl, "for bob, from next door")
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestInvites(t *testing.T) {
	db, dir := openDB(t, "")
	ctx := context.Background()
	code := invite(t, db, time.Hour)
	if all, err := db.Invites(); err != nil || len(all) != 1 || all[0].Note != "for bob, from next door" || len(all[0].ID) != idSize {
		t.Errorf("%v, %v", all, err)
	}
	if file, _ := os.ReadFile(filepath.Join(dir, invitesName)); strings.Contains(string(file), code[:codeGroup]) {
		t.Errorf("the code is in the file:\n%s", file)
	}
	if err := db.AddInvited(ctx, record(t, "eve"), strings.Repeat("A", codeSize)); !errors.Is(err, ErrInvite) {
		t.Errorf("with a code that was made up: %v", err)
	}
	if err := db.Add(ctx, record(t, "alice")); err != nil {
		t.Fatal(err)
	}
	if err := db.AddInvited(ctx, record(t, "alice"), code); !errors.Is(err, ErrTaken) {
		t.Errorf("a name that is taken: %v", err)
	}
	if err := db.AddInvited(ctx, record(t, "bob"), " "+strings.ToLower(code)); err != nil {
		t.Errorf("bob: %v", err)
	}
	if err := db.AddInvited(ctx, record(t, "carol"), code); !errors.Is(err, ErrInvite) {
		t.Errorf("the second time: %v", err)
	}
	if all, err := db.Invites(); err != nil || len(all) != 0 {
		t.Errorf("left: %v, %v", all, err)
	}
}

func TestInvitesExpire(t *testing.T) {
	db, dir := openDB(t, "")
	code := invite(t, db, time.Hour)
	write(t, dir, invitesName, Invite{Expires: time.Now().Add(-time.Minute), hash: hashCode(code)}.String()+"\n")
	if err := db.AddInvited(context.Background(), record(t, "bob"), code); !errors.Is(err, ErrInvite) {
		t.Errorf("expired: %v", err)
	}
	invite(t, db, time.Hour)
	if file, _ := os.ReadFile(filepath.Join(dir, invitesName)); strings.Count(string(file), "\n") != 1 {
		t.Errorf("what has expired was not swept:\n%s", file)
	}
	if _, err := db.NewInvite(context.Background(), 0, ""); err == nil {
		t.Error("an invite that expires at once was made")
	}
	if _, err := db.NewInvite(context.Background(), time.Hour, "a\nb"); err == nil {
		t.Error("a note with a line end was written")
	}
}

func TestRevoke(t *testing.T) {
	db, _ := openDB(t, "")
	code := invite(t, db, time.Hour)
	invite(t, db, time.Hour)
	all, _ := db.Invites()
	if err := db.Revoke(context.Background(), all[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := db.Revoke(context.Background(), all[0].ID); !errors.Is(err, ErrInvite) {
		t.Errorf("again: %v", err)
	}
	if err := db.AddInvited(context.Background(), record(t, "bob"), code); !errors.Is(err, ErrInvite) {
		t.Errorf("revoked: %v", err)
	}
	if all, err := db.Invites(); err != nil || len(all) != 1 {
		t.Errorf("the other: %v, %v", all, err)
	}
}

// What a crash left between the writes of AddInvited ends as it began: with user
// and used code, or with neither.
func TestInviteAfterCrash(t *testing.T) {
	for _, added := range []bool{true, false} {
		db, dir := openDB(t, "")
		ctx := context.Background()
		code := invite(t, db, time.Hour)
		path := filepath.Join(dir, invitesName)
		file, _ := os.ReadFile(path)
		if err := os.WriteFile(path, []byte(strings.Replace(string(file), ",,", ",bob,", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if added {
			if err := os.WriteFile(filepath.Join(dir, fileName), []byte(record(t, "bob").String()+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			// Without bob, nobody could tell that the code is used.
			if _, err := db.Remove(ctx, record(t, "bob").Name, nil); err != nil {
				t.Fatal(err)
			}
		}
		err := db.AddInvited(ctx, record(t, "carol"), code)
		if added != errors.Is(err, ErrInvite) || !added && err != nil {
			t.Errorf("with bob added: %v: %v", added, err)
		}
	}
}

func TestBrokenInvites(t *testing.T) {
	db, dir := openDB(t, "")
	invite(t, db, time.Hour)
	f, err := os.OpenFile(filepath.Join(dir, invitesName), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "# by hand\n\nx\n")
	f.Close()
	code := invite(t, db, time.Hour)
	all, err := db.Invites()
	if len(all) != 2 || err == nil || !strings.Contains(err.Error(), invitesName+", line 4") {
		t.Errorf("%v, %v", all, err)
	}
	if err := db.AddInvited(context.Background(), record(t, "bob"), code); err != nil {
		t.Error(err)
	}
	if file, _ := os.ReadFile(filepath.Join(dir, invitesName)); !strings.Contains(string(file), "# by hand\n") || !strings.Contains(string(file), "x\n") {
		t.Errorf("lines were lost:\n%s", file)
	}
}

func FuzzInvite(f *testing.F) {
	f.Add(strings.Repeat("0", 64) + ",2026-11-23T08:46:42Z,,note, more")
	f.Add(strings.Repeat("0f", 32) + ",2026-11-23T08:46:42+01:00,bob,")
	f.Add("x,y")
	f.Fuzz(func(t *testing.T, line string) {
		i, err := parseInvite(line)
		if err != nil {
			return
		}
		again, err := parseInvite(i.String())
		if err != nil || again.String() != i.String() || again.ID != i.ID {
			t.Errorf("%q is read as %q: %v", line, i, err)
		}
	})
}
