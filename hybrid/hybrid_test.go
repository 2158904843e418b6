package hybrid

import (
	"bufio"
	"bytes"
	"crypto/rsa"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func readFile(t testing.TB, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// seedKeys returns the keys of the original's files: the recipient's private
// key and the sender's public key.
func seedKeys(t testing.TB) (*rsa.PrivateKey, *rsa.PublicKey) {
	t.Helper()
	me, err := ParsePrivateKey(readFile(t, "seed", "key.priv"))
	if err != nil {
		t.Fatal(err)
	}
	sender, err := ParsePublicKey(readFile(t, "seed", "test.pub"))
	if err != nil {
		t.Fatal(err)
	}
	return me, sender
}

var newKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := GenerateKey(2048)
	if err != nil {
		panic(err)
	}
	return key
})

func TestOpenOriginal(t *testing.T) {
	me, sender := seedKeys(t)
	enc, want := readFile(t, "seed", "enc"), readFile(t, "seed", "dec")
	for name, payload := range map[string][]byte{
		"as written":      enc,
		"with a newline":  append(bytes.Clone(enc), '\n'),
		"with CRLF":       append(bytes.Clone(enc), "\r\n"...),
		"with more lines": append(bytes.Clone(enc), "\nanother line\n"...),
	} {
		got, err := Open(payload, me, sender)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
}

// Every single character counts, separators included.
func TestEveryCharacterOfThePayloadCounts(t *testing.T) {
	me, sender := seedKeys(t)
	enc := readFile(t, "seed", "enc")
	for i, old := range enc {
		for _, c := range []byte("0f$AG\n\r ") {
			if c == old {
				continue
			}
			changed := bytes.Clone(enc)
			changed[i] = c
			if message, err := Open(changed, me, sender); !errors.Is(err, ErrNotAuthentic) || message != nil {
				t.Fatalf("octet %d changed from %q to %q: %q, %v; want ErrNotAuthentic", i, old, c, message, err)
			}
		}
	}
}

// The files in testdata/failures hold a part of the expected error in their
// first line, and a payload after it.
func TestFailures(t *testing.T) {
	me, sender := seedKeys(t)
	files, err := filepath.Glob("testdata/failures/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no failure vectors: %v", err)
	}
	for _, file := range files {
		want, payload, _ := strings.Cut(string(readFile(t, "failures", filepath.Base(file))), "\n")
		message, err := Open([]byte(payload), me, sender)
		if message != nil || !errors.Is(err, ErrNotAuthentic) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want an error with %q", file, message, err, want)
		}
	}
}

