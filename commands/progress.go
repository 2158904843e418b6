package commands

import (
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
)

// progressDelay is how long work goes on before it shows progress.
const progressDelay = time.Second

// progress shows on standard error how far an input is: octets, rate and time
// left.
type progress struct {
	mu    sync.Mutex // a read that was left behind may still end
	over  bool
	total int64 // -1 if unknown
	done  int64
	began time.Time
	bar   *progressbar.ProgressBar
	to    io.Writer
}

// withProgress makes an input show how far it is, if somebody is watching. times is how
// often it will be read.
func withProgress(c *cli.Context, in input, times int64) input {
	total := int64(-1)
	if in.size >= 0 {
		total = in.size * times
	}
	p := newProgress(c, total)
	if p == nil {
		return in
	}
	counted := countedReader{in.Reader, p}
	wrapped := input{counted, in.size, func() error { p.finish(); return in.close() }}
	if seeker, ok := in.Reader.(io.Seeker); ok {
		wrapped.Reader = struct {
			countedReader
			io.Seeker
		}{counted, seeker}
	}
	return wrapped
}

// newProgress returns nil, which counts nothing, if nobody is watching. total is
// -1 if it is not known.
func newProgress(c *cli.Context, total int64) *progress {
	screen, ok := asTerminal(c.App.ErrWriter)
	if c.Bool("quiet") || !ok {
		return nil
	}
	return &progress{total: total, began: time.Now(), to: screen}
}

type countedReader struct {
	io.Reader
	p *progress
}

func (r countedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.p.add(int64(n))
	return n, err
}

func (p *progress) add(n int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	if p.over {
		return
	}
	if p.bar == nil && time.Since(p.began) > progressDelay {
		p.bar = progressbar.NewOptions64(p.total, progressbar.OptionSetWriter(p.to), progressbar.OptionShowBytes(true), progressbar.OptionShowCount(),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	if p.bar != nil {
		_ = p.bar.Set64(p.done) // a screen that can't be written to is no reason to stop
	}
}

func (p *progress) finish() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
