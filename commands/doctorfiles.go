package commands

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"xm/hybrid"
	"xm/internal/disk"
	"xm/internal/keyring"
	"xm/internal/mailclient"
	"xm/internal/maildir"
)

func (d *doctor) settings() {
	if d.cfg.File == "" {
		d.say(levelWarning, "settings", "run xm init", "there is no xm.toml; the defaults are for trying it out")
		return
	}
	d.say(levelOK, "settings", "", "%s", d.cfg.File)
	if !d.cfg.IsSet("data_dir") && filepath.IsAbs(d.cfg.File) {
		d.say(levelWarning, "settings", "set data_dir", "the data directory is %s, below whatever directory xm is started in", d.cfg.DataDir)
	}
	if d.cfg.Account.Password != "" {
		d.private(d.cfg.File, nil)
	}
	if !strings.Contains(d.cfg.Hostname, ".") {
		d.say(levelWarning, "settings", "set hostname to a name that DNS has", "other servers can't find %q", d.cfg.Hostname)
	}
}

// Less than one of these free is worth a warning.
const (
	lowDisk   = 1 << 30 // octets
	lowInodes = 10_000
)

// dataDir tells whether there is more to look at.
func (d *doctor) dataDir() bool {
	dir := d.cfg.DataDir
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.say(levelWarning, "data directory", "xm user add, or xm serve, makes it", "%s does not exist", dir)
		return false
	case err != nil:
		d.say(levelProblem, "data directory", "", "%v", err)
		return false
	case !st.IsDir():
		d.say(levelProblem, "data directory", "set data_dir to a directory", "%s is none", dir)
		return false
	}
	if err := unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		d.say(levelProblem, "data directory", "run this as its owner, or give it to whom the server runs as", "%s: %v", dir, err)
		return false
	}
	if st.Mode().Perm()&0o077 != 0 {
		d.say(levelWarning, "data directory", "chmod 700 "+dir, "other users of this machine can get into %s", dir)
	}
	for _, name := range secretFiles {
		d.private(filepath.Join(dir, name), st)
	}
	var fileSystem unix.Statfs_t
	if err := unix.Statfs(dir, &fileSystem); err != nil {
		d.say(levelProblem, "disk", "", "%s: %v", dir, err)
		return true
	}
	free := fileSystem.Bavail * uint64(fileSystem.Bsize)
	level, mend := levelOK, ""
	if free < lowDisk || fileSystem.Files > 0 && fileSystem.Ffree < lowInodes {
		level, mend = levelWarning, "make room: mail is refused for the time being when the disk is full"
	}
	d.say(level, "disk", mend, "%d MiB and %d files free at %s", free>>20, fileSystem.Ffree, dir)
	return true
}

// private wants a file to be its owner's alone, and that to be the owner of its
// directory.
func (d *doctor) private(file string, dir fs.FileInfo) {
	st, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		d.say(levelProblem, "files", "", "%v", err)
		return
	}
	if st.Mode().Perm()&0o077 != 0 {
		d.say(levelProblem, "files", "chmod 600 "+file, "other users of this machine can get at %s", file)
	}
	if dir != nil && ownerOf(st) != ownerOf(dir) {
		d.say(levelProblem, "files", "chown --reference="+filepath.Dir(file)+" "+file, "%s and its directory are not the same user's", file)
	}
}

func ownerOf(st fs.FileInfo) uint32 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Uid
	}
	return 0
}

// keys looks at the private keys.
func (d *doctor) keys() {
	if d.cfg.TLS.Key != "" {
		d.tlsKey()
	}
	key := filepath.Join(d.cfg.Regd.Keys, "key.priv")
	if _, err := os.Stat(key); errors.Is(err, fs.ErrNotExist) {
		if d.cfg.Regd.Listen != "" {
			d.say(levelWarning, "keys", "xm serve, or xm regd, makes it", "the registration server has no %s", key)
		}
		return
	}
	dir, err := os.Stat(d.cfg.Regd.Keys)
	if err != nil {
		d.say(levelProblem, "keys", "", "%v", err)
		return
	}
	d.private(key, dir)
	d.keyPair(key)
}

