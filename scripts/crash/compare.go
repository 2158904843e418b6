package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// compare looks at the maildrops on the disk, and clears them.
func (b *bench) compare(p *promises) (c counts, err error) {
	there := map[message]int{}
	for i := range users {
		for _, sub := range []string{"new", "cur"} {
			if err := b.collect(user(i), sub, there); err != nil {
				return c, err
			}
		}
	}
	for m := range p.accepted {
		c.accepted++
		if _, asked := p.deleting[m]; there[m] == 0 && !asked {
			return c, fmt.Errorf("message %s of %s was accepted and is lost", m.id, m.user)
		}
	}
	for m, done := range p.deleting {
		if done {
			c.deleted++
		}
		if done && there[m] > 0 {
			return c, fmt.Errorf("message %s of %s was deleted and is back", m.id, m.user)
		}
	}
	for m := range there {
		if !p.accepted[m] {
			c.unanswered++
		}
	}
	return c, nil
}

// collect reads and removes the messages of a directory.
func (b *bench) collect(user, sub string, there map[message]int) error {
	files, err := filepath.Glob(filepath.Join(b.dir, "data", user, sub, "*"))
	if err != nil {
		return err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		id, whole := readID(string(content))
		if !whole {
			return fmt.Errorf("%s holds a part of message %q", file, id)
		}
		there[message{user, id}]++
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}
