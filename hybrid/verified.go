package hybrid

import "errors"

// errChanged says that the second reading of an input found something else.
var errChanged = errors.New("the input was changed while it was read")

// verified is what a first pass over the pieces of a ciphertext found, for a
// second one to compare. The sums alone would not do: they are those of whole
// blocks, so that zeros at the end leave no trace.
type verified struct {
	sums   [][]field // in rows: one long slice would be copied as it grows
	pieces int
	last   int // the length of the last piece
	passed int // pieces of the second pass
}

const row = 4096

func (v *verified) add(p *piece) {
	if v.pieces%row == 0 {
		v.sums = append(v.sums, nil)
	}
	at := len(v.sums) - 1
	v.sums[at] = append(v.sums[at], p.sum)
	v.pieces++
	v.last = len(p.data)
}

// same reports whether the second pass has the same next piece.
func (v *verified) same(p *piece) bool {
	at := v.passed
	v.passed++
	length := pieceSize
	if v.passed == v.pieces {
		length = v.last
	}
	return at < v.pieces && p.sum == v.sums[at/row][at%row] && len(p.data) == length
}

// end returns an error unless the second pass had all pieces.
func (v *verified) end() error {
	if v.passed != v.pieces {
		return errChanged
	}
	return nil
}
