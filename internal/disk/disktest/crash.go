package disktest

import (
	"fmt"
	"hash/maphash"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// event is what was done at one moment.
type event struct {
	inode  int
	pieces []piece // each durable or not for itself
	sync   bool    // an fsync of inode, or of everything, that began before event number began
	began  int
	failed bool
	note   any // of Note
}

// syncs reports whether the event is a sync of an inode.
func (e event) syncs(inode int) bool { return e.sync && (e.inode == inode || e.inode == everything) }

// piece is the smallest thing that a crash keeps or loses.
type piece struct {
	inode  int
	name   string // of a directory: becomes that of target
	target int
	offset int // of a file: there it has data, and at least that length
	data   []byte
	linked bool // of a file: it has got a name
}

const sectorSize = 512

// sectors splits a write. The growth of the file is a piece of its own: a
// file may have got its length and not its content.
func sectors(inode, offset int, p []byte) []piece {
	pieces := []piece{{inode: inode, offset: offset + len(p)}}
	for len(p) > 0 {
		n := min(len(p), sectorSize-offset%sectorSize)
		pieces = append(pieces, piece{inode: inode, offset: offset, data: slices.Clone(p[:n])})
		offset, p = offset+n, p[n:]
	}
	return pieces
}

// Note puts a note into the record: what was promised by now.
func (d *Disk) Note(note any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, event{note: note})
}

// effort is what Crashes tries at each moment: every combination of up to 12
// pieces, else 1024. In a short test, under the race detector say, and for a quick
// look, it is less.
func (d *Disk) effort() (exhaustive, samples int) {
	switch {
	case testing.Short():
		return 6, 1 << 6
	case d.Quick:
		return 8, 1 << 8
	}
	return 12, 1 << 10
}

// Crashes calls check for each state that a crash may leave, at each moment of
// the record since Settle, with the notes that were made before. A state that was checked
// with the same notes is not checked again. It ends with the first error, and
// returns how many states were checked.
func (d *Disk) Crashes(seed uint64, check func(after *Disk, notes []any) error) (states int, err error) {
	if d.Ignored != nil && d.ignored == 0 {
		return 0, nil
	}
	d = d.recorded()
	random := rand.New(rand.NewPCG(seed, 0))
	seen := map[uint64]bool{}
	hash := maphash.MakeSeed()
	var notes []any
	for now := range len(d.log) + 1 {
		if now > 0 {
			if e := d.log[now-1]; e.note != nil {
				notes = append(notes, e.note)
			} else if e.sync {
				continue // it makes no new states possible
			}
		}
		if now < d.settled {
			continue
		}
		pieces, sure := d.pending(now)
		for _, kept := range d.choices(random, sure) {
			state := d.after(pieces, kept)
			key := state.key(hash, len(notes))
			if seen[key] {
				continue
			}
			seen[key] = true
			states++
			if err := check(state, notes); err != nil {
				return states, fmt.Errorf("crash after event %d of %d, %v of %d pieces kept: %w", now, len(d.log), count(kept), len(kept), err)
			}
		}
	}
	return states, nil
}

// recorded is the record by now. A program may go on.
func (d *Disk) recorded() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Disk{inodes: slices.Clone(d.inodes), log: slices.Clone(d.log), settled: d.settled}
}

// pending lists the pieces of the first events, and which of them are durable.
func (d *Disk) pending(now int) (pieces []piece, sure []bool) {
	lost := make([]int, len(d.inodes)) // by inode: events before that number never will be
	durable := make([]bool, now)
	for i := range now {
		e := d.log[i]
		if !e.sync {
			continue
		}
		for inode := range lost {
			if e.failed && e.syncs(inode) {
				lost[inode] = i // also what was done while it was under way
			}
		}
		for j, done := range d.log[:e.began] {
			if !e.failed && len(done.pieces) > 0 && e.syncs(done.inode) && j >= lost[done.inode] {
				durable[j] = true
			}
		}
	}
	for i := range now {
		for _, p := range d.log[i].pieces {
			pieces, sure = append(pieces, p), append(sure, durable[i])
		}
	}
	return pieces, sure
}

