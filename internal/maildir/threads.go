package maildir

import (
	"os"
	"runtime"
	"sync"
	"time"
)

// threads has Go run twice as many threads as there are CPUs while many messages are
// delivered. One that waits in a system call, for the disk or for a directory that
// another one changes, counts as running until the runtime takes a look, 20 µs later
// or more, and its CPU is idle meanwhile. At other times more of them only cost: they
// look for work in vain.
type threads struct {
	many        int    // deliveries that are enough
	more, fewer func() // nil leaves all as it is

	mu         sync.Mutex
	deliveries int
	enough     bool // since the last look
	raised     bool
}

// lull is how often the number of deliveries is looked at again: each change of the
// threads stops the world.
const lull = 5 * time.Second

// deliverers are those of the process, whose threads are one runtime's.
var deliverers = newThreads(os.Getenv("GOMAXPROCS"))

// newThreads leaves a number alone that somebody has set.
func newThreads(gomaxprocs string) *threads {
	if gomaxprocs != "" {
		return &threads{}
	}
	return &threads{
		many: 2 * runtime.GOMAXPROCS(0),
		more: func() { runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0)) },
		// The runtime follows the CPUs that it may use (cgroups) again from then on.
		fewer: runtime.SetDefaultGOMAXPROCS,
	}
}

func (t *threads) enter() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deliveries++
	if t.more == nil || t.deliveries < t.many {
		return
	}
	t.enough = true
	if !t.raised {
		t.raised = true
		t.more()
		time.AfterFunc(lull, t.look)
	}
}

func (t *threads) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deliveries--
}

func (t *threads) look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.enough {
		t.enough = false
		time.AfterFunc(lull, t.look)
		return
	}
	t.raised = false
	t.fewer()
}
