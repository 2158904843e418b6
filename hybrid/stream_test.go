package hybrid

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// plainReader hides that a reader can seek.
type plainReader struct{ io.Reader }

// spools makes temporary files and counts them.
func spools(t testing.TB, made *int) Spool {
	return func() (io.ReadWriteSeeker, error) {
		*made++
		f, err := os.Create(filepath.Join(t.TempDir(), "spool"))
		if err == nil {
			t.Cleanup(func() { f.Close() })
		}
		return f, err
	}
}

func testMessage(n int) []byte {
	message := make([]byte, n)
	for i := range message {
		message[i] = byte(i>>8 ^ i*7)
	}
	return message
}

// Every combination of what can seek, at every length that is near a boundary.
func TestStreams(t *testing.T) {
	me, _ := seedKeys(t)
	other := newKey()
	for _, n := range []int{0, 1, 16, pieceSize - 1, pieceSize, pieceSize + 1, 2 * pieceSize, 20*pieceSize + 5} {
		message := testMessage(n)
		for _, seekIn := range []bool{true, false} {
			for _, seekOut := range []bool{true, false} {
				name := fmt.Sprintf("%d octets, input seeks %v, output seeks %v", n, seekIn, seekOut)
				made := 0
				sealer := Sealer{Format: Signed, To: &me.PublicKey, From: other, Spool: spools(t, &made)}
				opener := Opener{Format: Signed, To: []*rsa.PrivateKey{other, me}, From: []*rsa.PublicKey{&me.PublicKey, &other.PublicKey}, Spool: spools(t, &made)}

				payload := sealThrough(t, sealer, message, seekIn, seekOut)
				var src io.Reader = bytes.NewReader(payload)
				if !seekIn {
					src = plainReader{iotest.HalfReader(src)}
				}
				var out bytes.Buffer
				opened, err := opener.Open(&out, src)
				if err != nil || !bytes.Equal(out.Bytes(), message) || opened != (Opened{To: 1, From: 1}) {
					t.Errorf("%s: %v, %d octets, opened with %+v", name, err, out.Len(), opened)
				}
				if want := map[[2]bool]int{{true, true}: 0, {true, false}: 0, {false, true}: 1, {false, false}: 2}[[2]bool{seekIn, seekOut}]; made != want {
					t.Errorf("%s: %d spools were used, want %d", name, made, want)
				}
			}
		}
	}
}

