package commands

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
	"xm/internal/disk"
	"xm/internal/safefile"
)

func restore() *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "put back what xm backup copied into the directory DIR",
		ArgsUsage: "DIR",
		Description: "xm.toml is put where --config says, if there is none yet, and the rest where xm.toml\n" +
			"says: the data directory must be empty or missing. Nothing is overwritten; keys and\n" +
			"certificate stay as they are where there are some. The servers must not run.",
		Flags:  []cli.Flag{quietFlag()},
		Action: runRestore,
	}
}

func runRestore(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	from := c.Args().First()
	if _, err := os.Stat(filepath.Join(from, backupData)); err != nil {
		return fmt.Errorf("%s is no backup: %w", from, err)
	}
	b := &copier{c: c, progress: newProgress(c, -1)}
	defer b.progress.finish()
	if err := b.restoreConfig(from); err != nil {
		return err
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	if err := b.restoreAll(cfg, from); err != nil {
		return err
	}
	say(c, "%d files are restored, the mail to %s", b.files, cfg.DataDir)
	return nil
}

// restoreConfig puts xm.toml back where none is in force.
func (b *copier) restoreConfig(from string) error {
	to := b.c.String("config")
	if to == "" {
		if cfg, err := config.Load(""); err != nil || cfg.File != "" {
			return err
		}
		to = backupConfig
	}
	if err := safefile.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return b.missing(filepath.Join(from, backupConfig), to)
}

// missing copies a file that the backup has, and that is not there.
func (b *copier) missing(from, to string) error {
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := durably(filepath.Dir(to), func() error { return b.file(from, to) })
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	say(b.c, "%s stays as it is", to)
	return nil
}

func (b *copier) restoreAll(cfg config.Config, from string) error {
	entries, err := os.ReadDir(cfg.DataDir)
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != disk.LostAndFound }) {
		return fmt.Errorf("the data directory %s is not empty", cfg.DataDir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := b.restoreData(filepath.Join(from, backupData), cfg.DataDir); err != nil {
		return fmt.Errorf("%w\nthe data directory %s has a part of the backup: empty it before you try again", err, cfg.DataDir)
	}
	if err := b.restoreKeys(filepath.Join(from, backupKeys), cfg.Regd.Keys); err != nil {
		return err
	}
	if err := b.restoreACME(cfg, filepath.Join(from, backupACME)); err != nil {
		return err
	}
	for saved, to := range map[string]string{backupCert: cfg.TLS.Cert, backupKey: cfg.TLS.Key} {
		if to == "" {
			continue
		}
		if err := b.missing(filepath.Join(from, saved), to); err != nil {
			return err
		}
	}
	return nil
}

// restoreData fills a directory, which may be a file system of its own.
func (b *copier) restoreData(from, to string) error {
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := safefile.MkdirAll(to, st.Mode().Perm()); err != nil {
		return err
	}
	return durably(to, func() error { return errors.Join(b.giveAway(to, st), b.data(from, to)) })
}

// restoreKeys puts the keys back where there are none: two servers' keys in one
// directory would be neither's.
func (b *copier) restoreKeys(from, to string) error {
	if _, err := os.Stat(filepath.Join(to, "key.priv")); err == nil {
		say(b.c, "the keys in %s stay as they are", to)
		return nil
	}
	st, err := os.Stat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the backup has none
	}
	if err != nil {
		return err
	}
	if err := safefile.MkdirAll(to, st.Mode().Perm()); err != nil {
		return err
	}
	return durably(to, func() error { return errors.Join(b.giveAway(to, st), b.keyFiles(from, to)) })
}

// restoreACME puts back the certificate that was obtained, and the account, where
// there is none.
func (b *copier) restoreACME(cfg config.Config, from string) error {
	to := cfg.ACMEState()
	if _, err := os.Stat(from); !cfg.TLS.ACME || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(to); err == nil {
		say(b.c, "the certificate in %s stays as it is", to)
		return nil
	}
	if err := safefile.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return durably(filepath.Dir(to), func() error { return b.tree(from, to) })
}
