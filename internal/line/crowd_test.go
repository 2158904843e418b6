package line

import (
	"context"
	"log/slog"
	"slices"
	"testing"

	"xm/internal/line/linetest"
)

func TestCrowd(t *testing.T) {
	percent, calls := 100, []int{}
	c := &crowd{set: func(p int) int {
		before := percent
		percent, calls = p, append(calls, p)
		return before
	}}
	for range 2 {
		for range crowdSize {
			c.enter()
		}
		c.leave()
		c.enter()
		for range crowdSize {
			c.leave()
		}
	}
	if want := []int{crowdPercent, 100, crowdPercent, 100}; !slices.Equal(calls, want) {
		t.Errorf("the percentage was set to %v, want %v", calls, want)
	}
	if newCrowd("200").set != nil || newCrowd("").set == nil {
		t.Error("GOGC must win, and only that")
	}
}

// The sessions of a server are in the crowd as long as they last.
func TestSessionsAreCounted(t *testing.T) {
	open := func() int {
		sessions.mu.Lock()
		defer sessions.mu.Unlock()
		return sessions.open
	}
	before, within := open(), make(chan int)
	s := &Server{Handle: func(*Conn) { within <- open() }, Log: slog.New(slog.DiscardHandler)}
	pipe := linetest.NewPipe()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, pipe) }()
	conn := pipe.Dial()
	if n := <-within; n != before+1 {
		t.Errorf("%d sessions, want %d", n, before+1)
	}
	conn.Close()
	stop()
	if err := <-done; err != nil || open() != before {
		t.Errorf("%d sessions are left, %v", open()-before, err)
	}
}
