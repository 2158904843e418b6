package maildir

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the log says of a delivery is what is on disk, and what POP3 lists.
func TestNamesOfADelivery(t *testing.T) {
	for _, host := range []string{"host", strings.Repeat("long.", 12) + "example"} {
		dir := t.TempDir()
		s, err := New(dir, host)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, body := range []string{"", "A: b\r\n\r\nno end"} {
			d, err := s.Begin([]string{"alice", "bob"})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Abort()
			if _, err := io.WriteString(d, body); err != nil {
				t.Fatal(err)
			}
			if err := d.Commit(); err != nil {
				t.Fatal(err)
			}
			file, uid := d.Names()
			for _, maildrop := range []string{"alice", "bob"} {
				if _, err := os.Stat(filepath.Join(dir, maildrop, "new", file)); err != nil {
					t.Error(err)
				}
				m := open(t, s, maildrop)
				if got := m.UID(0); got != uid {
					t.Errorf("POP3 has %q, the log %q", got, uid)
				}
				if err := m.Delete([]int{0}); err != nil {
					t.Error(err)
				}
				m.Close()
			}
		}
	}
}
