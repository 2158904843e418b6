package line

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrStopping is returned by ReadLine when the server stops.
	ErrStopping = errors.New("the server is stopping")
	// ErrExpired is returned by ReadLine when the session's lifetime is over.
	ErrExpired = errors.New("the session took too long")
	// ErrLineEnd is returned for a line that does not end with CRLF, or holds a
	// CR elsewhere. The line has been read.
	ErrLineEnd = errors.New("a line must end with CRLF")
	// ErrLineTooLong is returned for a line over the limit. It has been read.
	ErrLineTooLong = errors.New("the line is too long")
	// ErrEndlessLine is returned for a line that goes on and on. It has not been
	// read to its end.
	ErrEndlessLine = errors.New("the line has no end")
)

const (
	bufferSize   = 4096
	outSize      = 32 << 10
	endless      = 1 << 20 // octets of a line that is over the limit already
	writeTimeout = 5 * time.Minute
	lingerTime   = time.Second
	lingerSize   = 1 << 20
)

// Conn is a session's connection. One goroutine uses it.
type Conn struct {
	// ID tells sessions apart in the log.
	ID string

	srv         *Server
	raw         net.Conn // below TLS
	nc          net.Conn // what is read and written
	tls         *TLS     // nil in clear
	expires     time.Time
	peer, local netip.Addr
	in          *bufio.Reader
	small       *bufio.Reader // what in was before it became a wide one; else nil
	filled      bool          // the last read has filled its buffer
	out         *bufio.Writer // nil while there is nothing to send
	readTimeout time.Duration // for each read; 0 leaves the deadline alone
	reads       patience
	writes      patience
	ctx         context.Context
	cancel      context.CancelFunc

	mu       sync.Mutex // guards what another goroutine needs at a stop: reads and peer, too
	idle     bool
	stopping bool

	over atomic.Bool // the stop waits no more
}

func newConn(srv *Server, nc net.Conn) *Conn {
	var id [6]byte
	rand.Read(id[:])
	c := &Conn{ID: hex.EncodeToString(id[:]), srv: srv, raw: nc, nc: nc, peer: addrOf(nc.RemoteAddr()), local: addrOf(nc.LocalAddr())}
	if srv.Lifetime > 0 {
		c.expires = time.Now().Add(srv.Lifetime)
	}
	c.in = bufio.NewReaderSize(timedReader{c}, cmp.Or(srv.ReadBuffer, bufferSize))
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Peer is the client's address; invalid if that is not known.
func (c *Conn) Peer() netip.Addr { return c.peer }

// Local is the server's address, as the client connected to it; invalid if that
// is not known.
func (c *Conn) Local() netip.Addr { return c.local }

func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("") // which is in no netip.Prefix
	}
	return netip.Addr{}
}

// Logger adds to log which session it is, with whom, and under which TLS.
func (c *Conn) Logger(log *slog.Logger) *slog.Logger {
	log = log.With("session", c.ID, "peer", c.peer)
	if c.tls != nil {
		log = log.With("tls", tls.VersionName(c.tls.State.Version))
	}
	return log
}

// Context ends with the connection.
func (c *Conn) Context() context.Context { return c.ctx }

type timedReader struct{ c *Conn }

// Read sends what is still to be sent first: RFC 2920, section 3.2, has the
// replies to commands that came together go together.
func (r timedReader) Read(p []byte) (int, error) {
	if err := r.c.Flush(); err != nil {
		return 0, err
	}
	if r.c.readTimeout > 0 {
		if err := r.c.awaitInput(r.c.readTimeout); err != nil {
			return 0, err
		}
	}
	if r.c.over.Load() { // the deadline that ends the wait may have been moved just now
		return 0, os.ErrDeadlineExceeded
	}
	n, err := r.c.nc.Read(p)
	r.c.filled = n == len(p)
	r.c.srv.observer().Received(n)
	return n, err
}

// awaitInput begins a wait for input: no session lives for ever.
func (c *Conn) awaitInput(timeout time.Duration) error {
	if deadline, set := c.reads.await(timeout, c.expires); set {
		return c.raw.SetReadDeadline(deadline)
	}
	return nil
}

// ReadLine reads a line of at most max octets and returns it without its CRLF;
// it is valid until the next read. The whole line must arrive within timeout, or a
// little more.
// A server that stops interrupts the wait, at once if idle is true. ErrLineEnd and
// ErrLineTooLong leave the connection at the next line, and the former comes
// with the line; after any other error the connection is at an end.
func (c *Conn) ReadLine(max int, timeout time.Duration, idle bool) ([]byte, error) {
	c.narrow()
	if c.hasLine() {
		if idle && c.isStopping() {
			return nil, ErrStopping
		}
		return c.readLine(max)
	}
	if err := c.beginWait(timeout, idle); err != nil {
		return nil, err
	}
	line, err := c.readLine(max)
	switch interrupted := c.endWait(); {
	case interrupted && err != nil:
		return nil, ErrStopping
	case errors.Is(err, os.ErrDeadlineExceeded) && !c.expires.IsZero() && !time.Now().Before(c.expires):
		return nil, ErrExpired
	}
	return line, err
}