// The files in testdata/python were written by scripts/hybrid.py, with the
// original's key.priv as sender and recipient.
func TestOpenPython(t *testing.T) {
	me, _ := seedKeys(t)
	for _, n := range []string{"0", "1", "15", "16", "17"} {
		want := strings.Repeat("m", map[string]int{"0": 0, "1": 1, "15": 15, "16": 16, "17": 17}[n])
		if got, err := Open(readFile(t, "python", "enc."+n), me, &me.PublicKey); err != nil || string(got) != want {
			t.Errorf("enc.%s: %q, %v", n, got, err)
		}
		if got, err := OpenUnsigned(readFile(t, "python", "reg."+n), me); err != nil || string(got) != want {
			t.Errorf("reg.%s: %q, %v", n, got, err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	me, _ := seedKeys(t)
	other := newKey()
	for _, n := range []int{0, 1, 15, 16, 17, 1_000_003} {
		message := bytes.Repeat([]byte{0xa5}, n)
		payload, err := Seal(message, &me.PublicKey, other)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Open(payload, me, &other.PublicKey); err != nil || !bytes.Equal(got, message) {
			t.Errorf("%d octets: %v", n, err)
		}
		payload, err = SealUnsigned(message, &me.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := OpenUnsigned(payload, me); err != nil || !bytes.Equal(got, message) {
			t.Errorf("%d octets unsigned: %v", n, err)
		}
	}
}

func TestLargerKeys(t *testing.T) {
	me, _ := seedKeys(t)
	big, err := GenerateKey(3072)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := Seal([]byte("hello"), &big.PublicKey, me)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Open(payload, big, &me.PublicKey); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

// Mail for a former key: the further keys are asked for only where they are
// needed, and only once the sender is known.
func TestMoreKeys(t *testing.T) {
	me, sender := seedKeys(t)
	big, err := GenerateKey(3072)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	o := Opener{Format: Signed, To: []*rsa.PrivateKey{newKey()}, From: []*rsa.PublicKey{&newKey().PublicKey, sender, &me.PublicKey},
		More: func() ([]*rsa.PrivateKey, error) { asked++; return []*rsa.PrivateKey{big, me}, nil }}
	forBig, err := Seal([]byte("hello"), &big.PublicKey, me)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		payload []byte
		want    Opened
	}{{readFile(t, "seed", "enc"), Opened{To: 2, From: 1}}, {forBig, Opened{To: 1, From: 2}}} {
		var out bytes.Buffer
		if opened, err := o.Open(&out, bytes.NewReader(c.payload)); err != nil || opened != c.want || out.String() != "hello" {
			t.Errorf("%q opened with %+v, %v; want %+v", &out, opened, err, c.want)
		}
	}
	current, err := Seal(nil, &newKey().PublicKey, me)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := Seal(nil, &me.PublicKey, big)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Open(io.Discard, bytes.NewReader(current)); err != nil {
		t.Error(err)
	}
	if _, err := o.Open(io.Discard, bytes.NewReader(forged)); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("from somebody else: %v", err)
	}
	if asked != 2 {
		t.Errorf("asked for more keys %d times, want 2", asked)
	}
}

func TestWrongKeys(t *testing.T) {
	me, sender := seedKeys(t)
	other := newKey()
	forOther, err := Seal([]byte("hello"), &other.PublicKey, me)
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := SealUnsigned([]byte("hello"), &other.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	enc := readFile(t, "seed", "enc")
	for name, open := range map[string]func() ([]byte, error){
		"signed by somebody else": func() ([]byte, error) { return Open(forOther, other, sender) },
		"encrypted for another":   func() ([]byte, error) { return Open(forOther, me, &me.PublicKey) },
		"unsigned for another":    func() ([]byte, error) { return OpenUnsigned(unsigned, me) },
		"signed read as unsigned": func() ([]byte, error) { return OpenUnsigned(enc, me) },
		"unsigned read as signed": func() ([]byte, error) { return Open(unsigned, other, sender) },
		"the signature cut off":   func() ([]byte, error) { return Open(enc[bytes.IndexByte(enc, '$')+1:], me, sender) },
		"an empty unsigned":       func() ([]byte, error) { return OpenUnsigned(nil, me) },
		"unsigned with a fifth":   func() ([]byte, error) { return OpenUnsigned(append(bytes.Clone(unsigned), "00$"...), other) },
		"unsigned, tag of another": func() ([]byte, error) {
			return OpenUnsigned(bytes.Replace(unsigned, unsigned[540:550], []byte("0123456789"), 1), other)
		},
	} {
		if message, err := open(); !errors.Is(err, ErrNotAuthentic) || message != nil {
			t.Errorf("%s: %q, %v; want ErrNotAuthentic", name, message, err)
		}
	}
}

// What readHeader accepts, marshal writes back octet for octet: there is one
// spelling of each header.
func FuzzReadHeader(f *testing.F) {
	f.Add(readFile(f, "seed", "enc"), true)
	f.Add(readFile(f, "python", "reg.17"), false)
	f.Add([]byte("$$$$"), false)
	me, sender := seedKeys(f)
	f.Fuzz(func(t *testing.T, payload []byte, signed bool) {
		format := Unsigned
		if signed {
			format = Signed
		}
		h, length, err := readHeader(bufio.NewReader(bytes.NewReader(payload)), format, []int{sender.Size()}, []int{me.Size()})
		if err != nil {
			if !errors.Is(err, ErrNotAuthentic) {
				t.Errorf("%v does not match ErrNotAuthentic", err)
			}
			return
		}
		if got := h.marshal(format); !bytes.Equal(got, payload[:length]) {
			t.Errorf("%q came back as %q", payload[:length], got)
		}
	})
}

// No change of a payload yields a message.
func FuzzOpenChanged(f *testing.F) {
	me, _ := seedKeys(f)
	enc := readFile(f, "python", "enc.17")
	f.Add(enc[:100], 50, 1)
	f.Add([]byte("$"), 513, 0)
	f.Add([]byte{}, 1000, 7)
	f.Fuzz(func(t *testing.T, insert []byte, at, drop int) {
		at = max(0, min(at, len(enc)))
		drop = max(0, min(drop, len(enc)-at))
		changed := append(append(bytes.Clone(enc[:at]), insert...), enc[at+drop:]...)
		line, _, _ := bytes.Cut(changed, []byte("\n"))
		message, err := Open(changed, me, &me.PublicKey)
		if bytes.Equal(bytes.TrimSuffix(line, []byte("\r")), enc) {
			return // something after the first line
		}
		if !errors.Is(err, ErrNotAuthentic) || len(message) > 0 {
			t.Errorf("%q: %q, %v", changed, message, err)
		}
	})
}
