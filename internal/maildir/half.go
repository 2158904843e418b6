package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"xm/internal/disk"
)

// header is what a half of the journal begins with:
//
//	xm journal EPOCH UPTIME\n
//
// EPOCH is that of its records, of 16 hexadecimal digits; UPTIME is the system's
// boot_id (random(4)), "/", and the number of the mount (statx(2), stx_mnt_id) when the
// first of them was written, or "-".
type header struct {
	epoch  uint64
	uptime string
}

// headerSize is a sector: the disk writes it as a whole or not at all.
const headerSize = 512

// errHeader is the error for a half whose header no crash leaves like that. Without
// it, nobody knows which records are its own.
var errHeader = errors.New("the header of a half is damaged")

// readHalf reads the records of a half, up to the first that is not whole. A half
// that was never begun has none. The error matches errHeader if it may have some that
// are lost.
func readHalf(f io.ReaderAt, half int) (h header, records []*record, err error) {
	h, err = eachRecord(f, half, func(r *record) error {
		records = append(records, r)
		return nil
	})
	return h, records, err
}

// eachRecord calls do for each record of a half, as readHalf has it.
func eachRecord(f io.ReaderAt, half int, do func(*record) error) (h header, err error) {
	b := make([]byte, headerSize)
	n, err := f.ReadAt(b, start(half))
	if err != nil && err != io.EOF {
		return h, err
	}
	if len(bytes.Trim(b[:n], "\x00")) == 0 {
		return header{}, nil
	}
	if count, err := fmt.Sscanf(string(b[:n]), "xm journal %016x %s\n", &h.epoch, &h.uptime); count != 2 || err != nil {
		return header{}, errHeader
	}
	if h.uptime == "-" {
		h.uptime = ""
	}
	w := window{f: f, end: start(half) + halfSize}
	for at := start(half) + headerSize; ; {
		b, err := w.at(at, int64(bodyStart))
		if err != nil {
			return h, err
		}
		if b, err = w.at(at, recordSize(b, h.epoch)); err != nil {
			return h, err
		}
		r, size := parseRecord(b, h.epoch)
		if r == nil {
			return h, nil
		}
		r.offset = at
		if err := do(r); err != nil {
			return h, err
		}
		at += size
	}
}

// window reads a file piece by piece, as far as it is asked for: a half may hold
// few records.
type window struct {
	f     io.ReaderAt
	end   int64  // nothing is read beyond it
	b     []byte // that was read last; what was given out of others stays
	start int64  // of b
}

// windowSize is how much is read at a time, or more if more is asked for.
const windowSize = 1 << 20

// at gives size octets at an offset, or as many as there are.
func (w *window) at(offset, size int64) ([]byte, error) {
	if offset+size > w.start+int64(len(w.b)) {
		w.b, w.start = make([]byte, max(0, min(max(size, windowSize), w.end-offset))), offset
		n, err := w.f.ReadAt(w.b, offset)
		if err != nil && err != io.EOF {
			return nil, err
		}
		w.b = w.b[:n]
	}
	b := w.b[offset-w.start:]
	return b[:min(size, int64(len(b)))], nil
}

// lockMarks waits until nobody else marks records, puts messages back, or begins a
// half anew. Whoever has the lock already keeps it.
func lockMarks(f disk.File) error { return lockByte(f, marksByte, unix.F_WRLCK, unix.F_OFD_SETLKW) }

func unlockMarks(f disk.File) error { return lockByte(f, marksByte, unix.F_UNLCK, unix.F_OFD_SETLK) }

// beginHalf makes a half empty, durably by sync, while nobody marks records. It
// returns the epoch of the records to come.
func beginHalf(f disk.File, half int, uptime string, sync func() error) (epoch uint64, err error) {
	if err := lockMarks(f); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, unlockMarks(f)) }()
	if uptime == "" {
		uptime = "-"
	}
	before := make([]byte, headerSize)
	if _, err := f.ReadAt(before, start(half)); err != nil && err != io.EOF {
		return 0, err
	}
	epoch = rand.Uint64()
	b := make([]byte, headerSize)
	copy(b, fmt.Sprintf("xm journal %016x %s\n", epoch, uptime))
	if _, err = f.WriteAt(b, start(half)); err == nil {
		err = sync()
	}
	if err != nil {
		// The disk may still have the records, so others must find them to mark them.
		if _, undo := f.WriteAt(before, start(half)); undo != nil {
			err = fmt.Errorf("%w, and the header before it can't be put back", err)
		}
		return 0, err
	}
	return epoch, nil
}

// confirm makes the header of a half durable as it was read: the disk may have another
// one, if a half could not begin anew, and then no record would stand for what is
// written over in the maildrops.
func confirm(f disk.File, half int, sync func() error) error {
	b := make([]byte, headerSize)
	if _, err := f.ReadAt(b, start(half)); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, start(half)); err != nil {
		return err
	}
	return sync()
}