// hasLine reports whether a line has come already, with others before it: reading
// it is no wait.
func (c *Conn) hasLine() bool {
	b, _ := c.in.Peek(c.in.Buffered())
	return bytes.IndexByte(b, '\n') >= 0
}

func (c *Conn) isStopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

func (c *Conn) beginWait(timeout time.Duration, idle bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if idle && c.stopping || c.over.Load() {
		return ErrStopping
	}
	c.idle = idle
	return c.awaitInput(timeout)
}

// endWait reports whether the wait was interrupted.
func (c *Conn) endWait() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	interrupted := c.idle && c.stopping || c.over.Load()
	c.idle = false
	return interrupted
}

// interrupt ends an idle wait, now or when it begins.
func (c *Conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	if c.idle {
		c.reads = patience{}
		_ = c.raw.SetReadDeadline(time.Unix(1, 0)) // fails on a closed connection alone
	}
}

// cutOff ends all waits for input, so that the session can say that it ends.
func (c *Conn) cutOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over.Store(true)
	_ = c.raw.SetReadDeadline(time.Unix(1, 0)) // fails on a closed connection alone
}

func (c *Conn) readLine(max int) ([]byte, error) {
	var long []byte // what does not fit the buffer
	for {
		part, err := c.in.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return nil, err
		}
		if len(long)+len(part) > max+len("\r\n") {
			return nil, c.skipLine(err == nil)
		}
		if err == bufio.ErrBufferFull {
			long = append(long, part...)
			continue
		}
		if long != nil {
			part = append(long, part...)
		}
		line, ok := bytes.CutSuffix(part, []byte("\r\n"))
		if !ok || bytes.IndexByte(line, '\r') >= 0 {
			return line, ErrLineEnd
		}
		return line, nil
	}
}

func (c *Conn) skipLine(ended bool) error {
	for skipped := 0; !ended; {
		part, err := c.in.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
		ended = err == nil
		if skipped += len(part); skipped > endless {
			return ErrEndlessLine
		}
	}
	return ErrLineTooLong
}

// Body reads a dot-stuffed message of at most max octets, strictly: see Body.
// Each part of it must arrive within timeout after the one before.
func (c *Conn) Body(max int64, timeout time.Duration) *Body {
	c.readTimeout = timeout
	b := NewBody(c.in, max)
	b.more = c.wider
	b.done = func() { c.readTimeout = 0 }
	return b
}

// wideSize is the buffer of connections from which much comes at a time. Others
// keep the small one that they have while they wait.
const wideSize = 64 << 10

var wideReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, wideSize) }}

// wider gives the reader to go on with when all that has come was read: one with a
// large buffer, if the small one was full.
func (c *Conn) wider() *bufio.Reader {
	if c.filled && c.small == nil {
		c.small = c.in
		c.in = wideReaders.Get().(*bufio.Reader)
		c.in.Reset(timedReader{c})
	}
	return c.in
}

// narrow goes back to the small buffer, as soon as the large one is empty.
func (c *Conn) narrow() {
	if c.small != nil && c.in.Buffered() == 0 {
		c.in.Reset(nil)
		wideReaders.Put(c.in)
		c.in, c.small = c.small, nil
	}
}

// Input gives what arrives within timeout, for a protocol without lines, once it
// begins to arrive. A server that stops interrupts the wait for that, unless the
// client has made a handshake: the error is ErrStopping. What else ends the wait
// comes from the reader.
func (c *Conn) Input(timeout time.Duration) (*bufio.Reader, error) {
	if err := c.beginWait(timeout, c.tls == nil); err != nil {
		return nil, err
	}
	_, err := c.in.Peek(1)
	switch interrupted := c.endWait(); {
	case !interrupted:
		return c.in, nil
	case err != nil:
		return nil, ErrStopping
	}
	return c.in, c.beginWait(timeout, false) // the stop came too late, but has ended its time
}

// Pause waits, unless the connection is cut off meanwhile.
func (c *Conn) Pause(d time.Duration) { sleep(c.ctx, d) }

// hangUp says goodbye so that the peer gets the last reply: a close with unread
// input makes TCP reset the connection, and drop what was sent.
func (c *Conn) hangUp() {
	if c.Flush() != nil {
		return // the peer is gone
	}
	if secured, ok := c.nc.(*tls.Conn); ok {
		// RFC 8446, section 6.1: it tells that nothing was cut off. The peer may be gone.
		_ = secured.CloseWrite()
	}
	half, ok := c.raw.(interface{ CloseWrite() error })
	if !ok || c.isStopping() || half.CloseWrite() != nil {
		return
	}
	if c.raw.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, c.raw, lingerSize) // whatever it says, it is over
	}
}

// close ends the connection at once, whatever another goroutine does with it.
func (c *Conn) close() {
	c.cancel()
	c.raw.Close()
}
