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

	"xm/internal/config"
	"xm/internal/disk"
	"xm/internal/maildir"
	"xm/internal/safefile"
)

// What a backup holds.
const (
	backupConfig = "xm.toml"
	backupData   = "data"
	backupKeys   = "keys"
	backupCert   = "cert.pem"
	backupKey    = "key.pem"
	backupACME   = "acme"
	// partial ends the name of what is being written: what has its own name is
	// complete.
	partial = ".partial"
)

func backup() *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Usage:     "copy a server's settings, keys, users and mail into the new directory DIR",
		ArgsUsage: "DIR",
		Description: "The servers may run meanwhile: every message that was there at the beginning, and has\n" +
			"not been deleted, is in the copy, once, and users.txt is as it was at one moment. On the\n" +
			"file system of the mail, the copy of a message is a hard link, which costs no space:\n" +
			"take DIR to another machine then. DIR appears when it is complete. It holds private\n" +
			"keys.",
		Flags:  []cli.Flag{quietFlag()},
		Action: runBackup,
	}
}

func runBackup(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	to := filepath.Clean(c.Args().First())
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s: %w: a backup is a directory of its own", to, fs.ErrExist)
	}
	b := &copier{c: c, progress: newProgress(c, -1)}
	defer b.progress.finish()
	err = b.publish(to, func(dir string) error {
		if err := putBack(cfg); err != nil {
			return err
		}
		if err := b.tree(cfg.DataDir, filepath.Join(dir, backupData)); err != nil {
			return err
		}
		return b.settings(cfg, dir)
	})
	if err != nil {
		return interrupted(c.Context, err)
	}
	say(c, "%s: %d files", to, b.files)
	return nil
}

// putBack has all messages in their maildrops, after a crash too: the journal is not
// copied. It changes while it is read, and a copy would bring back what was deleted.
func putBack(cfg config.Config) error {
	store, err := maildir.New(cfg.DataDir, cfg.Hostname)
	if err != nil {
		return err
	}
	return errors.Join(store.Recover(), store.Close())
}

// settings copies what is not in the data directory, as far as it exists.
func (b *copier) settings(cfg config.Config, dir string) error {
	for from, to := range map[string]string{cfg.File: backupConfig, cfg.TLS.Cert: backupCert, cfg.TLS.Key: backupKey} {
		if from == "" {
			continue
		}
		if err := b.file(from, filepath.Join(dir, to)); err != nil {
			return err
		}
	}
	if _, err := os.Stat(cfg.ACMEState()); cfg.TLS.ACME && err == nil {
		if err := b.tree(cfg.ACMEState(), filepath.Join(dir, backupACME)); err != nil {
			return err
		}
	}
	return b.keys(cfg.Regd.Keys, filepath.Join(dir, backupKeys))
}

// keys copies a directory of keys: the files alone that are ones.
func (b *copier) keys(from, to string) error {
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := b.mkdir(from, to); err != nil {
		return err
	}
	return b.keyFiles(from, to)
}

func (b *copier) keyFiles(from, to string) error {
	for _, pattern := range []string{"*.priv", "*.pub"} {
		files, err := filepath.Glob(filepath.Join(from, pattern))
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := b.file(f, filepath.Join(to, filepath.Base(f))); err != nil {
				return err
			}
		}
	}
	former := filepath.Join(from, "former")
	if _, err := os.Stat(former); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return b.tree(former, filepath.Join(to, "former"))
}

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
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	err := fill(tmp)
	if err == nil {
		err = syncAll(tmp)
	}
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	return disk.At(parent).Sync()
}

// syncAll makes all files of a file system durable.
func syncAll(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
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
	return b.contents(from, to)
}

func (b *copier) contents(from, to string) error {
	if _, err := os.Stat(filepath.Join(from, "cur")); err == nil {
		return b.maildir(from, to)
	}
	return b.entries(from, func(e fs.DirEntry) error {
		from, to := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if e.IsDir() {
			return b.tree(from, to)
		}
		return ignoreGone(b.file(from, to)) // a temporary file, say
	})
}

// maildir copies new before cur: other programs move messages from there to
// there. What moves within cur meanwhile, because its flags change, is looked
// for again.
func (b *copier) maildir(from, to string) error {
	have := map[string]bool{}
	for _, sub := range []string{"new", "cur"} {
		if err := b.mkdir(filepath.Join(from, sub), filepath.Join(to, sub)); err != nil {
			return err
		}
		for again := true; again; {
			again = false
			err := b.entries(filepath.Join(from, sub), func(e fs.DirEntry) error {
				id, _, _ := strings.Cut(e.Name(), ":")
				if have[id] {
					return nil
				}
				err := b.message(filepath.Join(from, sub, e.Name()), filepath.Join(to, sub, e.Name()))
				if errors.Is(err, fs.ErrNotExist) { // deleted, or moved
					again = true
					return nil
				}
				have[id] = err == nil
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	if err := b.mkdir(filepath.Join(from, "tmp"), filepath.Join(to, "tmp")); err != nil {
		return err
	}
	return b.entries(from, func(e fs.DirEntry) error { // what the original left
		if e.IsDir() {
			return nil
		}
		return ignoreGone(b.message(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())))
	})
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
		if err := b.c.Context.Err(); err != nil {
			return err
		}
		if !e.IsDir() && !e.Type().IsRegular() || strings.HasPrefix(e.Name(), safefile.TempPrefix) || maildir.IsJournal(e.Name()) {
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
