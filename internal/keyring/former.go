package keyring

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"xm/internal/disk"
	"xm/internal/safefile"
)

const (
	formerDir  = "former"
	formerDate = "20060102T150405Z"
)

// former is a key in former/, whose files are called after stem().
type former struct {
	name string // whose key it is
	date string
	n    int // of those with the same date, from 1
}

func (f former) stem() string {
	stem := f.name + "." + f.date
	if f.n > 1 {
		stem += "-" + strconv.Itoa(f.n)
	}
	return path.Join(formerDir, stem)
}

// parseFormer is the reverse of stem. It reads from the end, since a name may
// look like one with a date.
func parseFormer(stem string) (f former, ok bool) {
	at := strings.LastIndexByte(stem, '.')
	if at < 0 {
		return f, false
	}
	date, n, numbered := strings.Cut(stem[at+1:], "-")
	f = former{name: stem[:at], date: date, n: 1}
	if numbered {
		f.n, _ = strconv.Atoi(n)
	}
	_, err := time.Parse(formerDate, date)
	return f, err == nil && checkName(f.name) == nil && path.Join(formerDir, stem) == f.stem()
}

// formers finds the former keys, of one name or of all (""): those of one name
// stand together, the newest first.
func (r *Ring) formers(name string) ([]former, error) {
	entries, err := disk.ReadDir(r.root, formerDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []former
	for _, e := range entries {
		suffix := path.Ext(e.Name)
		f, ok := parseFormer(strings.TrimSuffix(e.Name, suffix))
		if ok && (suffix == pubSuffix || suffix == privSuffix) && (name == "" || f.name == name) && !slices.Contains(found, f) {
			found = append(found, f)
		}
	}
	slices.SortFunc(found, func(a, b former) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(b.date, a.date), cmp.Compare(b.n, a.n))
	})
	return found, nil
}

// newFormer makes former/, and finds a stem that is free in it. The directory
// is locked.
func (r *Ring) newFormer(name string) (string, error) {
	if err := safefile.Mkdir(r.root, formerDir, 0o700); err != nil {
		return "", err
	}
	f := former{name: name, date: time.Now().UTC().Format(formerDate), n: 1}
	for ; ; f.n++ {
		free := true
		for _, suffix := range []string{privSuffix, pubSuffix} {
			_, err := r.root.Lstat(f.stem() + suffix)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", err // too long, say
			}
			free = free && err != nil
		}
		if free {
			return f.stem(), nil
		}
	}
}

// keep gives the files of a name a second name in former/, durably: from there
// on, the first may be replaced or removed. It returns the path in former/ of the
// first file that is there, or "". The directory is locked.
func (r *Ring) keep(name string, suffixes ...string) (kept string, err error) {
	suffixes = slices.DeleteFunc(suffixes, func(suffix string) bool {
		_, err := r.root.Lstat(name + suffix)
		return errors.Is(err, fs.ErrNotExist)
	})
	if len(suffixes) == 0 {
		return "", nil
	}
	stem, err := r.newFormer(name)
	if err != nil {
		return "", err
	}
	for _, suffix := range suffixes {
		if err := r.link(name+suffix, stem+suffix); err != nil {
			return "", fmt.Errorf("%s: %w", r.path(name+suffix), err)
		}
	}
	return r.path(stem + suffixes[0]), disk.SyncDir(r.root, formerDir)
}

// link gives a file a second name. A symbolic link would lead nowhere from
// another directory.
func (r *Ring) link(from, to string) error {
	st, err := r.root.Lstat(from)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return errors.New("it is not a regular file, and can't be moved to " + formerDir)
	}
	err = r.root.Link(from, to)
	if !errors.Is(err, syscall.EPERM) {
		return err
	}
	data, err := r.read(from, "") // FAT has no hard links, so to is a copy there
	if err != nil {
		return err
	}
	return safefile.WriteNew(r.root, to, data, st.Mode().Perm())
}
