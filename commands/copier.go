package commands

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"xm/internal/disk"
	"xm/internal/maildir"
	"xm/internal/safefile"
)

// copier copies files, with their modes and, for root, their owners.
type copier struct {
	c        *cli.Context
	progress *progress
	files    int
}

// publish lets fill make a directory, which gets its name when it is complete
// and durable.
func (b *copier) publish(dir string, fill func(dir string) error) error {
	tmp := dir + partial
	if err := os.Mkdir(tmp, 0o700); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: of a backup that is at work, or was broken off: then remove it", err)
	} else if err != nil {
		return err
	}
	err := durably(tmp, func() error { return fill(tmp) })
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	parent, err := disk.OpenDir(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

// durably makes durable what fill writes below a directory. That is opened before: a
// sync reports the errors since its file was opened, and no others.
func durably(dir string, fill func() error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := fill(); err != nil {
		return err
	}
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// tree copies a directory.
func (b *copier) tree(from, to string) error {
	if err := b.mkdir(from, to); err != nil {
		return err
	}
	return b.contents(from, to, b.tree)
}

// contents copies what is in a directory, and the directories there as sub says.
func (b *copier) contents(from, to string, sub func(from, to string) error) error {
	return b.entries(from, func(e fs.DirEntry) error {
		from, to := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if e.IsDir() {
			return sub(from, to)
		}
		return ignoreGone(b.file(from, to)) // a temporary file, say
	})
}

// data copies what is in a data directory, which is no Maildir, though a user may be
// called cur.
func (b *copier) data(from, to string) error {
	if err := b.contents(from, to, b.drop); err != nil {
		return err
	}
	return b.links(from, to)
}

// links copies the symbolic links to maildrops, and says which lead out of the data
// directory: what is there is not copied.
func (b *copier) links(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type() != fs.ModeSymlink {
			continue
		}
		link := filepath.Join(from, e.Name())
		target, err := os.Readlink(link)
		if err == nil {
			err = os.Symlink(target, filepath.Join(to, e.Name()))
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(target) {
			say(b.c, "warning: %s leads to %s, which is not copied", link, target)
		}
	}
	return nil
}

// drop copies a directory below a data directory, which may be a Maildir.
func (b *copier) drop(from, to string) error {
	if err := b.mkdir(from, to); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(from, "cur")); err == nil {
		return b.maildir(from, to)
	}
	return b.contents(from, to, b.drop)
}

// maildir copies new before cur, because other programs move messages that way, and
// then new again: one that is marked as unread moves back. What moves on before it
// could be copied, within cur because its flags change, say, is looked for again.
func (b *copier) maildir(from, to string) error {
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := b.mkdir(filepath.Join(from, sub), filepath.Join(to, sub)); err != nil {
			return err
		}
	}
	have := map[string]bool{}
	for again := true; again; {
		again = false
		for _, sub := range []string{"new", "cur", "new"} {
			gone, err := b.messages(filepath.Join(from, sub), filepath.Join(to, sub), have)
			if err != nil {
				return err
			}
			again = again || gone
		}
	}
	return b.entries(from, func(e fs.DirEntry) error {
		from, to := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch {
		case !e.IsDir(): // what the original left
			return ignoreGone(b.message(from, to))
		case e.Name() == "new" || e.Name() == "cur" || e.Name() == "tmp":
			return nil
		}
		return b.drop(from, to) // what fsck has set aside, and the folders of other programs
	})
}

// messages copies those of a directory that the copy does not have yet, and reports
// whether one was gone, deleted or moved, before it could be copied.
func (b *copier) messages(from, to string, have map[string]bool) (gone bool, err error) {
	err = b.entries(from, func(e fs.DirEntry) error {
		id, _, _ := strings.Cut(e.Name(), ":")
		if have[id] {
			return nil
		}
		add := b.message
		if e.IsDir() { // which has no business there
			add = b.drop
		}
		err := add(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			gone = true
			_, err = os.Stat(to) // or it is the copy that is gone
			return err
		}
		have[id] = err == nil
		return err
	})
	return gone, err
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (b *copier) entries(from string, f func(fs.DirEntry) error) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if b.c.Context.Err() != nil {
			return errInterrupted
		}
		if !e.IsDir() && !e.Type().IsRegular() || strings.HasPrefix(e.Name(), safefile.TempPrefix) || e.Name() == maildir.JournalName || e.Name() == disk.LostAndFound {
			continue
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

func (b *copier) mkdir(from, to string) error {
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, st.Mode().Perm()); err != nil {
		return err
	}
	return b.giveAway(to, st)
}

// giveAway makes the owner of like the owner of a file, if this process may.
func (b *copier) giveAway(path string, like fs.FileInfo) error {
	if owner, ok := like.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	}
	return nil
}

// message links a message, which never changes, or copies it.
func (b *copier) message(from, to string) error {
	err := os.Link(from, to)
	if err == nil {
		b.files++
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return err
	}
	return b.file(from, to) // on another file system, or one without links
}

// file copies a file, which may be replaced meanwhile, but not changed.
func (b *copier) file(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, st.Mode().Perm())
	if err != nil {
		return err
	}
	defer out.Close() // again, where it succeeded
	if _, err := io.Copy(out, countedReader{in, b.progress}); err != nil {
		return err
	}
	if err := errors.Join(out.Chmod(st.Mode().Perm()), os.Chtimes(to, st.ModTime(), st.ModTime()), b.giveAway(to, st), out.Close()); err != nil {
		return err
	}
	b.files++
	return nil
}
