package maildir

import (
	"bytes"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// record is a message in the journal. There it is
//
//	xm EPOCH LENGTH CHECKSUM\n   hexadecimal, of 16, 8 and 8 digits
//	FILE\n                       the message's name in each maildrop
//	?MAILDROP\n                  one line for each; ? is a space, or a mark: D when the message
//	                             has been deleted there, P when it has been put back
//	                             there after a crash, durably
//	\n
//	CONTENT                      as it is on disk
//
// LENGTH is that of the whole record; CHECKSUM is CRC-32C over all but itself, with
// spaces in the place of the marks. A record with another epoch than that of its
// half, or with a wrong checksum, is none: it, and what follows, was being written
// when the power failed, or is of an earlier use.
type record struct {
	name      string
	maildrops []string
	content   []byte

	// Of one that has been read:
	offset int64  // in the journal
	marks  []byte // by maildrop
}

const (
	unmarked    = ' '
	markDeleted = 'D'
	markPutBack = 'P'
)

const (
	headSize  = len("xm ") + 16 + len(" ") + 8 + len(" ")
	bodyStart = headSize + 8 + len("\n")
)

// castagnoli is made by the first use: most of xm's commands have none.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

func (r *record) size() int64 {
	n := bodyStart + len(r.name) + len("\n")
	for _, m := range r.maildrops {
		n += len(" ") + len(m) + len("\n")
	}
	return int64(n + len("\n") + len(r.content))
}

// encoded is a record as octets, in a buffer that is used again.
type encoded struct{ octets []byte }

var encodeBuffers = sync.Pool{New: func() any { return new(encoded) }}

func (r *record) encode(epoch uint64) *encoded {
	e := encodeBuffers.Get().(*encoded)
	b := append(appendHead(e.octets[:0], epoch, r.size()), "........\n"...)
	b = append(append(b, r.name...), '\n')
	for _, m := range r.maildrops {
		b = append(append(append(b, ' '), m...), '\n')
	}
	b = append(append(b, '\n'), r.content...)
	appendHex(b[:headSize], uint64(checksum(b)), 8)
	e.octets = b
	return e
}

// appendHead appends what a record begins with, up to its checksum.
func appendHead(b []byte, epoch uint64, length int64) []byte {
	b = append(appendHex(append(b, "xm "...), epoch, 16), ' ')
	return append(appendHex(b, uint64(length), 8), ' ')
}

func appendHex(b []byte, n uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[n>>shift&15])
	}
	return b
}

func (e *encoded) release() { encodeBuffers.Put(e) }

func checksum(b []byte) uint32 {
	table := castagnoli()
	return crc32.Update(crc32.Checksum(b[:headSize], table), table, b[bodyStart:])
}

// recordSize is that of the record that b begins with, as far as its head tells; 0
// if there is none of that epoch.
func recordSize(b []byte, epoch uint64) int64 {
	if len(b) < bodyStart {
		return 0
	}
	size, err := strconv.ParseUint(string(b[headSize-9:headSize-1]), 16, 32)
	if err != nil || size < uint64(bodyStart) || !bytes.Equal(appendHead(nil, epoch, int64(size)), b[:headSize]) {
		return 0
	}
	return int64(size)
}

// parseRecord reads the record that b begins with. It changes b, and the record's
// content is a part of it. It returns nil if there is none of that epoch.
func parseRecord(b []byte, epoch uint64) (r *record, size int64) {
	size = recordSize(b, epoch)
	if size == 0 || size > int64(len(b)) {
		return nil, 0
	}
	b = b[:size]
	head, content, ok := bytes.Cut(b[bodyStart:], []byte("\n\n"))
	if !ok {
		return nil, 0
	}
	name, maildrops, _ := bytes.Cut(head, []byte("\n"))
	r = &record{name: string(name), content: content}
	for line := range bytes.SplitSeq(maildrops, []byte("\n")) {
		if len(line) < 2 || line[0] != unmarked && line[0] != markDeleted && line[0] != markPutBack {
			return nil, 0
		}
		r.maildrops, r.marks = append(r.maildrops, string(line[1:])), append(r.marks, line[0])
		line[0] = unmarked
	}
	sum := append(appendHex(nil, uint64(checksum(b)), 8), '\n')
	if !bytes.Equal(sum, b[headSize:bodyStart]) || !r.valid() {
		return nil, 0
	}
	return r, size
}

// stillWanted calls each for the maildrops that have no mark.
func (r *record) stillWanted(each func(maildrop string)) {
	for i, m := range r.maildrops {
		if r.marks[i] == unmarked {
			each(m)
		}
	}
}

// valid reports whether the names can be in a record, and are names.
func (r *record) valid() bool {
	return !slices.ContainsFunc(append([]string{r.name}, r.maildrops...), func(name string) bool {
		return name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\n")
	})
}

// mark marks the record at an offset of the journal, for maildrops. It reports whether
// it is for any of them.
func (r *record) mark(f io.WriterAt, offset int64, maildrops []string, mark byte) (marked bool, err error) {
	at := offset + int64(bodyStart+len(r.name)+len("\n"))
	for _, m := range r.maildrops {
		if slices.Contains(maildrops, m) {
			if _, err := f.WriteAt([]byte{mark}, at); err != nil {
				return marked, err
			}
			marked = true
		}
		at += int64(len(" ") + len(m) + len("\n"))
	}
	return marked, nil
}