// keyPair tells whether the registration server can use its key, and whether
// key.pub, whose fingerprint the users are given, is that key's.
func (d *doctor) keyPair(file string) {
	ring, err := keyring.Open(d.cfg.Regd.Keys, nil)
	if err != nil {
		d.say(levelProblem, "keys", "", "%v", err)
		return
	}
	defer ring.Close()
	key, err := ring.Private()
	if errors.Is(err, hybrid.ErrPassphraseNeeded) {
		return // xm serve asks for it
	}
	if err != nil {
		d.say(levelProblem, "keys", "put "+file+" back from a backup; if there is none, move it away: xm serve makes another, whose fingerprint all users have to compare",
			"the registration server can't start: %v", err)
		return
	}
	pub := filepath.Join(d.cfg.Regd.Keys, "key.pub")
	mend := "move " + pub + " away: xm serve makes it again"
	switch public, err := ring.Public(keyring.Own); {
	case errors.Is(err, keyring.ErrNotFound): // likewise
	case err != nil:
		d.say(levelProblem, "keys", mend, "%v", err)
	case !public.Equal(&key.PublicKey):
		d.say(levelProblem, "keys", mend, "%s is not that of %s: users would compare a wrong fingerprint", pub, file)
	}
}

// tlsKey may be a group's, as certbot has it.
func (d *doctor) tlsKey() {
	if st, err := os.Stat(d.cfg.TLS.Key); err == nil && st.Mode().Perm()&0o007 != 0 {
		d.say(levelProblem, "files", "chmod 640 "+d.cfg.TLS.Key, "everybody on this machine can get at %s", d.cfg.TLS.Key)
	}
}

// trust tells whether mail programs will accept the certificate unasked.
func (d *doctor) trust(leaf *x509.Certificate) {
	file, _ := certificateFiles(d.cfg)
	pem, err := os.ReadFile(file)
	if err != nil {
		d.say(levelProblem, "certificate", "", "%v", err)
		return
	}
	chain := x509.NewCertPool()
	chain.AppendCertsFromPEM(pem)
	if _, err := leaf.Verify(x509.VerifyOptions{Intermediates: chain}); err != nil {
		d.say(levelWarning, "certificate", "get one from an authority, Let's Encrypt for instance, or let users pin it: --tls-fingerprint "+mailclient.Fingerprint(leaf), "mail programs will not trust it: %v", err)
	}
}

// maildrops counts the users' mail, and looks for mail that is nobody's.
func (d *doctor) maildrops(h *host) {
	records, err := h.db.Users()
	if err != nil && records == nil {
		return // openHost has said it
	}
	var names []string
	for _, r := range records {
		dirs, err := h.db.Maildrops(r.Name)
		if err != nil {
			d.say(levelProblem, "maildrops", "", "%s: %v", r.Name, err)
		}
		names = append(names, dirs...)
		used, err := h.store.Usage(r.Name.String())
		if err != nil {
			d.say(levelProblem, "maildrops", "", "%s: %v", r.Name, err)
			continue
		}
		if q := h.store.Quota(r.Name.String()); full(used, q) {
			d.say(levelWarning, "maildrops", "raise the quota, or let its user delete mail", "%s is full: %d messages, %d octets", r.Name, used.Messages, used.Octets)
		}
	}
	entries, err := os.ReadDir(d.cfg.DataDir)
	if err != nil {
		d.say(levelProblem, "maildrops", "", "%v", err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != disk.LostAndFound && !slices.Contains(names, e.Name()) {
			d.say(levelWarning, "maildrops", "add that user, or move it out of "+d.cfg.DataDir, "%s is nobody's", e.Name())
		}
	}
	d.say(levelOK, "maildrops", "", "of %d users", len(records))
}

func full(u maildir.Usage, q maildir.Quota) bool {
	return q.Octets > 0 && u.Octets >= q.Octets || q.Messages > 0 && u.Messages >= q.Messages
}

// clockError is the kernel's state of a clock that nothing sets (adjtimex(2)).
const clockError = 5

func (d *doctor) clock() {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		d.say(levelWarning, "clock", "", "whether it is set can't be told: %v", err)
		return
	}
	if state == clockError {
		d.say(levelWarning, "clock", "run systemd-timesyncd, chrony or another NTP client, unless the host of this machine sets it",
			"nothing keeps it right; it says %s", time.Now().Format(time.RFC3339))
		return
	}
	d.say(levelOK, "clock", "", "it is set")
}
