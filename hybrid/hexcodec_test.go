package hybrid

import (
	"bytes"
	"encoding/hex"
	"testing"
)

func TestHexOfAllOctets(t *testing.T) {
	for size := range 70 {
		src := make([]byte, size)
		for start := range 256 {
			for i := range src {
				src[i] = byte(start + 7*i)
			}
			digits := appendHex(nil, src)
			if want := hex.EncodeToString(src); string(digits) != want {
				t.Fatalf("%x became %s", src, digits)
			}
			back := make([]byte, size)
			if !decodeHex(back, digits) || !bytes.Equal(back, src) {
				t.Fatalf("%s came back as %x", digits, back)
			}
			if !decodeHex(digits, digits) || !bytes.Equal(digits[:size], src) {
				t.Fatalf("in place, %x came back as %x", src, digits[:size])
			}
		}
	}
}

// Each octet that is no lower-case digit is noticed, wherever it stands.
func TestHexIsCanonical(t *testing.T) {
	const size = 84 // blocks, words and a rest
	dst := make([]byte, size)
	for at := range size {
		for c := range 256 {
			src := bytes.Repeat([]byte("0"), size)
			src[at] = byte(c)
			want := bytes.IndexByte([]byte("0123456789abcdef"), byte(c)) >= 0
			if got := decodeHex(dst, src); got != want {
				t.Errorf("octet %#x at %d: %v", c, at, got)
			}
		}
	}
	if decodeHex(dst, []byte("000")) {
		t.Error("an odd number of digits")
	}
}

func FuzzHex(f *testing.F) {
	f.Add([]byte("0123456789abcdefABCDEF"))
	f.Fuzz(func(t *testing.T, src []byte) {
		dst := make([]byte, len(src)/2)
		want, err := hex.DecodeString(string(src))
		ok := err == nil && bytes.Equal(src, bytes.ToLower(src))
		if got := decodeHex(dst, src); got != ok || ok && !bytes.Equal(dst, want) {
			t.Errorf("%q: %v, %x; want %v, %x", src, got, dst, ok, want)
		}
	})
}

func BenchmarkEncodeHex(b *testing.B) {
	src, dst := make([]byte, 128<<10), make([]byte, 256<<10)
	for i := range src {
		src[i] = byte(i * i)
	}
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		encodeHex(dst, src)
	}
}

func BenchmarkDecodeHex(b *testing.B) {
	src, dst := make([]byte, 128<<10), make([]byte, 256<<10)
	for i := range src {
		src[i] = byte(i * i)
	}
	encodeHex(dst, src)
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if !decodeHex(src, dst) {
			b.Fatal("not canonical")
		}
	}
}
