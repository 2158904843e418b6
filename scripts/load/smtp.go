package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// smtp is an SMTP or LMTP session. It sends MAIL, RCPT and DATA at once where the
// server lets it (RFC 2920).
type smtp struct {
	conn       net.Conn
	in         *bufio.Reader
	pipelining bool
}

func (o options) dialSMTP() (*smtp, error) {
	conn, err := net.Dial("tcp", o.addr)
	if err != nil {
		return nil, err
	}
	s := &smtp{conn: conn, in: bufio.NewReaderSize(conn, 1024)}
	if _, err := s.reply("220"); err != nil {
		return nil, err
	}
	greeting := "EHLO"
	if o.lmtp { // RFC 2033, section 4.1; for one recipient, all else is as in SMTP
		greeting = "LHLO"
	}
	if _, err := io.WriteString(conn, greeting+" load.example\r\n"); err != nil {
		return nil, err
	}
	said, err := s.reply("250")
	s.pipelining = strings.Contains(said, "PIPELINING")
	return s, err
}

// reply reads one that must begin with code.
func (s *smtp) reply(code string) (string, error) {
	var all []byte
	for {
		l, err := s.in.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		all = append(all, l...)
		if len(l) < 4 || string(l[:3]) != code {
			return "", fmt.Errorf("the server says %q", l)
		}
		if l[3] == ' ' {
			return string(all), nil
		}
	}
}

// send sends a message as it is on the wire.
func (s *smtp) send(to string, message []byte) error {
	commands := []string{"MAIL FROM:<load@load.example>\r\n", "RCPT TO:<" + to + ">\r\n", "DATA\r\n"}
	codes := []string{"250", "250", "354"}
	if s.pipelining {
		if _, err := io.WriteString(s.conn, strings.Join(commands, "")); err != nil {
			return err
		}
	}
	for i, code := range codes {
		if !s.pipelining {
			if _, err := io.WriteString(s.conn, commands[i]); err != nil {
				return err
			}
		}
		if _, err := s.reply(code); err != nil {
			return err
		}
	}
	if _, err := s.conn.Write(message); err != nil {
		return err
	}
	_, err := s.reply("250")
	return err
}

// messageEnd ends a message on the wire. No line of ours begins with a dot.
const messageEnd = ".\r\n"

// text is what all messages are made of, so that making one is a copy: the load shares
// its CPUs with the server.
func text(octets int) []byte {
	const line = "All work and no play makes Jack a dull boy, as the proverb has it.\r\n"
	return bytes.Repeat([]byte(line), octets/len(line)+1)
}

// message makes one of so many octets, one of them its number, and its end, in the
// place of what is in b.
func message(b []byte, number int64, octets int, text []byte) []byte {
	b = fmt.Appendf(b[:0], "From: load@load.example\r\nSubject: message %d\r\n\r\n", number)
	b = append(b, text[:max(0, octets-len(b)-len("\r\n"))]...)
	return append(append(bytes.TrimRight(b, "\r\n"), "\r\n"...), messageEnd...)
}

// smtpSend sends -count messages to the users in turn, and, with -maildirs, waits
// until all of them are there.
func smtpSend(o options) (result, error) {
	all := make([]*smtp, o.sessions)
	if err := o.each(func(i int) (err error) {
		all[i], err = o.dialSMTP()
		return err
	}); err != nil {
		return result{}, err
	}
	before, err := delivered(o.maildirs)
	if err != nil {
		return result{}, err
	}
	var next, octets atomic.Int64
	text := text(o.octets)
	took := make([][]time.Duration, o.sessions)
	began := time.Now()
	err = o.each(func(i int) error {
		defer all[i].conn.Close()
		var m []byte
		for n := next.Add(1); n <= int64(o.count); n = next.Add(1) {
			m = message(m, n, o.octets, text)
			sent := time.Now()
			if err := all[i].send(strings.ReplaceAll(o.user, "%d", fmt.Sprint(n%int64(o.users))), m); err != nil {
				return err
			}
			took[i] = append(took[i], time.Since(sent))
			octets.Add(int64(len(m) - len(messageEnd)))
		}
		return nil
	})
	r := result{what: "messages", count: o.count, octets: octets.Load(), took: time.Since(began)}
	if err != nil {
		return r, err
	}
	times := slices.Sorted(slices.Values(slices.Concat(took...)))
	r.more = fmt.Sprintf("; median %v, 99%% within %v", round(times[len(times)/2]), round(times[len(times)*99/100]))
	if o.maildirs == "" {
		return r, nil
	}
	var in time.Duration // to before the look that finds all, which takes the longer the more there are
	for {
		in = time.Since(began)
		now, err := delivered(o.maildirs)
		if err != nil {
			return r, err
		}
		if now >= before+o.count {
			break
		}
		if time.Since(began) > arrival {
			return r, fmt.Errorf("%d of %d messages have arrived", now-before, o.count)
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.more += fmt.Sprintf("; in the Maildirs after %.3f s: %.1f/s", in.Seconds(), float64(o.count)/in.Seconds())
	return r, nil
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// arrival is how long messages may take from the 250 to the Maildir.
const arrival = 5 * time.Minute

// delivered counts the new messages in Maildirs.
func delivered(pattern string) (n int, err error) {
	if pattern == "" {
		return 0, nil
	}
	dirs, err := filepath.Glob(filepath.Join(pattern, "new"))
	for _, dir := range dirs {
		d, e := os.Open(dir)
		if e != nil {
			return 0, e
		}
		names, e := d.Readdirnames(-1)
		d.Close()
		err = errors.Join(err, e)
		n += len(names)
	}
	return n, err
}

// smtpIdle greets and stays.
func smtpIdle(o options) (result, error) {
	return o.hold(func(int) (net.Conn, error) {
		s, err := o.dialSMTP()
		if err != nil {
			return nil, err
		}
		return s.conn, nil
	})
}
