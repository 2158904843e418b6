package hybrid

import (
	"bufio"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// Opener opens payloads. Each key is tried that can be meant: a person may have
// former keys.
type Opener struct {
	Format Format
	To     []*rsa.PrivateKey
	From   []*rsa.PublicKey // of Signed payloads
	// More gives further private keys, to be tried where none of To opens a
	// payload that is the sender's. It may be nil, and may ask a person for a
	// passphrase.
	More func() ([]*rsa.PrivateKey, error)
	// Spool is used where the input can't seek: nothing of the message is given
	// out before all of it is verified.
	Spool Spool
}

// Opened tells which keys a payload was opened with, as indices of Opener's; To
// counts on into what More gave.
type Opened struct {
	To, From int
}

// Open writes the message of the payload that src gives. Nothing is written
// unless signature and tag are good; otherwise the error matches
// ErrNotAuthentic. A src that is an io.ReadSeeker is read twice, from where it
// stands, and no piece is written that is not as it was verified; of any other,
// the ciphertext is spooled. Memory stays constant. After an error, src may still be
// read ahead for a while, as it may by Seal.
func (o Opener) Open(dst io.Writer, src io.Reader) (Opened, error) {
	seeker, start, err := position(src)
	if err != nil {
		return Opened{}, err
	}
	r := bufio.NewReaderSize(src, headerBuffer)
	h, length, err := readHeader(r, o.Format, o.signatureSizes(), o.keySizes())
	if err != nil {
		return Opened{}, err
	}
	opened, key, err := o.authenticate(h)
	if err != nil {
		return Opened{}, err
	}
	g, err := newPieceGCM(key, h.iv)
	if err != nil {
		return Opened{}, err
	}
	w := &opening{dst: dst, g: g, tag: h.tag, total: total{g: g}}
	if seeker != nil {
		return opened, w.twice(r, seeker, start+length)
	}
	return opened, w.spooled(r, o.Spool)
}

// headerBuffer is enough for a header; the rest is read past it.
const headerBuffer = 4096

// position tells where an input that can seek stands.
func position(src io.Reader) (io.ReadSeeker, int64, error) {
	s, ok := src.(io.ReadSeeker)
	if !ok {
		return nil, 0, nil
	}
	start, err := s.Seek(0, io.SeekCurrent)
	return s, start, err
}

// authenticate finds the keys that the header was made with, and the message
// key.
func (o Opener) authenticate(h header) (Opened, []byte, error) {
	var opened Opened
	if o.Format == Signed {
		var err error
		if opened.From, err = o.verifySignature(h); err != nil {
			return Opened{}, nil, err
		}
	}
	key, at, err := decryptKey(h.ek, o.To)
	if err == nil && key == nil && o.More != nil {
		var more []*rsa.PrivateKey
		if more, err = o.More(); err != nil {
			return Opened{}, nil, err
		}
		key, at, err = decryptKey(h.ek, more)
		at += len(o.To)
	}
	if err != nil {
		return Opened{}, nil, err
	}
	if key == nil {
		return Opened{}, nil, refuse("%w", ErrOtherRecipient)
	}
	opened.To = at
	return opened, key, nil
}

// verifySignature finds whose signature the header has, as an index of From.
func (o Opener) verifySignature(h header) (from int, err error) {
	digest := sha256.Sum256(h.signedPart())
	for i, key := range o.From {
		if key.Size() != len(h.sig) {
			continue
		}
		err := rsa.VerifyPSS(key, crypto.SHA256, digest[:], h.sig, pssOptions(key))
		if err == nil {
			return i, nil
		}
		if !errors.Is(err, rsa.ErrVerification) { // FIPS mode may not allow it, say
			return 0, fmt.Errorf("verify the signature: %w", err)
		}
	}
	return 0, refuse("the signature is not this sender's, or the payload was changed")
}

// Signer tells who signed a payload of which src gives the beginning, as an
// index of From. What it says may have been changed all the same: Open alone
// tells. The error matches ErrNotAuthentic if none of From did, or if that much
// of the payload is not there.
func (o Opener) Signer(src io.Reader) (from int, err error) {
	o.More = func() ([]*rsa.PrivateKey, error) { return nil, nil } // a key of any size
	h, _, err := readHeader(bufio.NewReaderSize(src, headerBuffer), Signed, o.signatureSizes(), o.keySizes())
	if err != nil {
		return 0, err
	}
	return o.verifySignature(h)
}

// decryptKey decrypts the message key with the first key that does it; nil if
// none does.
func decryptKey(ek []byte, keys []*rsa.PrivateKey) (key []byte, at int, err error) {
	for i, k := range keys {
		if k.Size() != len(ek) {
			continue
		}
		key, err := rsa.DecryptOAEP(sha1.New(), nil, k, ek, nil)
		if err == nil && len(key) == aesKeySize {
			return key, i, nil
		}
		if err != nil && !errors.Is(err, rsa.ErrDecryption) { // as in verifySignature
			return nil, 0, fmt.Errorf("decrypt the message key: %w", err)
		}
	}
	return nil, 0, nil
}

func (o Opener) signatureSizes() (sizes []int) {
	for _, key := range o.From {
		sizes = append(sizes, key.Size())
	}
	return sizes
}

func (o Opener) keySizes() (sizes []int) {
	if o.More != nil { // any size that a key may have
		return []int{2048 / 8, 3072 / 8, 4096 / 8}
	}
	for _, key := range o.To {
		sizes = append(sizes, key.Size())
	}
	return sizes
}

// opening is the work on one payload.
type opening struct {
	dst   io.Writer
	g     *pieceGCM
	tag   []byte
	total total
	first verified
}

// twice verifies, and then decrypts what is still the same.
func (w *opening) twice(r *bufio.Reader, src io.ReadSeeker, ciphertextAt int64) error {
	err := w.verify(r, func(p *piece) error {
		w.first.add(p)
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := src.Seek(ciphertextAt, io.SeekStart); err != nil {
		return err
	}
	r.Reset(src)
	err = pipeline(ciphertext{r}.fill, func(p *piece) { w.sum(p); w.g.crypt(p.data, p.number) }, func(p *piece) error {
		if !w.first.same(p) {
			return errChanged
		}
		_, err := w.dst.Write(p.data)
		return err
	})
	if errors.Is(err, ErrNotAuthentic) {
		return errChanged // it was, a moment ago
	}
	if err != nil {
		return err
	}
	return w.first.end()
}

// spooled keeps the ciphertext aside while it is verified.
func (w *opening) spooled(r *bufio.Reader, makeSpool Spool) error {
	if makeSpool == nil {
		return errors.New("the input can't seek, and there is no spool")
	}
	spool, err := makeSpool()
	if err != nil {
		return err
	}
	err = w.verify(r, func(p *piece) error {
		_, err := spool.Write(p.data)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return pipeline(readPlain(spool), func(p *piece) { w.g.crypt(p.data, p.number) }, func(p *piece) error {
		_, err := w.dst.Write(p.data)
		return err
	})
}

// verify reads the ciphertext to its end and checks its tag.
func (w *opening) verify(r *bufio.Reader, keep func(*piece) error) error {
	err := pipeline(ciphertext{r}.fill, w.sum, func(p *piece) error {
		w.total.add(p.sum, len(p.data))
		if w.total.octets > MaxMessage {
			return refuse("%v", ErrTooLong)
		}
		return keep(p)
	})
	if err != nil {
		return err
	}
	tag := w.total.tag()
	if subtle.ConstantTimeCompare(tag[:], w.tag) != 1 {
		return refuse("the ciphertext was changed")
	}
	return nil
}

// sum decodes a piece of ciphertext and sums it up.
func (w *opening) sum(p *piece) {
	p.err = decodeField(p.dataBuffer(len(p.text)/2), p.text, "ciphertext")
	p.sum = w.g.sum(p.data)
}
