package hybrid

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// AES-GCM in pieces (NIST SP 800-38D). The standard library's GCM takes a
// message whole, but its parts are fast, and the algebra lets a message be
// worked on in pieces, in any order and on all processors:
//
// With Y(P) = GHASH's state after the blocks of a piece P, starting from 0, the
// state after pieces P, Q is Y(P) * H^(blocks of Q) ^ Y(Q). Y(P) itself comes
// from a GMAC of P: GMAC under a nonce N is E(N||1) ^ (Y(P) ^ len(P)) * H, with
// the length block of associated data. As everything is multiplied by H once
// more at the end, Y(P) * H is what is kept: the sum of a piece.
//
// These GMACs have one fixed nonce, which would be the end of GMAC's security if
// anybody saw them. Nobody does: they never leave this file but as sums.

// field is an element of GCM's GF(2^128): the bits of a block, the first in the
// highest bit of hi.
type field struct{ hi, lo uint64 }

func fieldOf(block []byte) field {
	return field{binary.BigEndian.Uint64(block), binary.BigEndian.Uint64(block[8:])}
}

func (a field) bytes() (block [tagSize]byte) {
	binary.BigEndian.PutUint64(block[:], a.hi)
	binary.BigEndian.PutUint64(block[8:], a.lo)
	return block
}

func (a field) add(b field) field { return field{a.hi ^ b.hi, a.lo ^ b.lo} }

// mul is SP 800-38D, section 6.3, without branches on secret bits.
func (a field) mul(b field) field {
	var z field
	for _, word := range [2]uint64{a.hi, a.lo} {
		for range 64 {
			take := -(word >> 63) // all ones if the bit is set
			z.hi ^= b.hi & take
			z.lo ^= b.lo & take
			reduce := -(b.lo & 1)
			b.lo = b.lo>>1 | b.hi<<63
			b.hi = b.hi>>1 ^ 0xe1<<56&reduce
			word <<= 1
		}
	}
	return z
}

// pow is a to the n-th.
func (a field) pow(n uint64) field {
	z := field{hi: 1 << 63} // 1
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			z = z.mul(a)
		}
		a = a.mul(a)
	}
	return z
}

// pieceSize is how much of a message is worked on at a time: a multiple of the
// block size.
const pieceSize = 256 << 10

const gcmBlock = 16

// pieceGCM works on the pieces of one message. Its methods may be called
// concurrently.
type pieceGCM struct {
	block  cipher.Block
	gcm    cipher.AEAD
	iv     []byte
	h      field // E(0)
	mask   field // E(N||1) for the fixed nonce N
	hPiece field // H^(blocks of a whole piece)
}

func newPieceGCM(key, iv []byte) (*pieceGCM, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	g := &pieceGCM{block: block, gcm: gcm, iv: iv}
	var zero [gcmBlock]byte
	g.h = g.encryptBlock(zero)
	g.mask = g.encryptBlock(counterBlock(zero[:ivSize], 1))
	g.hPiece = g.h.pow(pieceSize / gcmBlock)
	return g, nil
}

func (g *pieceGCM) encryptBlock(block [gcmBlock]byte) field {
	g.block.Encrypt(block[:], block[:])
	return fieldOf(block[:])
}

// counterBlock is iv || counter (SP 800-38D, section 7.1, for 12-octet ivs).
func counterBlock(iv []byte, counter uint32) (block [gcmBlock]byte) {
	copy(block[:], iv)
	binary.BigEndian.PutUint32(block[ivSize:], counter)
	return block
}

// crypt encrypts or decrypts the piece with the given number, in place. The
// message's first block has the counter 2.
func (g *pieceGCM) crypt(piece []byte, number int64) {
	first := counterBlock(g.iv, uint32(2+number*(pieceSize/gcmBlock)))
	cipher.NewCTR(g.block, first[:]).XORKeyStream(piece, piece)
}

// sum is Y(P) * H of a piece of ciphertext.
func (g *pieceGCM) sum(piece []byte) field {
	var zero [ivSize]byte
	var buf [tagSize]byte
	gmac := fieldOf(g.gcm.Seal(buf[:0], zero[:], nil, piece))
	lengths := field{hi: uint64(len(piece)) * 8}
	return gmac.add(g.mask).add(lengths.mul(g.h))
}

// total adds up the sums of pieces, in their order.
type total struct {
	g      *pieceGCM
	sum    field
	octets int64
}

// add takes the sum of the next piece, of the given length. Only the last piece
// may be shorter than pieceSize.
func (t *total) add(sum field, length int) {
	shift := t.g.hPiece
	if length != pieceSize {
		shift = t.g.h.pow(uint64(length+gcmBlock-1) / gcmBlock)
	}
	t.sum = t.sum.mul(shift).add(sum)
	t.octets += int64(length)
}

// tag is the authentication tag of all pieces.
func (t *total) tag() [tagSize]byte {
	lengths := field{lo: uint64(t.octets) * 8}
	return t.sum.add(lengths.mul(t.g.h)).add(t.g.encryptBlock(counterBlock(t.g.iv, 1))).bytes()
}
