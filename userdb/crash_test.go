package userdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"testing"
	"time"

	"xm/internal/disk"
	"xm/internal/disk/disktest"
	"xm/internal/safefile"
)

// history is a change of each kind, one after the other.
type history struct {
	t       *testing.T
	disk    *disktest.Disk
	db      *DB
	code    string              // of the invite that carol comes with
	content []map[string]string // of the files, before the first change and after each
}

// followed are the files whose every content is one of those in history.content.
var followed = []string{fileName, settingsName, BrokenLines}

func (h *history) happen() {
	ctx := context.Background()
	broken := ""
	h.content = append(h.content, h.read(h.disk))
	for _, change := range []func() error{
		func() error { return h.db.Add(ctx, record(h.t, "alice")) },
		func() error { return h.db.Add(ctx, record(h.t, "bob")) },
		func() error {
			_, err := h.db.Replace(ctx, name(h.t, "alice"), func(Record) (Record, error) { return record(h.t, "alice"), nil })
			return err
		},
		func() error {
			_, err := h.db.Set(ctx, name(h.t, "bob"), func(s *Settings) error { s.Disabled = true; return nil })
			return err
		},
		func() (err error) {
			h.code, err = h.db.NewInvite(ctx, time.Hour, "")
			return err
		},
		func() error { return h.db.AddInvited(ctx, record(h.t, "carol"), h.code) },
		func() error {
			broken = h.read(h.disk)[fileName] + "nonsense\n"
			return safefile.Replace(h.disk.Root(), fileName, []byte(broken), 0o600)
		},
		func() error {
			_, err := h.db.SetAside(ctx)
			return err
		},
		func() error {
			_, err := h.db.Remove(ctx, name(h.t, "bob"), nil)
			return err
		},
	} {
		if err := change(); err != nil {
			h.t.Fatal(err)
		}
		h.content = append(h.content, h.read(h.disk))
		h.disk.Note(len(h.content) - 1)
	}
}

func (h *history) read(d *disktest.Disk) map[string]string {
	all := map[string]string{}
	for _, file := range followed {
		b, err := disk.ReadFile(d.Root(), file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			h.t.Fatal(err)
		}
		all[file] = string(b)
	}
	return all
}

// check finds each file as it was after the last change that was noted, or as the next
// one makes it.
func (h *history) check(after *disktest.Disk, notes []any) error {
	now := h.read(after)
	for _, file := range followed {
		if now[file] != h.content[len(notes)][file] && (len(notes)+1 == len(h.content) || now[file] != h.content[len(notes)+1][file]) {
			return fmt.Errorf("after %d changes, %s holds %q", len(notes), file, now[file])
		}
	}
	return h.checkInvite(after)
}

// checkInvite finds the code good once.
func (h *history) checkInvite(after *disktest.Disk) error {
	db := onDisk(h.t, after)
	invites, err := db.Invites()
	if err != nil || len(invites) == 0 {
		return err
	}
	_, used, err := db.Lookup(name(h.t, "carol"))
	if err != nil {
		return err
	}
	if err := db.AddInvited(context.Background(), record(h.t, "dave"), h.code); used == (err == nil) {
		return fmt.Errorf("carol exists: %v; dave comes with the same code: %v", used, err)
	}
	return nil
}

// A change survives a crash at any moment once it has succeeded, and is there as a whole
// or not before.
func TestCrash(t *testing.T) {
	if err := crash(t, nil); err != nil {
		t.Error(err)
	}
	if crash(t, func(string) bool { return true }) == nil {
		t.Error("nobody notices when nothing is synced")
	}
}

func crash(t *testing.T, ignored func(string) bool) error {
	h := &history{t: t, disk: disktest.New()}
	h.disk.Ignored = ignored
	h.db = onDisk(t, h.disk)
	h.happen()
	states, err := h.disk.Crashes(1, h.check)
	t.Log(states, "states")
	return err
}

// Lines that can't be set aside stay.
func TestSetAsideOnFullDisk(t *testing.T) {
	d := disktest.New()
	db := onDisk(t, d)
	const lines = "nonsense\n"
	if err := safefile.Replace(d.Root(), fileName, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	writes := 0
	d.SetFault(func(op, _ string) error {
		if op == "write" {
			if writes++; writes == 1 {
				return errors.New("no room")
			}
		}
		return nil
	})
	_, err := db.SetAside(context.Background())
	d.SetFault(nil)
	content, readErr := disk.ReadFile(d.Root(), fileName)
	if err == nil || readErr != nil || string(content) != lines {
		t.Errorf("%v, %v; the file holds %q", err, readErr, content)
	}
}

// Nobody who is added as disabled is ever there without, and all are added at once.
func TestDisabledFromTheBeginning(t *testing.T) {
	d := disktest.New()
	db := onDisk(t, d)
	var all []Entry
	for _, name := range []string{"alice", "bob", "carol"} {
		all = append(all, Entry{Record: record(t, name), Disabled: name != "bob"})
	}
	if refused, err := db.AddAll(context.Background(), all, false); refused != nil || err != nil {
		t.Fatal(refused, err)
	}
	const want = "alice disabled\ncarol disabled\n"
	if got, err := disk.ReadFile(d.Root(), settingsName); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	states, err := d.Crashes(1, func(after *disktest.Disk, _ []any) error {
		users, _ := disk.ReadFile(after.Root(), fileName)
		settings, _ := disk.ReadFile(after.Root(), settingsName)
		if len(users) > 0 && string(settings) != want {
			return fmt.Errorf("the settings are %q", settings)
		}
		return nil
	})
	if err != nil || states < 2 {
		t.Errorf("%d states: %v", states, err)
	}
}

// onDisk opens the users on a disk in memory.
func onDisk(t *testing.T, d *disktest.Disk) *DB {
	db := &DB{root: d.Root(), log: slog.New(slog.DiscardHandler), writing: make(chan struct{}, 1)}
	db.sessions.init()
	return db
}
