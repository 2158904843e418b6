package hybrid

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// MaxMessage is the longest message in octets: AES-GCM's limit
// (NIST SP 800-38D, section 5.2.1.1).
const MaxMessage = 1<<36 - 32

// ErrTooLong says that a message is over MaxMessage.
var ErrTooLong = fmt.Errorf("the message has over %d octets, which is all that the format holds", int64(MaxMessage))

// Spool makes a place for ciphertext between two passes: a private temporary
// file, which the caller removes.
type Spool func() (io.ReadWriteSeeker, error)

// Sealer makes payloads.
type Sealer struct {
	Format Format
	To     *rsa.PublicKey
	From   *rsa.PrivateKey // of Signed payloads
	// Spool is used where neither the input nor the output can seek: the tag
	// stands before the ciphertext, and is known only after it.
	Spool Spool
}

// Seal writes the payload of the message that src gives. A dst that is an
// io.WriteSeeker is sought back in, to fill in the header; otherwise a src that
// is an io.ReadSeeker is read twice, from where it stands; otherwise the
// ciphertext is spooled. Memory stays constant. What was written counts for
// nothing if there is an error.
func (s Sealer) Seal(dst io.Writer, src io.Reader) error {
	if err := checkLength(src); err != nil {
		return err
	}
	w, err := s.begin(dst)
	if err != nil {
		return err
	}
	if out, ok := dst.(io.WriteSeeker); ok {
		return w.fillIn(out, src)
	}
	if in, ok := src.(io.ReadSeeker); ok {
		return w.twice(in)
	}
	return w.spooled(src)
}

// PayloadSize is how many octets the payload of a message of so many octets has.
func (s Sealer) PayloadSize(message int64) int64 {
	fields, octets := int64(4), int64(s.To.Size()+ivSize+tagSize)+message
	if s.Format == Signed {
		fields, octets = fields+1, octets+int64(s.From.Size())
	}
	return 2*octets + fields
}

// checkLength refuses what is too long before work starts, where that can be
// told.
func checkLength(src io.Reader) error {
	in, ok := src.(io.Seeker)
	if !ok {
		return nil
	}
	start, err := in.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	end, err := in.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if end-start > MaxMessage {
		return ErrTooLong
	}
	_, err = in.Seek(start, io.SeekStart)
	return err
}

// sealing is the work on one payload.
type sealing struct {
	Sealer
	dst    io.Writer
	g      *pieceGCM
	header header
	total  total
	first  verified
}

func (s Sealer) begin(dst io.Writer) (*sealing, error) {
	var key [aesKeySize]byte
	rand.Read(key[:]) // never fails: it ends the process rather than return bad randomness
	h := header{iv: make([]byte, ivSize), tag: make([]byte, tagSize)}
	rand.Read(h.iv)
	var err error
	if h.ek, err = rsa.EncryptOAEP(sha1.New(), rand.Reader, s.To, key[:], nil); err != nil {
		return nil, fmt.Errorf("encrypt the message key: %w", err)
	}
	if s.Format == Signed {
		h.sig = make([]byte, s.From.Size())
	}
	g, err := newPieceGCM(key[:], h.iv)
	if err != nil {
		return nil, err
	}
	return &sealing{Sealer: s, dst: dst, g: g, header: h, total: total{g: g}}, nil
}

