package linetest

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// Pipe is a listener within the process, for tests with a clock of their own
// (testing/synctest), where sockets would stop it.
type Pipe struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewPipe returns a listener that accepts what Dial makes.
func NewPipe() *Pipe { return &Pipe{conns: make(chan net.Conn), closed: make(chan struct{})} }

// ServePipe serves on a pipe. stop ends that; where the test is in a bubble, it has to be
// called in it.
func ServePipe(t *testing.T, serve func(context.Context, net.Listener) error) (pipe *Pipe, stop func()) {
	t.Helper()
	pipe = NewPipe()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, pipe) }()
	return pipe, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Dial returns the client's end of a new connection, from and to this machine.
func (p *Pipe) Dial() net.Conn {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- local{theirs}:
	case <-p.closed:
		theirs.Close()
	}
	return ours
}

type local struct{ net.Conn }

func (local) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (local) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }

// Accept is net.Listener's.
func (p *Pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's.
func (p *Pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is net.Listener's.
func (p *Pipe) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// Waited reports whether a session waited for as long as it should: a Conn's waits
// may last a 64th longer than they are said to.
func Waited(took, timeout time.Duration) bool {
	return timeout <= took && took <= timeout+timeout/64
}
