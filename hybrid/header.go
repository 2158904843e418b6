package hybrid

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

const (
	aesKeySize = 16
	ivSize     = 12
	tagSize    = 16
	separator  = '$'
	maxRSASize = 512 // octets of a key of 4096 bits
)

// header is what stands before the ciphertext. sig is nil in an Unsigned
// payload.
type header struct {
	sig, ek, iv, tag []byte
}

// signedPart is what the signature covers: iv || ek || tag.
func (h header) signedPart() []byte {
	return bytes.Join([][]byte{h.iv, h.ek, h.tag}, nil)
}

func (h header) marshal(f Format) []byte {
	var out []byte
	for _, field := range h.fields(f) {
		out = append(appendHex(out, *field.raw), separator)
	}
	return out
}

// headerField is one field: what it is called in errors, where it goes, and the
// sizes that it may have.
type headerField struct {
	name  string
	raw   *[]byte
	sizes []int
}

func (h *header) fields(f Format) []headerField {
	all := []headerField{
		{"signature", &h.sig, nil}, {"encrypted key", &h.ek, nil},
		{"iv", &h.iv, []int{ivSize}}, {"tag", &h.tag, []int{tagSize}},
	}
	if f == Unsigned {
		return all[1:]
	}
	return all
}

// readHeader reads a header and returns its length in octets. The signature and
// the encrypted key must have one of the sizes, in octets.
func readHeader(r *bufio.Reader, f Format, sigSizes, ekSizes []int) (h header, length int64, err error) {
	for i, field := range h.fields(f) {
		text, err := readField(r, field.name, i == 0)
		if err != nil {
			return header{}, 0, err
		}
		length += int64(len(text)) + 1
		*field.raw = make([]byte, len(text)/2)
		if err := decodeField(*field.raw, text, field.name); err != nil {
			return header{}, 0, err
		}
		switch field.name {
		case "signature":
			field.sizes = sigSizes
		case "encrypted key":
			field.sizes = ekSizes
		}
		if err := checkSize(f, field); err != nil {
			return header{}, 0, err
		}
	}
	return h, length, nil
}

// readField reads up to a separator, which it takes too.
func readField(r *bufio.Reader, name string, first bool) ([]byte, error) {
	var text []byte
	for {
		c, err := r.ReadByte()
		switch {
		case err != nil && err != io.EOF:
			return nil, err
		case first && len(text) == 0 && (err == io.EOF || c == '\n' || c == '\r'):
			return nil, refuse("there is no payload")
		case first && len(text) == 0 && digitValue(c) > 15 && c != separator:
			return nil, refuse("this is no payload: it does not begin with a hexadecimal digit")
		case err == io.EOF || c == '\n' || c == '\r':
			return nil, refuse("cut short in the %s", name)
		case c == separator:
			return text, nil
		case len(text) == 2*maxRSASize:
			return nil, refuse("no payload: the %s has no end", name)
		}
		text = append(text, c)
	}
}

// decodeField decodes canonical hex.
func decodeField(dst, text []byte, name string) error {
	if len(text)%2 != 0 {
		return refuse("the %s has an odd number of digits", name)
	}
	if !decodeHex(dst, text) {
		return refuse("the %s is not lower-case hex", name)
	}
	return nil
}

// checkSize also recognizes a payload of the other format by where the iv is.
func checkSize(f Format, field headerField) error {
	size := len(*field.raw)
	for _, s := range field.sizes {
		if s == size {
			return nil
		}
	}
	switch {
	case f == Signed && field.name == "encrypted key" && size == ivSize:
		return refuse("this is %v, not %v", Unsigned, Signed)
	case f == Unsigned && field.name == "iv" && size >= 2048/8:
		return refuse("this is %v, not %v", Signed, Unsigned)
	}
	if field.name == "iv" || field.name == "tag" {
		return refuse("the %s has %d octets, and %d are expected", field.name, size, field.sizes[0])
	}
	return refuse("the %s has %d octets, which is not the size of the key", field.name, size)
}

// ciphertext reads the last field in pieces, as digits. limit is kept by the
// caller.
type ciphertext struct{ r *bufio.Reader }

// fill reads the next piece's digits.
func (c ciphertext) fill(p *piece) (more bool, err error) {
	text := p.textBuffer(pieceSize)
	n, err := io.ReadFull(c.r, text)
	if end := bytes.IndexByte(text[:n], separator); end >= 0 {
		p.text = text[:end]
		return false, c.checkEnd(text[end+1 : n])
	}
	switch {
	case err == nil:
		return true, nil
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
		return false, refuse("cut short in the ciphertext")
	}
	return false, err
}

// checkEnd looks at what follows the last separator: nothing, or a line end and
// lines that are not looked at, as hybrid.py did.
func (c ciphertext) checkEnd(rest []byte) error {
	if len(rest) < len("\r\n") {
		more, err := c.r.Peek(len("\r\n") - len(rest))
		if err != nil && err != io.EOF {
			return err
		}
		rest = append(bytes.Clone(rest), more...)
	}
	if len(rest) == 0 || rest[0] == '\n' || bytes.HasPrefix(rest, []byte("\r\n")) {
		return nil
	}
	return refuse("something follows the last \"$\"")
}
