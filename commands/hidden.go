package commands

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"io"
	"sync"

	"xm/hybrid"
)

// hidden is a message that is to be read again: a spool that holds it encrypted,
// under a key that is nowhere but in memory.
type hidden struct {
	spool  io.ReadWriteSeeker
	block  cipher.Block
	stream cipher.Stream // for what is read or written next
	octets int64         // that were written
}

// newHidden returns an empty one, to be written, and then to be read from its
// beginning, to which Seek goes.
func newHidden(makeSpool hybrid.Spool) (*hidden, error) {
	var key [32]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	spool, err := makeSpool()
	if err != nil {
		return nil, err
	}
	h := &hidden{spool: spool, block: block}
	h.rewind()
	return h, nil
}

// hide reads a message into a spool.
func hide(message io.Reader, makeSpool hybrid.Spool) (*hidden, error) {
	h, err := newHidden(makeSpool)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, message, make([]byte, 64<<10)); err != nil {
		return nil, err
	}
	_, err = h.Seek(0, io.SeekStart)
	return h, err
}

// rewind starts the key stream from its beginning. The counter may begin at 0,
// as the key is used for this one message.
func (h *hidden) rewind() {
	h.stream = cipher.NewCTR(h.block, make([]byte, aes.BlockSize))
}

// Write adds to the message, which is written once, from its beginning.
func (h *hidden) Write(p []byte) (int, error) {
	n, err := cipher.StreamWriter{S: h.stream, W: h.spool}.Write(p)
	h.octets += int64(n)
	return n, err
}

func (h *hidden) Read(p []byte) (int, error) {
	n, err := h.spool.Read(p)
	h.stream.XORKeyStream(p[:n], p[:n])
	return n, err
}

// Seek tells where it is and how long the message is. To read, it goes to the
// beginning alone.
func (h *hidden) Seek(offset int64, whence int) (int64, error) {
	at, err := h.spool.Seek(offset, whence)
	if at == 0 {
		h.rewind()
	}
	return at, err
}

// readAhead gives hybrid something that is used again afterwards: an error ends its work
// while it may still read ahead. After stop it does not.
type readAhead struct {
	mu      sync.Mutex
	from    io.Reader
	stopped bool
}

func (r *readAhead) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return 0, errors.New("nobody waits for it any more")
	}
	return r.from.Read(p)
}

func (r *readAhead) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}