// sealThrough writes after something else, and starts in the middle of the
// input, which must not matter.
func sealThrough(t *testing.T, s Sealer, message []byte, seekIn, seekOut bool) []byte {
	t.Helper()
	in := bytes.NewReader(append([]byte("before"), message...))
	in.Seek(int64(len("before")), io.SeekStart)
	var src io.Reader = in
	if !seekIn {
		src = plainReader{iotest.HalfReader(src)}
	}
	if !seekOut {
		var out bytes.Buffer
		if err := s.Seal(&out, src); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("kept")
	if err := s.Seal(f, src); err != nil {
		t.Fatal(err)
	}
	f.WriteString("\nafter")
	written, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	payload, kept := bytes.CutPrefix(written, []byte("kept"))
	payload, after := bytes.CutSuffix(payload, []byte("\nafter"))
	if !kept || !after {
		t.Errorf("what stood around the payload is lost: %.10q", written)
	}
	return payload
}

// changing is a file that somebody else writes to once it has been read.
type changing struct {
	*bytes.Reader
	then []byte
	read bool
}

func (c *changing) Seek(offset int64, whence int) (int64, error) {
	if c.read && whence == io.SeekStart {
		c.Reader = bytes.NewReader(c.then)
	}
	return c.Reader.Seek(offset, whence)
}

func (c *changing) Read(p []byte) (int, error) {
	c.read = true
	return c.Reader.Read(p)
}

// Nothing comes out that was not verified, whatever happens to the file between
// the passes.
func TestInputChangesBetweenPasses(t *testing.T) {
	me, _ := seedKeys(t)
	message := testMessage(5*pieceSize + 10)
	payload, err := Seal(message, &me.PublicKey, me)
	if err != nil {
		t.Fatal(err)
	}
	another, err := Seal(testMessage(7*pieceSize), &me.PublicKey, me)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) []byte {
		b := bytes.Clone(payload)
		b[at] ^= 1 // another digit, or no digit
		return b
	}
	o := Opener{Format: Signed, To: []*rsa.PrivateKey{me}, From: []*rsa.PublicKey{&me.PublicKey}}
	for name, then := range map[string][]byte{
		"first digit":     flip(len(payload) - 2*len(message) - 1),
		"third piece":     flip(len(payload) - 2*len(message) - 1 + 2*2*pieceSize + 100),
		"last digit":      flip(len(payload) - 2),
		"cut short":       payload[:len(payload)-2*pieceSize],
		"a piece less":    append(bytes.Clone(payload[:len(payload)-1-2*(pieceSize+10)]), '$'),
		"more":            append(append(bytes.Clone(payload[:len(payload)-1]), bytes.Repeat([]byte("00"), 2*pieceSize)...), '$'),
		"something else":  another,
		"nothing":         {},
		"an upper letter": bytes.Replace(payload, []byte("a"), []byte("A"), len(payload)),
	} {
		var out bytes.Buffer
		_, err := o.Open(&out, &changing{Reader: bytes.NewReader(payload), then: then})
		if !errors.Is(err, errChanged) || !bytes.HasPrefix(message, out.Bytes()) {
			t.Errorf("%s: %v, and %d octets came out", name, err, out.Len())
		}
	}

	// Zeros at the end of the ciphertext leave no trace in GHASH, up to the end of
	// a block, or of a piece that is empty.
	for _, c := range []struct{ message, zeros int }{{5, 1}, {5, 11}, {0, 1}, {0, 100_000}, {pieceSize, 1000}, {pieceSize + 1, 15}} {
		payload, err := Seal(testMessage(c.message), &me.PublicKey, me)
		if err != nil {
			t.Fatal(err)
		}
		longer := append(append(bytes.Clone(payload[:len(payload)-1]), bytes.Repeat([]byte("00"), c.zeros)...), '$')
		var out bytes.Buffer
		_, err = o.Open(&out, &changing{Reader: bytes.NewReader(payload), then: longer})
		if !errors.Is(err, errChanged) || !bytes.HasPrefix(testMessage(c.message), out.Bytes()) {
			t.Errorf("%d octets and %d zeros: %v, and %d octets came out", c.message, c.zeros, err, out.Len())
		}
	}

	s := Sealer{Format: Signed, To: &me.PublicKey, From: me}
	changed := bytes.Clone(message)
	changed[3*pieceSize]++
	for name, then := range map[string][]byte{"changed": changed, "shorter": message[:pieceSize]} {
		if err := s.Seal(io.Discard, struct{ io.ReadSeeker }{&changing{Reader: bytes.NewReader(message), then: then}}); !errors.Is(err, errChanged) {
			t.Errorf("sealing what was %s: %v", name, err)
		}
	}
	// A log grows while it is sealed.
	for _, size := range []int{0, 1, pieceSize, len(message)} {
		var out bytes.Buffer
		log := &changing{Reader: bytes.NewReader(message[:size]), then: testMessage(9 * pieceSize)}
		if err := s.Seal(&out, struct{ io.ReadSeeker }{log}); err != nil {
			t.Errorf("sealing what has grown from %d octets: %v", size, err)
		} else if got, err := Open(out.Bytes(), me, &me.PublicKey); err != nil || !bytes.Equal(got, message[:size]) {
			t.Errorf("opening what had %d octets: %d octets, %v", size, len(got), err)
		}
	}
}

// Nothing of a long message comes out if its last digit is wrong.
func TestNothingUnverifiedComesOut(t *testing.T) {
	me, _ := seedKeys(t)
	payload, err := Seal(testMessage(10*pieceSize), &me.PublicKey, me)
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{"", "$$", "0$", "x$", "$ \n", "$x"} {
		damaged := append(bytes.Clone(payload[:len(payload)-1]), end...)
		made := 0
		o := Opener{Format: Signed, To: []*rsa.PrivateKey{me}, From: []*rsa.PublicKey{&me.PublicKey}, Spool: spools(t, &made)}
		for _, src := range []io.Reader{bytes.NewReader(damaged), plainReader{bytes.NewReader(damaged)}} {
			var out bytes.Buffer
			if _, err := o.Open(&out, src); !errors.Is(err, ErrNotAuthentic) || out.Len() > 0 {
				t.Errorf("ending %q: %v, and %d octets came out", end, err, out.Len())
			}
		}
	}
}

