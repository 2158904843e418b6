package commands

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
	"xm/internal/maildir"
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
	for _, from := range []string{cfg.DataDir, cfg.ACMEState()} {
		if inside, err := within(filepath.Dir(to), from); err != nil {
			return err
		} else if inside {
			return fmt.Errorf("%s is in %s, which is to be copied: name another place", to, from)
		}
	}
	b := &copier{c: c, progress: newProgress(c, -1)}
	defer b.progress.finish()
	err = b.publish(to, func(dir string) error {
		if err := putBack(cfg, warn(c)); err != nil {
			return err
		}
		data := filepath.Join(dir, backupData)
		if err := b.mkdir(cfg.DataDir, data); err != nil {
			return err
		}
		if err := b.data(cfg.DataDir, data); err != nil {
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

// within reports whether a directory is another one, or below it.
func within(dir, other string) (bool, error) {
	of, err := os.Stat(other)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return false, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return false, err
	}
	for {
		st, err := os.Stat(dir)
		if err != nil || os.SameFile(st, of) {
			return err == nil, err
		}
		if dir == filepath.Dir(dir) {
			return false, nil
		}
		dir = filepath.Dir(dir)
	}
}

// putBack has all messages in their maildrops, after a crash too: the journal is not
// copied. It changes while it is read, and a copy would bring back what was deleted.
func putBack(cfg config.Config, trouble func(error)) error {
	store, err := maildir.New(cfg.DataDir, cfg.Hostname)
	if err != nil {
		return err
	}
	store.Trouble = trouble
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
