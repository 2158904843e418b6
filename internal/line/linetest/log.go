package linetest

import (
	"bytes"
	"sync"
)

// Log is a buffer that is written to and read at once: sessions log as they end.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write is io.Writer's.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String is what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
