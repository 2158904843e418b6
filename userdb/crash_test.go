package userdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"xm/internal/disk/disktest"
)

// A user who was added survives a crash at any moment, and none who was there
// before is lost or damaged.
func TestCrash(t *testing.T) {
	if err := crash(t, nil); err != nil {
		t.Error(err)
	}
	if crash(t, func(string) bool { return true }) == nil {
		t.Error("nobody notices when nothing is synced")
	}
}

func crash(t *testing.T, ignored func(string) bool) error {
	d := disktest.New()
	d.Ignored = ignored
	db := onDisk(t, d)
	var names []string
	for _, n := range []string{"alice", "bob", "carol"} {
		names = append(names, n)
		if err := db.Add(context.Background(), record(t, n)); err != nil {
			t.Fatal(err)
		}
		d.Note(n)
	}
	states, err := d.Crashes(1, func(after *disktest.Disk, added []any) error {
		records, err := onDisk(t, after).Users()
		if err != nil {
			return err
		}
		for i, r := range records {
			if i >= len(names) || r.Name.String() != names[i] {
				return errors.New("others than those who were added")
			}
		}
		if len(records) < len(added) {
			return fmt.Errorf("%d users, %d of %v were added", len(records), len(added), slices.Clone(names))
		}
		return nil
	})
	t.Log(states, "states")
	return err
}

// onDisk opens the users on a disk in memory.
func onDisk(t *testing.T, d *disktest.Disk) *DB {
	db := &DB{root: d.Root(), log: slog.New(slog.DiscardHandler), writing: make(chan struct{}, 1)}
	db.sessions.init()
	return db
}