// fillIn writes the header's place, the ciphertext, and then the header.
func (w *sealing) fillIn(out io.WriteSeeker, src io.Reader) error {
	start, err := out.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := out.Write(w.header.marshal(w.Format)); err != nil {
		return err
	}
	err = pipeline(readPlain(src), func(p *piece) { w.encrypt(p); w.digits(p) }, func(p *piece) error {
		if err := w.count(p); err != nil {
			return err
		}
		_, err := w.dst.Write(p.text)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.end(); err != nil {
		return err
	}
	if err := w.sign(); err != nil {
		return err
	}
	if _, err := out.Seek(start, io.SeekStart); err != nil {
		return err
	}
	if _, err := out.Write(w.header.marshal(w.Format)); err != nil {
		return err
	}
	_, err = out.Seek(0, io.SeekEnd)
	return err
}

// twice reads the message for the tag, and again for the ciphertext, which must
// be the same piece by piece: somebody else may write to a file meanwhile. What was
// appended to it, a log say, after the first reading is left out.
func (w *sealing) twice(src io.ReadSeeker) error {
	start, err := src.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	err = pipeline(readPlain(src), w.encrypt, func(p *piece) error {
		w.first.add(p)
		return w.count(p)
	})
	if err != nil {
		return err
	}
	if _, err := src.Seek(start, io.SeekStart); err != nil {
		return err
	}
	if err := w.writeHeader(); err != nil {
		return err
	}
	again := io.LimitReader(src, w.total.octets)
	err = pipeline(readPlain(again), func(p *piece) { w.encrypt(p); w.digits(p) }, func(p *piece) error {
		if !w.first.same(p) {
			return errChanged
		}
		_, err := w.dst.Write(p.text)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.first.end(); err != nil {
		return err
	}
	return w.end()
}

// spooled keeps the ciphertext aside until the tag is known.
func (w *sealing) spooled(src io.Reader) error {
	if w.Spool == nil {
		return errors.New("neither the input nor the output can seek, and there is no spool")
	}
	spool, err := w.Spool()
	if err != nil {
		return err
	}
	err = pipeline(readPlain(src), w.encrypt, func(p *piece) error {
		if err := w.count(p); err != nil {
			return err
		}
		_, err := spool.Write(p.data)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := w.writeHeader(); err != nil {
		return err
	}
	err = pipeline(readPlain(spool), w.digits, func(p *piece) error {
		_, err := w.dst.Write(p.text)
		return err
	})
	if err != nil {
		return err
	}
	return w.end()
}

// readPlain fills pieces with octets as they are. The last one may be empty.
func readPlain(src io.Reader) func(*piece) (bool, error) {
	return func(p *piece) (more bool, err error) {
		n, err := io.ReadFull(src, p.dataBuffer(pieceSize))
		p.data = p.data[:n]
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil
		}
		return true, err
	}
}

func (w *sealing) encrypt(p *piece) {
	w.g.crypt(p.data, p.number)
	p.sum = w.g.sum(p.data)
}

func (w *sealing) digits(p *piece) {
	encodeHex(p.textBuffer(len(p.data)), p.data)
}

// count adds a piece to the tag.
func (w *sealing) count(p *piece) error {
	w.total.add(p.sum, len(p.data))
	if w.total.octets > MaxMessage {
		return ErrTooLong
	}
	return nil
}

// sign completes the header, once the tag is known.
func (w *sealing) sign() error {
	tag := w.total.tag()
	w.header.tag = tag[:]
	if w.Format != Signed {
		return nil
	}
	digest := sha256.Sum256(w.header.signedPart())
	sig, err := rsa.SignPSS(rand.Reader, w.From, crypto.SHA256, digest[:], pssOptions(&w.From.PublicKey))
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	w.header.sig = sig
	return nil
}

func (w *sealing) writeHeader() error {
	if err := w.sign(); err != nil {
		return err
	}
	_, err := w.dst.Write(w.header.marshal(w.Format))
	return err
}

// end writes the separator that ends the payload.
func (w *sealing) end() error {
	_, err := w.dst.Write([]byte{separator})
	return err
}

// pssOptions asks for the longest salt: the key's size less the hash and two
// octets (RFC 8017, section 9.1.1, step 3). It is given both ways, because Go's
// automatic length accepts any when verifying and signs shorter in FIPS mode.
func pssOptions(key *rsa.PublicKey) *rsa.PSSOptions {
	return &rsa.PSSOptions{SaltLength: key.Size() - sha256.Size - 2, Hash: crypto.SHA256}
}
