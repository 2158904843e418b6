package pop3d

import "fmt"

// drop is the maildrop of a session: a mailbox and which of its messages are
// marked as deleted.
type drop struct {
	Mailbox
	deleted []uint64 // a bit for each message; nil as long as there is none
	left    int      // messages that are not deleted
	octets  int64    // their size
}

func newDrop(m Mailbox) *drop {
	d := &drop{Mailbox: m}
	d.reset()
	return d
}

// reset unmarks all.
func (d *drop) reset() {
	d.deleted, d.left, d.octets = nil, d.Len(), 0
	for i := range d.left {
		d.octets += d.Size(i)
	}
}

func (d *drop) isDeleted(i int) bool { return d.deleted != nil && d.deleted[i/64]>>(i%64)&1 == 1 }

func (d *drop) hasDeleted() bool { return d.left < d.Len() }

// mark marks a message that is not marked yet.
func (d *drop) mark(i int) {
	if d.deleted == nil {
		d.deleted = make([]uint64, (d.Len()+63)/64)
	}
	d.deleted[i/64] |= 1 << (i % 64)
	d.left--
	d.octets -= d.Size(i)
}

// marked lists the messages to be deleted.
func (d *drop) marked() []int {
	var all []int
	for i := range d.Len() {
		if d.isDeleted(i) {
			all = append(all, i)
		}
	}
	return all
}

func (d *drop) summary() string { return fmt.Sprintf("%d messages (%d octets)", d.left, d.octets) }
