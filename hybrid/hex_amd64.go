package hybrid

// blockSize is how many octets the assembly takes at a time.
const blockSize = 16

// encodeBlocks writes the digits of n blocks of octets.
//
//go:noescape
func encodeBlocks(dst, src *byte, n int)

// decodeBlocks writes n blocks of octets. It reports whether all that it read
// were lower-case digits. dst may be src.
//
//go:noescape
func decodeBlocks(dst, src *byte, n int) bool
