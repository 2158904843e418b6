package maildir

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"xm/internal/disk"
	"xm/internal/disk/disktest"
)

// history is a store's life as a seed has it: deliveries, deletions, other programs that
// move and delete, checkpoints, disks that fail, processes that are killed.
type history struct {
	*crashed
	*rand.Rand
	delivered int
	happened  []string // for who looks for the cause of a failure
}

// Whatever happens one after the other, what was promised is kept after a crash. There are
// as many histories as XM_HISTORIES says.
func TestHistories(t *testing.T) {
	n := uint64(10)
	if more, err := strconv.ParseUint(os.Getenv("XM_HISTORIES"), 10, 64); err == nil {
		n = more
	}
	for seed := range n {
		h := &history{crashed: &crashed{disk: disktest.New()}, Rand: rand.New(rand.NewPCG(seed, 0))}
		h.disk.Quick = true
		h.disk.Named = h.IntN(3) == 0
		h.open()
		h.prepare("alice")
		for range 10 {
			h.goOn()
		}
		h.halt()
		if _, err := h.disk.Crashes(seed, check); err != nil {
			t.Errorf("seed %d: %v\n%s", seed, err, strings.Join(h.happened, "\n"))
		}
	}
}

func (h *history) say(format string, args ...any) {
	h.happened = append(h.happened, fmt.Sprintf(format, args...))
}

// goOn does one thing.
func (h *history) goOn() {
	[]func(){
		h.arrive, h.arrive, h.arrive, h.deleteOwn, h.deleteForeign, h.otherMoves, h.otherDeletes,
		h.checkpointAmid, h.checkpointAmid, h.failNext, h.restart, h.killed, h.otherHalf,
	}[h.IntN(13)]()
}

// someone is the owner of one of the maildrops.
func (h *history) someone() string { return []string{"alice", "bob"}[h.IntN(2)] }

func (h *history) arrive() {
	h.delivered++
	id := fmt.Sprintf("m%02d", h.delivered)
	octets := []int{100, 600}[h.IntN(2)]
	to := [][]string{{"alice"}, {"bob"}, {"alice", "bob"}}[h.IntN(3)]
	h.say("%s, of %d octets, comes for %v", id, octets, to)
	h.deliver(id, octets, to...)
}

func (h *history) deleteOwn() {
	who, id := h.someone(), fmt.Sprintf("m%02d", 1+h.IntN(h.delivered+1))
	h.say("%s deletes %s", who, id)
	h.deleteFrom(h.store, who, id)
}

// deleteForeign is deleteOwn by the POP3 server of another process.
func (h *history) deleteForeign() {
	who, id := h.someone(), fmt.Sprintf("m%02d", 1+h.IntN(h.delivered+1))
	h.say("%s deletes %s by another process", who, id)
	h.disk.SetFault(nil) // the kernel would tell us of it, too, which the disk of the test does not
	h.deleteFrom(On(h.disk.Root(), "host"), who, id)
}

func (h *history) deleteFrom(s *Store, who, id string) {
	m, err := s.Open([]string{who})
	if err != nil {
		return
	}
	defer m.Close()
	var texts []string
	var chosen []int
	for i := range m.Len() {
		if text, err := content(m, i); err == nil && strings.HasPrefix(text, id) {
			chosen, texts = append(chosen, i), append(texts, text)
			h.disk.Note(deleting{who, text})
		}
	}
	if len(chosen) == 0 || m.Delete(chosen) != nil {
		return
	}
	for _, text := range texts {
		h.disk.Note(deleted{who, text})
	}
}

// aFile picks a message of somebody, which another program does something with: what
// becomes of it is not our promise.
func (h *history) aFile() (who, file string, found bool) {
	who = h.someone()
	var all []string
	for _, dir := range []string{who + "/new/", who + "/cur/"} {
		entries, _ := disk.ReadDir(h.disk.Root(), dir)
		for _, e := range entries {
			all = append(all, dir+e.Name)
		}
	}
	if len(all) == 0 {
		return "", "", false
	}
	file = all[h.IntN(len(all))]
	text, _ := disk.ReadFile(h.disk.Root(), file)
	h.disk.Note(deleting{who, strings.ReplaceAll(string(text), "\n", "\r\n")})
	return who, file, true
}

func (h *history) otherMoves() {
	who, file, found := h.aFile()
	if !found {
		return
	}
	to := who + "/cur/" + unique(file[strings.LastIndex(file, "/")+1:]) + []string{":2,", ":2,S", ":2,RS"}[h.IntN(3)]
	h.say("%s gets the name %s", file, to)
	if file != to && h.disk.Root().Rename(file, to) == nil && h.IntN(2) == 0 {
		h.syncDirs(who)
	}
}

func (h *history) otherDeletes() {
	who, file, found := h.aFile()
	if !found {
		return
	}
	h.say("%s is removed", file)
	if h.disk.Root().Remove(file) == nil && h.IntN(2) == 0 {
		h.syncDirs(who)
	}
}

// syncDirs is what a careful program does.
func (h *history) syncDirs(who string) {
	h.disk.SetFault(nil) // as in deleteForeign
	for _, dir := range []string{"/cur", "/new"} {
		if err := disk.SyncDir(h.disk.Root(), who+dir); err != nil {
			h.say("the sync of it fails")
		}
	}
}

// checkpointAmid makes a checkpoint, during which something may happen.
func (h *history) checkpointAmid() {
	if h.store.journal == nil {
		return
	}
	h.say("checkpoint")
	if amid := h.IntN(4); amid < 3 {
		var once sync.Once
		h.disk.SetDuring(func(name string) {
			if name == "*" {
				once.Do(func() {
					h.disk.SetDuring(nil)
					h.say("during that:")
					[]func(){h.arrive, h.deleteOwn, h.deleteForeign}[amid]()
				})
			}
		})
	}
	h.checkpoint()
	h.disk.SetDuring(nil)
	h.disk.SetFault(nil)
}

func (h *history) failNext() {
	below := []string{JournalName, "alice/new", "bob/new"}[h.IntN(3)]
	h.say("the next sync of %s fails", below)
	h.failOnce(below)
}

// restart is a process that follows one that was killed.
func (h *history) restart() {
	h.say("another process begins")
	h.open()
	if h.IntN(4) > 0 {
		h.say("and recovers: %v", h.store.Recover())
	}
}

// killed ends the process in the midst of something.
func (h *history) killed() {
	var mu sync.Mutex
	left := h.IntN(14)
	h.say("killed after %d operations of:", left)
	h.disk.SetFault(func(string, string) error {
		mu.Lock()
		defer mu.Unlock()
		if left--; left < 0 {
			return disktest.ErrKilled
		}
		return nil
	})
	[]func(){h.arrive, h.deleteOwn, func() {
		if h.store.journal != nil {
			h.say("checkpoint")
			h.checkpoint()
		}
	}}[h.IntN(3)]()
	h.halt()
	h.disk.SetFault(nil)
	h.restart()
}

func (h *history) otherHalf() {
	if j := h.store.journal; j != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.current = 1 - j.current
	}
}
