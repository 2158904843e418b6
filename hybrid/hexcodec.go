package hybrid

import "encoding/binary"

// Hexadecimal, many digits at a time: a payload is twice as long as what is in
// it, and encoding/hex, octet by octet, would bound everything else. On amd64,
// assembly takes whole blocks (hex_amd64.s) and this code the rest.
//
// A word holds eight digits or nibbles, one in each octet, the first in the
// highest.
const (
	ones  = 0x0101010101010101
	lows  = 0x0f0f0f0f0f0f0f0f
	highs = 0xf0f0f0f0f0f0f0f0
)

// toDigits turns eight nibbles into lower-case digits.
func toDigits(nibbles uint64) uint64 {
	letter := (nibbles + 6*ones) >> 4 & ones // 1 where the nibble is 10 or more
	return nibbles + '0'*ones + letter*('a'-10-'0')
}

// appendHex appends the digits of src to dst.
func appendHex(dst, src []byte) []byte {
	n := len(dst)
	dst = append(dst, make([]byte, 2*len(src))...)
	encodeHex(dst[n:], src)
	return dst
}

// encodeHex writes the 2*len(src) digits of src to dst.
func encodeHex(dst, src []byte) {
	dst = dst[:2*len(src)]
	if n := len(src) / blockSize; n > 0 {
		encodeBlocks(&dst[0], &src[0], n)
		src, dst = src[n*blockSize:], dst[2*n*blockSize:]
	}
	for len(src) >= 4 {
		x := uint64(binary.BigEndian.Uint32(src))
		x = (x | x<<16) & 0x0000ffff0000ffff
		x = (x | x<<8) & 0x00ff00ff00ff00ff
		x = (x | x<<4) & lows
		binary.BigEndian.PutUint64(dst, toDigits(x))
		src, dst = src[4:], dst[8:]
	}
	const digits = "0123456789abcdef"
	for i, b := range src {
		dst[2*i], dst[2*i+1] = digits[b>>4], digits[b&15]
	}
}

// decodeHex writes the len(src)/2 octets of src to dst, which may be src. It
// reports false unless src is canonical: an even number of lower-case digits.
func decodeHex(dst, src []byte) bool {
	if len(src)%2 != 0 {
		return false
	}
	dst = dst[:len(src)/2]
	var bad uint64
	if n := len(dst) / blockSize; n > 0 {
		if !decodeBlocks(&dst[0], &src[0], n) {
			bad = 1
		}
		src, dst = src[2*n*blockSize:], dst[n*blockSize:]
	}
	for len(src) >= 8 {
		x := binary.BigEndian.Uint64(src)
		nibbles := x&lows + x>>6&ones*9 // a letter has bit 6 set, and 1 to 6 in its low half
		// What is no digit comes back as something else, or is no nibble.
		bad |= toDigits(nibbles) ^ x | nibbles&highs
		nibbles = (nibbles | nibbles>>4) & 0x00ff00ff00ff00ff
		nibbles = (nibbles | nibbles>>8) & 0x0000ffff0000ffff
		binary.BigEndian.PutUint32(dst, uint32(nibbles|nibbles>>16))
		src, dst = src[8:], dst[4:]
	}
	for i := range dst {
		hi, lo := digitValue(src[2*i]), digitValue(src[2*i+1])
		bad |= uint64(hi|lo) & 0xf0
		dst[i] = hi<<4 | lo&15
	}
	return bad == 0
}

// digitValue is the value of a lower-case digit; 0xff for anything else.
func digitValue(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}
