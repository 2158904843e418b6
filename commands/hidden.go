package commands

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"io"

	"xm/hybrid"
)

// hidden is a message that was read from a pipe and is to be read again: a spool
// that holds it encrypted, under a key that is nowhere but in memory.
type hidden struct {
	spool  io.ReadSeeker
	block  cipher.Block
	stream cipher.Stream // for what is read next
}

// hide reads a message into a spool.
func hide(message io.Reader, makeSpool hybrid.Spool) (*hidden, error) {
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
	if _, err := io.CopyBuffer(cipher.StreamWriter{S: h.stream, W: spool}, message, make([]byte, 64<<10)); err != nil {
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
