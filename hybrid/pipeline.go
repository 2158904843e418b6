package hybrid

import "runtime"

// piece is a part of a message on its way through a pipeline.
type piece struct {
	number int64
	data   []byte // of the message or its ciphertext: pieceSize at most
	text   []byte // the digits of data
	sum    field
	err    error
	done   chan struct{}
}

// maxWorkers bounds the memory of a pipeline: three pieces are under way for
// each worker, at 3*pieceSize octets.
const maxWorkers = 3

// pipeline takes a message through three stages, piece by piece: fill reads a
// piece, in order, and says whether more follow; work is done on several at
// once; drain gets them in order again. The first error, in the message's order,
// ends it and is returned. A fill that still waits for input then is left
// behind.
func pipeline(fill func(*piece) (more bool, err error), work func(*piece), drain func(*piece) error) error {
	workers := min(runtime.GOMAXPROCS(0), maxWorkers)
	pieces := 3 * workers
	free, todo, ordered := make(chan *piece, pieces), make(chan *piece, pieces), make(chan *piece, pieces)
	stop := make(chan struct{})
	defer close(stop)
	for range pieces {
		free <- &piece{done: make(chan struct{}, 1)}
	}
	for range workers {
		go func() {
			for p := range todo {
				work(p)
				p.done <- struct{}{}
			}
		}()
	}
	go func() {
		defer close(todo)
		defer close(ordered)
		for number := int64(0); ; number++ {
			var p *piece
			select {
			case p = <-free:
			case <-stop:
				return
			}
			p.number, p.sum, p.err = number, field{}, nil
			more, err := fill(p)
			if err != nil {
				p.err = err
				p.done <- struct{}{}
				ordered <- p
				return
			}
			todo <- p
			ordered <- p
			if !more {
				return
			}
		}
	}()
	for p := range ordered {
		<-p.done
		if p.err != nil {
			return p.err
		}
		if err := drain(p); err != nil {
			return err
		}
		free <- p
	}
	return nil
}

// dataBuffer and textBuffer give a piece room for n octets of data, or their
// digits. The memory is made when it is first needed: most messages are short.
func (p *piece) dataBuffer(n int) []byte { return room(&p.data, n, pieceSize) }
func (p *piece) textBuffer(n int) []byte { return room(&p.text, 2*n, 2*pieceSize) }

func room(buf *[]byte, n, full int) []byte {
	if cap(*buf) < n {
		*buf = make([]byte, full)
	}
	*buf = (*buf)[:n]
	return *buf
}
