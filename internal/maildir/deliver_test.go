package maildir

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

// Messages of 4 KiB for 8 users, from one who sends them alone and from many at a time.
func BenchmarkDeliver(b *testing.B) {
	body := "Subject: x\r\n\r\n" + strings.Repeat("All work and no play makes Jack a dull boy.\r\n", 91)
	defer func(half, ext int64) { halfSize, extent = half, ext }(halfSize, extent)
	halfSize, extent = usualHalf, usualExtent
	for _, senders := range []int{1, 16, 64} {
		b.Run(strconv.Itoa(senders), func(b *testing.B) {
			s, _ := newStore(b)
			var begun atomic.Int64
			var all sync.WaitGroup
			b.ReportAllocs()
			for range senders {
				all.Go(func() {
					for n := begun.Add(1); n <= int64(b.N); n = begun.Add(1) {
						deliver(b, s, body, fmt.Sprintf("user%d", n%8))
					}
				})
			}
			all.Wait()
		})
	}
}