// choices are the combinations of pieces to be kept: the sure ones always.
func (d *Disk) choices(random *rand.Rand, sure []bool) [][]bool {
	var open []int
	for i, s := range sure {
		if !s {
			open = append(open, i)
		}
	}
	choose := func(keep func(i int) bool) []bool {
		kept := slices.Clone(sure)
		for i, at := range open {
			kept[at] = keep(i)
		}
		return kept
	}
	var all [][]bool
	exhaustive, samples := d.effort()
	if len(open) <= exhaustive {
		for bits := range 1 << len(open) {
			all = append(all, choose(func(i int) bool { return bits>>i&1 == 1 }))
		}
		return all
	}
	for _, v := range []bool{false, true} {
		all = append(all, choose(func(int) bool { return v }))
		for only := range open {
			all = append(all, choose(func(i int) bool { return v == (i != only) }))
		}
	}
	for len(all) < samples {
		share := []float64{0.1, 0.5, 0.9}[random.IntN(3)]
		all = append(all, choose(func(int) bool { return random.Float64() < share }))
	}
	return all
}

func count(kept []bool) (n int) {
	for _, k := range kept {
		if k {
			n++
		}
	}
	return n
}

// after is the disk that holds the kept pieces, and no record.
func (d *Disk) after(pieces []piece, kept []bool) *Disk {
	state := &Disk{synced: map[string]int{}}
	long := time.Now().Add(-time.Hour) // at rest
	for _, n := range d.inodes {
		fresh := &inode{mode: n.mode, changed: long, unnamed: n.unnamed}
		if n.mode.IsDir() {
			fresh.names = map[string]int{}
		}
		state.inodes = append(state.inodes, fresh)
	}
	for i, p := range pieces {
		if !kept[i] {
			continue
		}
		n := state.inodes[p.inode]
		switch {
		case p.linked:
			n.linked = true
		case p.name == "":
			n.content = overwrite(n.content, p.offset, p.data)
		case p.target == none:
			delete(n.names, p.name)
		default:
			n.names[p.name] = p.target
		}
	}
	for _, n := range state.inodes {
		maps.DeleteFunc(n.names, func(_ string, target int) bool {
			return state.inodes[target].unnamed && !state.inodes[target].linked
		})
	}
	return state
}

// Continue gives a disk that holds what d does, durably, after notes, and records
// what is done from now on.
func (d *Disk) Continue(notes []any) *Disk {
	next := &Disk{synced: map[string]int{}}
	for i, n := range d.inodes {
		next.inodes = append(next.inodes, &inode{mode: n.mode, content: slices.Clone(n.content), names: maps.Clone(n.names), changed: n.changed})
		e := event{inode: i, pieces: []piece{{inode: i, data: slices.Clone(n.content)}}}
		for _, name := range slices.Sorted(maps.Keys(n.names)) {
			e.pieces = append(e.pieces, piece{inode: i, name: name, target: n.names[name]})
		}
		next.log = append(next.log, e)
	}
	for _, n := range notes {
		next.Note(n)
	}
	next.Settle()
	return next
}

// key tells states apart, by what can be reached.
func (d *Disk) key(seed maphash.Seed, notes int) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	fmt.Fprintln(&h, notes)
	var visit func(n int, name string)
	visit = func(n int, name string) {
		fmt.Fprintf(&h, "%q %d\n", name, len(d.inodes[n].content))
		h.Write(d.inodes[n].content)
		if d.inodes[n].mode&fs.ModeDir == 0 {
			return
		}
		for _, below := range slices.Sorted(maps.Keys(d.inodes[n].names)) {
			visit(d.inodes[n].names[below], below)
		}
		h.WriteString("end\n")
	}
	visit(0, ".")
	return h.Sum64()
}

// Settle makes all that was done durable.
func (d *Disk) Settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n := range d.inodes {
		d.log = append(d.log, event{inode: n, sync: true, began: len(d.log)})
	}
	d.settled = len(d.log)
}
