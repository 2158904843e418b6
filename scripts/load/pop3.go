package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// pop3 is a POP3 session. Its client does as little as it can, so that the server
// is what is measured.
type pop3 struct {
	conn   net.Conn
	in     *bufio.Reader
	out    []byte  // a line that is sent
	tail   [5]byte // of the response that is being read
	serial bool    // nothing follows a response
}

// readSize holds a good many pipelined responses.
const readSize = 256 << 10

// dial takes whether the connection is to be read and written by a thread that waits.
func (o options) dial(size int, blocks bool) (*pop3, error) {
	conn, err := net.Dial("tcp", o.addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok && blocks && !o.tls {
		if conn, err = block(tcp); err != nil {
			return nil, err
		}
	}
	if o.tls {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	p := &pop3{conn: conn, in: bufio.NewReaderSize(conn, size)}
	_, err = p.status()
	return p, err
}

// status reads a line, which must say +OK. It is valid until the next read.
func (p *pop3) status() ([]byte, error) {
	l, err := p.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(l, ok) {
		return nil, fmt.Errorf("the server says %q", l)
	}
	return l, nil
}

var ok = []byte("+OK")

func (p *pop3) cmd(text string) ([]byte, error) { return p.send(append(p.out[:0], text...)) }

// send sends a line, which is in p.out, and reads the status of the response.
func (p *pop3) send(line []byte) ([]byte, error) {
	p.out = append(line, "\r\n"...)
	if _, err := p.conn.Write(p.out); err != nil {
		return nil, err
	}
	return p.status()
}

func (p *pop3) login(user, password string) error {
	_, err := p.cmd("USER " + user)
	if err == nil {
		_, err = p.cmd("PASS " + password)
	}
	return err
}

// stat returns the number of messages.
func (p *pop3) stat() (int, error) {
	l, err := p.cmd("STAT")
	if err != nil {
		return 0, err
	}
	messages, _, found := bytes.Cut(bytes.TrimPrefix(l, []byte("+OK ")), []byte(" "))
	if !found {
		return 0, fmt.Errorf("STAT: %q", l)
	}
	return strconv.Atoi(string(messages))
}

var end = []byte("\r\n.\r\n")

// message reads over a message, whose response began with status.
func (p *pop3) message(status []byte) (octets int64, err error) {
	size := 0
	for _, c := range status[min(len("+OK "), len(status)):] {
		if c < '0' || c > '9' {
			break
		}
		size = 10*size + int(c-'0')
	}
	if size > len("\r\n") {
		return p.sized(size)
	}
	copy(p.tail[:], "xxx\r\n")
	return p.text()
}

// sized is message for one whose size was told: nothing is to be looked for, unless
// dots were hidden in it.
func (p *pop3) sized(size int) (octets int64, err error) {
	n, err := p.in.Discard(size - len("\r\n"))
	if err != nil {
		return int64(n), err
	}
	b, err := p.in.Peek(len(end))
	if err == nil && bytes.Equal(b, end) {
		more, err := p.in.Discard(len(b))
		return int64(n + more), err
	}
	copy(p.tail[:], "xxxxx")
	octets, err = p.text()
	return octets + int64(n), err
}

// text reads over the rest of a multi-line response.
func (p *pop3) text() (octets int64, err error) {
	for {
		if _, err := p.in.Peek(1); err != nil {
			return octets, err
		}
		b, _ := p.in.Peek(p.in.Buffered())
		if p.serial && bytes.HasSuffix(b, end) {
			_, err := p.in.Discard(len(b))
			return octets + int64(len(b)), err
		}
		// The end may lie across what was read before and this.
		joint := append(p.tail[:], b[:min(len(b), 4)]...)
		if i := bytes.Index(joint, end); i >= 0 {
			_, err := p.in.Discard(i) // 5 of the tail and i of b, less the 5 of the end
			return octets + int64(i), err
		}
		if i := bytes.Index(b, end); i >= 0 {
			_, err := p.in.Discard(i + len(end))
			return octets + int64(i+len(end)), err
		}
		octets += int64(len(b))
		last := append(p.tail[:], b[max(0, len(b)-5):]...)
		copy(p.tail[:], last[len(last)-5:])
		if _, err := p.in.Discard(len(b)); err != nil {
			return octets, err
		}
	}
}

func pop3Login(o options) (result, error) {
	counts := make([]int, o.sessions)
	began := time.Now()
	err := o.each(func(i int) error {
		for {
			if err := o.visit(i); err != nil {
				return err
			}
			if counts[i]++; time.Since(began) >= o.duration {
				return nil
			}
		}
	})
	r := result{what: "sessions", took: time.Since(began)}
	for _, n := range counts {
		r.count += n
	}
	return r, err
}

// visit is login, STAT and QUIT.
func (o options) visit(session int) error {
	p, err := o.dial(512, false)
	if err != nil {
		return err
	}
	defer p.conn.Close()
	if err := p.login(o.userOf(session), o.password); err != nil {
		return err
	}
	if _, err := p.stat(); err != nil {
		return err
	}
	_, err = p.cmd("QUIT")
	return err
}

func pop3Retr(o options) (result, error) {
	all := make([]*pop3, o.sessions)
	messages := make([]int, o.sessions)
	if err := o.each(func(i int) (err error) {
		if all[i], err = o.dial(readSize, !o.pipeline); err == nil {
			all[i].serial = !o.pipeline
			err = all[i].login(o.userOf(i), o.password)
		}
		if err == nil {
			messages[i], err = all[i].stat()
		}
		return err
	}); err != nil {
		return result{}, err
	}
	r := result{what: "messages"}
	var mu sync.Mutex
	began := time.Now()
	err := o.each(func(i int) error {
		defer all[i].conn.Close()
		var octets int64
		for range o.times {
			n, err := all[i].retrieve(messages[i], o.pipeline)
			if err != nil {
				return err
			}
			octets += n
		}
		mu.Lock()
		defer mu.Unlock()
		r.count += messages[i] * o.times
		r.octets += octets
		return nil
	})
	r.took = time.Since(began)
	return r, err
}

func (p *pop3) retrieve(messages int, pipeline bool) (octets int64, err error) {
	if pipeline {
		var commands []byte
		for i := range messages {
			commands = append(strconv.AppendInt(append(commands, "RETR "...), int64(i+1), 10), "\r\n"...)
		}
		go p.conn.Write(commands) // a failure shows where the responses are read
	}
	for i := range messages {
		var status []byte
		if pipeline {
			status, err = p.status()
		} else {
			status, err = p.send(strconv.AppendInt(append(p.out[:0], "RETR "...), int64(i+1), 10))
		}
		if err != nil {
			return octets, err
		}
		n, err := p.message(status)
		if octets += n; err != nil {
			return octets, err
		}
	}
	return octets, nil
}

func pop3Idle(o options) (result, error) {
	return o.hold(func(i int) (net.Conn, error) {
		p, err := o.dial(512, false)
		if err == nil && o.user != "" {
			err = p.login(o.userOf(i), o.password)
		}
		if err != nil {
			return nil, err
		}
		return p.conn, nil
	})
}
