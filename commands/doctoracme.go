package commands

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"xm/internal/acme"
)

// obtained tells about a certificate that comes by ACME, and how obtaining it
// goes.
func (d *doctor) obtained() {
	dir, from := d.cfg.ACMEState(), d.cfg.TLS.ACMEDirectory
	_, err := acmeNames(d.cfg)
	if _, err2 := acmeRoots(d.cfg.TLS.ACMECA); err != nil || err2 != nil {
		d.say(levelProblem, "certificate", "", "the servers can't start: %v", errors.Join(err, err2))
	}
	s, err := acme.Read(dir)
	switch {
	case err != nil:
		d.say(levelProblem, "certificate", "xm serve, or SIGHUP, makes it anew", "%v", err)
	case s.Leaf == nil:
		d.say(levelWarning, "certificate", "xm serve, or xm smtpd, obtains it", "there is none in %s yet", dir)
	case s.From == "":
		d.say(levelWarning, "certificate", "", "%s has not issued one yet: a self-signed one stands in, which mail programs will not trust", from)
	case s.From != from:
		d.say(levelWarning, "certificate", "", "%s has not issued one yet: one from %s is in use", from, s.From)
	default:
		d.say(levelOK, "certificate", "", "%s, until %s, to be renewed on %s", acme.File(dir), s.Leaf.NotAfter.Format(time.DateOnly), s.Renewal.Format(time.DateOnly))
		d.trust(s.Leaf)
	}
	if f := s.Failure; f != (acme.Failure{}) {
		level := levelWarning
		if s.From == "" || time.Now().After(s.Leaf.NotAfter) {
			level = levelProblem
		}
		d.say(level, "certificate", strings.TrimPrefix(f.Mend+"; SIGHUP makes another attempt, a minute after this one at the earliest", "; "),
			"the attempt of %s failed: %s; the next one is due on %s", f.Time.Format(time.RFC3339), f.Error, f.Next.Format(time.RFC3339))
	}
	d.acmeFiles(dir)
}

// acmeFiles looks at who can get at the keys.
func (d *doctor) acmeFiles(dir string) {
	st, err := os.Stat(dir)
	if err != nil {
		return // obtained has said it
	}
	if st.Mode().Perm()&0o077 != 0 {
		d.say(levelWarning, "files", "chmod 700 "+dir, "other users of this machine can get into %s", dir)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.pem*"))
	if err != nil {
		d.say(levelProblem, "files", "", "%v", err)
	}
	for _, f := range files {
		d.private(f, st)
	}
}

// acme asks what no authority does.
func (t *talk) acme() (string, error) {
	if _, err := fmt.Fprint(t.conn, "GET /.well-known/acme-challenge/ HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	line, err := t.line()
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(line, "HTTP/1.1 404 ") {
		return "", fmt.Errorf("it answers %q, not as xm does", line)
	}
	return "it answers the authority's questions", nil
}
