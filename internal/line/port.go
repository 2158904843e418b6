package line

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Port is a listening socket that one Server after another serves, as the
// settings change. Connections that come meanwhile wait.
type Port struct {
	net.Listener
	wait interface{ SetDeadline(time.Time) error } // the Listener

	mu   sync.Mutex
	last *turn
}

// NewPort takes a listener of a kind that has deadlines: TCP, for instance.
func NewPort(l net.Listener) (*Port, error) {
	wait, ok := l.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return nil, fmt.Errorf("%T can't be handed over", l)
	}
	return &Port{Listener: l, wait: wait}, nil
}

// Next gives the port to the next server, as a listener; Accept of the one before
// returns ErrHandedOver.
func (p *Port) Next() (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		p.last.over.Store(true)
		if err := p.wait.SetDeadline(time.Unix(1, 0)); err != nil {
			return nil, err
		}
		p.last.accepting.Lock() // its Accept has noticed
		err := p.wait.SetDeadline(time.Time{})
		p.last.accepting.Unlock()
		if err != nil {
			return nil, err
		}
	}
	p.last = &turn{Port: p}
	return p.last, nil
}

// turn is a port while one server has it.
type turn struct {
	*Port
	accepting sync.Mutex // held while it waits for a connection
	over      atomic.Bool
}

// Accept is net.Listener's.
func (t *turn) Accept() (net.Conn, error) {
	t.accepting.Lock()
	defer t.accepting.Unlock()
	if t.over.Load() {
		return nil, ErrHandedOver
	}
	nc, err := t.Listener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) && t.over.Load() {
		return nil, ErrHandedOver
	}
	return nc, err
}
