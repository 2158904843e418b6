package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/textproto"
	"strings"
	"sync"
)

// promises are what the server has said, and what it was asked last.
type promises struct {
	mu       sync.Mutex
	accepted map[message]bool
	deleting map[message]bool // whether it has answered
	broken   []error
}

// message is one recipient's.
type message struct{ user, id string }

func newPromises() *promises {
	return &promises{accepted: map[message]bool{}, deleting: map[message]bool{}}
}

func (p *promises) note(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *promises) failures() error { return errors.Join(p.broken...) }

// text is the message of that id, LF for line ends. Every line tells where it
// belongs.
func text(id string) string {
	var seed uint64
	for _, c := range id {
		seed = seed*31 + uint64(c)
	}
	lines := 1 + rand.New(rand.NewPCG(seed, 1)).IntN(400)
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n\n", marker, id)
	for i := range lines {
		fmt.Fprintf(&b, "%s, line %d of %d ...................\n", id, i, lines)
	}
	return b.String()
}

const marker = "X-Crash: "

// readID finds the id of a message, LF for line ends, and reports whether the
// message is whole.
func readID(content string) (id string, whole bool) {
	at := strings.Index(content, marker)
	if at < 0 {
		return "", false
	}
	id, _, _ = strings.Cut(content[at+len(marker):], "\n")
	return id, content[at:] == text(id)
}

// send sends messages until the server is dead.
func send(addr, name string, random *rand.Rand, p *promises) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	in := textproto.NewReader(bufio.NewReader(conn))
	say := func(code int, line string) bool {
		if _, err := io.WriteString(conn, line); err != nil {
			return false
		}
		got, said, err := in.ReadResponse(code)
		if _, wrong := err.(*textproto.Error); wrong {
			p.note(func() { p.broken = append(p.broken, fmt.Errorf("%.20q is answered with %d %s", line, got, said)) })
		}
		return err == nil
	}
	if !say(220, "") || !say(250, "HELO crash.example\r\n") {
		return
	}
	for n := 0; ; n++ {
		id := fmt.Sprintf("%s-%d", name, n)
		to := []string{user(random.IntN(users))}
		if random.IntN(4) == 0 {
			to = append(to, user(users-1))
		}
		if !say(250, "MAIL FROM:<>\r\n") {
			return
		}
		for _, u := range to {
			if !say(250, "RCPT TO:<"+u+"@localhost>\r\n") {
				return
			}
		}
		if !say(354, "DATA\r\n") || !say(250, strings.ReplaceAll(text(id), "\n", "\r\n")+".\r\n") {
			return
		}
		p.note(func() {
			for _, u := range to {
				p.accepted[message{u, id}] = true
			}
		})
	}
}

// read reads a user's mail and deletes some of it, until the server is dead.
func read(addr, user string, random *rand.Rand, p *promises) {
	for {
		if err := readOnce(addr, user, random, p); err != nil {
			return
		}
	}
}

// partError is a promise that is broken.
type partError struct{ message }

func (e partError) Error() string { return fmt.Sprintf("%s gets a part of message %q", e.user, e.id) }

func readOnce(addr, user string, random *rand.Rand, p *promises) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	in := textproto.NewReader(bufio.NewReader(conn))
	say := func(line string) (string, error) {
		if _, err := io.WriteString(conn, line); err != nil {
			return "", err
		}
		said, err := in.ReadLine()
		if err == nil && !strings.HasPrefix(said, "+OK") {
			err = fmt.Errorf("%.20q is answered with %q", line, said)
		}
		return said, err
	}
	for _, line := range []string{"", "USER " + user + "\r\n", "PASS secret\r\n", "STAT\r\n"} {
		said, e := say(line)
		if err = e; err != nil {
			return err
		}
		if line != "STAT\r\n" {
			continue
		}
		var n, octets int
		if _, err := fmt.Sscanf(said, "+OK %d %d", &n, &octets); err != nil {
			return err
		}
		if err := remove(say, in, min(n, 1+random.IntN(20)), user, p); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the first messages of a session and ends it.
func remove(say func(string) (string, error), in *textproto.Reader, n int, user string, p *promises) error {
	var chosen []message
	for i := range n {
		if _, err := say(fmt.Sprintf("RETR %d\r\n", i+1)); err != nil {
			return err
		}
		content, err := in.ReadDotBytes()
		if err != nil {
			return err
		}
		id, whole := readID(string(content))
		if !whole {
			err := partError{message{user, id}}
			p.note(func() { p.broken = append(p.broken, err) })
			return err
		}
		if _, err := say(fmt.Sprintf("DELE %d\r\n", i+1)); err != nil {
			return err
		}
		chosen = append(chosen, message{user, id})
	}
	p.note(func() {
		for _, m := range chosen {
			p.deleting[m] = false
		}
	})
	if _, err := say("QUIT\r\n"); err != nil {
		return err
	}
	p.note(func() {
		for _, m := range chosen {
			p.deleting[m] = true
		}
	})
	return nil
}
