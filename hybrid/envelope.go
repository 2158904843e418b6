package hybrid

import (
	"bytes"
	"encoding/hex"
)

const (
	aesKeySize = 16
	ivSize     = 12
	tagSize    = 16
	separator  = '$'
)

// envelope is a payload taken apart. sig is nil in an Unsigned one.
type envelope struct {
	sig, ek, iv, tag, ct []byte
}

// signedPart is what the signature covers: iv || ek || tag.
func (e envelope) signedPart() []byte {
	return bytes.Join([][]byte{e.iv, e.ek, e.tag}, nil)
}

func (e envelope) marshal(f Format) []byte {
	fields := [][]byte{e.ek, e.iv, e.tag, e.ct}
	if f == Signed {
		fields = append([][]byte{e.sig}, fields...)
	}
	size := 0
	for _, field := range fields {
		size += hex.EncodedLen(len(field)) + 1
	}
	out := make([]byte, 0, size)
	for _, field := range fields {
		out = append(hex.AppendEncode(out, field), separator)
	}
	return out
}

// parse takes the first line of a payload apart. sigSize and ekSize are the
// sizes of the sender's and the recipient's key in bytes.
func parse(payload []byte, f Format, sigSize, ekSize int) (envelope, error) {
	line := firstLine(payload)
	if len(line) == 0 {
		return envelope{}, refuse("there is no payload")
	}
	// The last separator ends the last field, so nothing may follow it. More
	// separators than expected are not worth memory.
	parts := bytes.SplitN(line, []byte{separator}, f.fields()+2)
	if len(parts) > f.fields()+1 {
		return envelope{}, refuse("more than the %d fields of %v", f.fields(), f)
	}
	if rest := parts[len(parts)-1]; len(rest) > 0 && len(parts) > 1 {
		return envelope{}, refuse("%d characters after the last \"$\": the payload is cut short or has something appended", len(rest))
	}
	parts = parts[:len(parts)-1]
	if len(parts) != f.fields() {
		return envelope{}, wrongFieldCount(f, len(parts))
	}

	var e envelope
	wanted := []struct {
		name string
		to   *[]byte
		size int // -1 for any
	}{
		{"signature", &e.sig, sigSize}, {"encrypted key", &e.ek, ekSize},
		{"iv", &e.iv, ivSize}, {"tag", &e.tag, tagSize}, {"ciphertext", &e.ct, -1},
	}
	for i, w := range wanted[len(wanted)-f.fields():] {
		raw, err := decodeHex(parts[i])
		if err != nil {
			return envelope{}, refuse("the %s is %v", w.name, err)
		}
		if w.size >= 0 && len(raw) != w.size {
			return envelope{}, refuse("the %s has %d bytes where %d are expected", w.name, len(raw), w.size)
		}
		*w.to = raw
	}
	return e, nil
}

// firstLine returns what stands before the first line end. A program that
// saved the payload as text may have added one.
func firstLine(b []byte) []byte {
	line, _, found := bytes.Cut(b, []byte("\n"))
	if found {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	return line
}

func wrongFieldCount(want Format, got int) error {
	for _, other := range []Format{Signed, Unsigned} {
		if got == other.fields() && other != want {
			return refuse("this is %v, not %v", other, want)
		}
	}
	return refuse("%d fields where %v has %d", got, want, want.fields())
}

type hexError string

func (e hexError) Error() string { return string(e) }

// decodeHex accepts canonical hex alone: encoding/hex also takes upper case,
// which would let anyone change a payload without breaking it.
func decodeHex(s []byte) ([]byte, error) {
	if len(s)%2 != 0 {
		return nil, hexError("an odd number of digits")
	}
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return nil, hexError("not lower-case hex")
		}
	}
	raw := make([]byte, hex.DecodedLen(len(s)))
	if _, err := hex.Decode(raw, s); err != nil {
		return nil, hexError("not hex")
	}
	return raw, nil
}
