// Package disktest has a disk in memory that records what is done to it, and
// gives every state that POSIX lets a crash leave of it.
//
// The model: content and names are durable when they were there before an fsync,
// of the file or the directory, that has ended with success. Until then each
// 512-octet sector of a write, the growth of the file, and each name that is made
// or removed is durable or not, independently of all others. A rename is a
// name made in one directory and one removed from another. What an fsync that
// failed should have made durable stays uncertain for ever. A file that was made without
// a name is lost if a name is durable that it has got, but not, by an fsync of the file,
// that it has one.
package disktest

import (
	"errors"
	"io/fs"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"xm/internal/disk"
)

// ErrKilled is a fault that stands for the end of the process: nothing was done.
var ErrKilled = errors.New("the process was killed")

// Disk is a disk in memory. Its fields are set before it is used.
type Disk struct {
	// Ignored, if not nil, tells for the place of the program that syncs, as
	// "file.go:line", that nothing is to come of it. If it never tells so, Crashes has
	// nothing to check that is not checked without it.
	Ignored func(site string) bool

	// Quick has Crashes try less.
	Quick bool
	// Named has no files without a name (disk.Dir.CreateUnnamed).
	Named bool

	asked  atomic.Pointer[func(op, name string) error] // see SetFault
	during atomic.Pointer[func(name string)]           // see SetDuring

	mu      sync.Mutex
	inodes  []*inode // by number
	log     []event
	ticks   int64
	synced  map[string]int
	settled int // events before Settle
	ignored int // syncs of which nothing came
}

type inode struct {
	mode    fs.FileMode
	content []byte
	names   map[string]int // of a directory
	changed time.Time
	unnamed bool // it was made without a name
	linked  bool // it is known that it has got one
}

// New returns an empty disk.
func New() *Disk {
	d := &Disk{synced: map[string]int{}}
	d.newInode(fs.ModeDir | 0o700)
	return d
}

// Root is the disk's directory.
func (d *Disk) Root() disk.Dir { return dir{d, 0, "."} }

func (d *Disk) newInode(mode fs.FileMode) int {
	n := &inode{mode: mode}
	if mode.IsDir() {
		n.names = map[string]int{}
	}
	d.touch(n)
	d.inodes = append(d.inodes, n)
	return len(d.inodes) - 1
}

// touch gives every change a time of its own.
func (d *Disk) touch(n *inode) {
	d.ticks++
	n.changed = time.Now().Add(time.Duration(d.ticks))
}

// SetFault has f asked before each operation ("open", "write", "sync", "mkdir",
// "link", "remove") on a name, which fails if f says so; a write that fails has
// written the first half. It may be set while the disk is in use, and may be asked
// by several at once. With nil, nothing fails.
func (d *Disk) SetFault(f func(op, name string) error) { d.asked.Store(&f) }

// SetDuring has f called while a sync of name is under way, as SetFault has.
func (d *Disk) SetDuring(f func(name string)) { d.during.Store(&f) }

func (d *Disk) fault(op, name string) error {
	if f := d.asked.Load(); f != nil && *f != nil {
		return (*f)(op, name)
	}
	return nil
}

// walk finds the directory that a path leads to, and the last name of the path.
func (d *Disk) walk(from int, name string) (in int, last string, err error) {
	if !fs.ValidPath(name) {
		return 0, "", fs.ErrInvalid
	}
	parts := strings.Split(name, "/")
	for _, part := range parts[:len(parts)-1] {
		next, ok := d.inodes[from].names[part]
		if !ok {
			return 0, "", syscall.ENOENT
		}
		if from = next; !d.inodes[from].mode.IsDir() {
			return 0, "", syscall.ENOTDIR
		}
	}
	return from, parts[len(parts)-1], nil
}

// find is the inode at a path.
func (d *Disk) find(from int, name string) (int, error) {
	in, last, err := d.walk(from, name)
	if err != nil || last == "." {
		return in, err
	}
	n, ok := d.inodes[in].names[last]
	if !ok {
		return 0, syscall.ENOENT
	}
	return n, nil
}

// name gives an inode a name, or takes the name away if the inode is none.
func (d *Disk) name(in int, name string, inode int) {
	if inode == none {
		delete(d.inodes[in].names, name)
	} else {
		d.inodes[in].names[name] = inode
	}
	d.touch(d.inodes[in])
	d.log = append(d.log, event{inode: in, pieces: []piece{{inode: in, name: name, target: inode}}})
}

// In the place of an inode.
const (
	none       = -1
	everything = -2 // of a sync
)

func (d *Disk) write(inode int, offset int, p []byte) {
	n := d.inodes[inode]
	n.content = overwrite(n.content, offset, p)
	d.touch(n)
	d.log = append(d.log, event{inode: inode, pieces: sectors(inode, offset, p)})
}

func overwrite(content []byte, offset int, p []byte) []byte {
	if grow := offset + len(p) - len(content); grow > 0 {
		content = append(content, make([]byte, grow)...)
	}
	copy(content[offset:], p)
	return content
}

// sync makes durable what was done to an inode, or to everything, before it began.
func (d *Disk) sync(inode int, name string) error {
	site := caller()
	d.mu.Lock()
	began := len(d.log)
	d.synced[name]++
	d.mu.Unlock()
	if during := d.during.Load(); during != nil && *during != nil {
		(*during)(name)
	}
	err := d.fault("sync", name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == ErrKilled {
		return err
	}
	if err == nil && d.Ignored != nil && d.Ignored(site) {
		d.ignored++
		return nil
	}
	d.log = append(d.log, event{inode: inode, sync: true, began: began, failed: err != nil})
	return err
}

// Synced tells how often a sync of name has begun.
func (d *Disk) Synced(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.synced[name]
}

// caller is the place that syncs, in the packages above.
func caller() string {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		f, more := frames.Next()
		if dir := path.Base(path.Dir(f.File)); dir != "disk" && dir != "disktest" || !more {
			return path.Base(f.File) + ":" + strconv.Itoa(f.Line)
		}
	}
}