// endless is a stream that never ends, and counts what is taken of it.
type endless struct{ taken int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	e.taken += len(p)
	return len(p), nil
}

func TestEndlessInputIsRefusedEarly(t *testing.T) {
	me, sender := seedKeys(t)
	src := &endless{}
	o := Opener{Format: Signed, To: []*rsa.PrivateKey{me}, From: []*rsa.PublicKey{sender}}
	if _, err := o.Open(io.Discard, src); !errors.Is(err, ErrNotAuthentic) || src.taken > 1<<20 {
		t.Errorf("%v after %d octets", err, src.taken)
	}
}

var errDisk = errors.New("the disk is on fire")

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestErrorsAreNotLost(t *testing.T) {
	me, _ := seedKeys(t)
	message := testMessage(10 * pieceSize)
	payload, err := Seal(message, &me.PublicKey, me)
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	s := Sealer{Format: Signed, To: &me.PublicKey, From: me, Spool: spools(t, &made)}
	o := Opener{Format: Signed, To: []*rsa.PrivateKey{me}, From: []*rsa.PublicKey{&me.PublicKey}, Spool: spools(t, &made)}
	broken := func(b []byte) io.Reader {
		return io.MultiReader(bytes.NewReader(b[:len(b)/2]), iotest.ErrReader(errDisk))
	}
	noSpool := func() (io.ReadWriteSeeker, error) { return nil, errDisk }
	_, openErr := o.Open(io.Discard, broken(payload))
	_, writeErr := o.Open(&failing{after: pieceSize}, bytes.NewReader(payload))
	_, spoolErr := Opener{Format: o.Format, To: o.To, From: o.From, Spool: noSpool}.Open(io.Discard, plainReader{bytes.NewReader(payload)})
	for name, err := range map[string]error{
		"reading to seal":   s.Seal(io.Discard, broken(message)),
		"writing a payload": s.Seal(&failing{after: pieceSize}, bytes.NewReader(message)),
		"writing a header":  s.Seal(&failing{}, bytes.NewReader(message)),
		"spooling":          Sealer{s.Format, s.To, s.From, noSpool}.Seal(io.Discard, plainReader{bytes.NewReader(message)}),
		"reading to open":   openErr,
		"writing a message": writeErr,
		"spooling to open":  spoolErr,
	} {
		if !errors.Is(err, errDisk) || errors.Is(err, ErrNotAuthentic) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sized is an input that claims to be large.
type sized struct {
	*bytes.Reader
	size int64
}

func (s sized) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		return s.size, nil
	}
	return s.Reader.Seek(offset, whence)
}

func TestTooLong(t *testing.T) {
	me, _ := seedKeys(t)
	s := Sealer{Format: Signed, To: &me.PublicKey, From: me}
	if err := s.Seal(io.Discard, sized{bytes.NewReader(nil), MaxMessage + 1}); !errors.Is(err, ErrTooLong) {
		t.Errorf("over the limit: %v", err)
	}
	if err := s.Seal(io.Discard, sized{bytes.NewReader(nil), MaxMessage}); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	// Where the length is not known before, the count tells.
	w := &sealing{total: total{g: &pieceGCM{}, octets: MaxMessage - 5}}
	if err := w.count(&piece{data: make([]byte, 5)}); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if err := w.count(&piece{data: make([]byte, 1)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("over the limit: %v", err)
	}
}

func BenchmarkSeal(b *testing.B) {
	benchmarkSizes(b, func(b *testing.B, message []byte) {
		s := Sealer{Format: Signed, To: &newKey().PublicKey, From: newKey()}
		for b.Loop() {
			if err := s.Seal(io.Discard, bytes.NewReader(message)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	benchmarkSizes(b, func(b *testing.B, message []byte) {
		payload, err := Seal(message, &newKey().PublicKey, newKey())
		if err != nil {
			b.Fatal(err)
		}
		o := Opener{Format: Signed, To: []*rsa.PrivateKey{newKey()}, From: []*rsa.PublicKey{&newKey().PublicKey}}
		for b.Loop() {
			if _, err := o.Open(io.Discard, bytes.NewReader(payload)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchmarkSizes(b *testing.B, f func(*testing.B, []byte)) {
	for _, size := range []int{1 << 10, 64 << 20} {
		b.Run(strings.TrimSpace(fmt.Sprintf("%dKiB", size>>10)), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			f(b, testMessage(size))
		})
	}
}
