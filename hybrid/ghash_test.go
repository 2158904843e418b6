package hybrid

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	mathrand "math/rand/v2"
	"testing"
)

// inPieces encrypts a message piece by piece.
func inPieces(t testing.TB, key, iv, message []byte) (ct []byte, tag [tagSize]byte) {
	t.Helper()
	g, err := newPieceGCM(key, iv)
	if err != nil {
		t.Fatal(err)
	}
	ct = bytes.Clone(message)
	sum := total{g: g}
	for at := 0; at < len(ct); at += pieceSize {
		piece := ct[at:min(at+pieceSize, len(ct))]
		g.crypt(piece, int64(at/pieceSize))
		sum.add(g.sum(piece), len(piece))
	}
	return ct, sum.tag()
}

func checkAgainstStandard(t testing.TB, key, iv, message []byte) {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	want := gcm.Seal(nil, iv, message, nil)
	ct, tag := inPieces(t, key, iv, message)
	if !bytes.Equal(append(ct, tag[:]...), want) {
		t.Fatalf("%d octets: differs from crypto/cipher", len(message))
	}
}

// All lengths around the boundaries of blocks and pieces.
func TestPiecesEqualStandardGCM(t *testing.T) {
	random := mathrand.New(mathrand.NewPCG(1, 2))
	message := make([]byte, 3*pieceSize+100)
	for i := range message {
		message[i] = byte(random.Uint32())
	}
	key, iv := message[:aesKeySize], message[50:50+ivSize]
	for length := range 200 {
		checkAgainstStandard(t, key, iv, message[:length])
	}
	for pieces := 1; pieces <= 3; pieces++ {
		for around := -33; around <= 33; around++ {
			checkAgainstStandard(t, key, iv, message[:pieces*pieceSize+around])
		}
	}
}

func FuzzPieces(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), []byte("0123456789ab"), []byte("message"), uint32(0))
	f.Add([]byte("0123456789abcdef"), []byte("0123456789ab"), []byte("message"), uint32(2*pieceSize+5))
	f.Fuzz(func(t *testing.T, key, iv, message []byte, more uint32) {
		if len(key) < aesKeySize || len(iv) < ivSize {
			return
		}
		message = append(message, make([]byte, more%(3*pieceSize))...)
		checkAgainstStandard(t, key[:aesKeySize], iv[:ivSize], message)
	})
}

// The McGrew-Viega test case 4 of GCM, less its associated data: the multiplier
// is checked by the tags above; here, that 1 is 1 and that powers add up.
func TestField(t *testing.T) {
	one := field{hi: 1 << 63}
	raw, _ := hex.DecodeString("66e94bd4ef8a2c3b884cfa59ca342b2e")
	h := fieldOf(raw)
	if h.mul(one) != h || one.mul(h) != h || h.pow(0) != one || h.pow(1) != h {
		t.Error("1 is not the one")
	}
	for _, n := range []uint64{2, 3, 7, 8192, 8193} {
		if h.pow(n) != h.pow(n-1).mul(h) || h.pow(n) != h.mul(h.pow(n-1)) {
			t.Errorf("H^%d is not H^%d * H", n, n-1)
		}
	}
	if b := h.bytes(); !bytes.Equal(b[:], raw) {
		t.Errorf("%x came back as %x", raw, b)
	}
}

// Beyond 4 GiB, by construction: the counter and the length block of a message
// whose first pieces are only counted.
func TestFarPieces(t *testing.T) {
	key, iv := make([]byte, aesKeySize), make([]byte, ivSize)
	rand.Read(key)
	rand.Read(iv)
	g, err := newPieceGCM(key, iv)
	if err != nil {
		t.Fatal(err)
	}
	const far = 5 << 30 / pieceSize // the number of the piece after 5 GiB
	got := make([]byte, pieceSize)
	g.crypt(got, far)

	// The same key stream, from the standard library, by its counter.
	want := make([]byte, pieceSize)
	start := counterBlock(iv, 2)
	stream := cipher.NewCTR(g.block, start[:])
	skip := make([]byte, 1<<20)
	for range int64(5<<30) / int64(len(skip)) {
		stream.XORKeyStream(skip, skip)
	}
	stream.XORKeyStream(want, want)
	if !bytes.Equal(got, want) {
		t.Error("the key stream after 5 GiB differs")
	}

	// The tag: all pieces alike, so that their sum is a geometric series.
	piece := bytes.Repeat([]byte{0x5a}, pieceSize)
	sum, all := g.sum(piece), total{g: g}
	for range far {
		all.add(sum, pieceSize)
	}
	series, power := field{}, field{hi: 1 << 63}
	for range far {
		series, power = series.add(sum.mul(power)), power.mul(g.hPiece)
	}
	lengths := field{lo: 5 << 33}
	last := g.encryptBlock(counterBlock(iv, 1))
	if all.tag() != series.add(lengths.mul(g.h)).add(last).bytes() {
		t.Error("the tag of 5 GiB differs")
	}
}

func BenchmarkSum(b *testing.B) {
	g, err := newPieceGCM(make([]byte, aesKeySize), make([]byte, ivSize))
	if err != nil {
		b.Fatal(err)
	}
	piece := make([]byte, pieceSize)
	b.SetBytes(pieceSize)
	b.ReportAllocs()
	for b.Loop() {
		g.sum(piece)
	}
}

func BenchmarkCrypt(b *testing.B) {
	g, err := newPieceGCM(make([]byte, aesKeySize), make([]byte, ivSize))
	if err != nil {
		b.Fatal(err)
	}
	piece := make([]byte, pieceSize)
	b.SetBytes(pieceSize)
	b.ReportAllocs()
	for b.Loop() {
		g.crypt(piece, 1)
	}
}

func BenchmarkMul(b *testing.B) {
	h := field{1, 2}
	for b.Loop() {
		h = h.mul(h)
	}
}
