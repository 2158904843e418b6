package pop3d

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// user says nothing about whether the name exists.
func (s *session) user(args []string) reply {
	s.name = args[0]
	return reply{ok: true, text: "now the password"}
}

func (s *session) pass(args []string) reply {
	if s.name == "" {
		return failure("send USER first")
	}
	name := s.name
	s.name = "" // RFC 1939, section 7: after a failure, USER comes first again
	began := time.Now()
	mailbox, ok, err := s.srv.Users.Authenticate(s.conn.Context(), name, args[0])
	switch {
	case err != nil:
		s.log.Error("authenticate", "user", name, "err", err)
		return reply{code: "SYS/TEMP", text: "trouble on our side, try again later"}
	case !ok:
		s.log.Warn("login failed", "user", name)
		s.conn.Pause(s.srv.FailureDelay - time.Since(began)) // the time tells nothing either
		s.failures++
		return reply{code: "AUTH", text: "wrong name or password", close: s.failures >= maxFailures}
	}
	s.mailbox, err = s.srv.Mail.Open(mailbox)
	switch {
	case errors.Is(err, ErrInUse):
		s.mailbox = nil
		return reply{code: "IN-USE", text: "the maildrop is open in another session"}
	case err != nil:
		s.mailbox = nil
		s.log.Error("open the maildrop", "user", name, "err", err)
		return reply{code: "SYS/TEMP", text: "the maildrop can't be opened, try again later"}
	}
	s.deleted = map[int]bool{}
	s.log = s.log.With("user", mailbox)
	s.log.Info("logged in", "messages", s.mailbox.Len())
	return reply{ok: true, text: s.summary()}
}

// capa lists what is offered (RFC 2449, sections 5 and 6).
func (s *session) capa([]string) reply {
	return reply{ok: true, text: "capabilities follow", lines: func(w io.Writer) error {
		_, err := io.WriteString(w, "TOP\r\nUIDL\r\nUSER\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nIMPLEMENTATION xm\r\n")
		return err
	}}
}

// quit enters the UPDATE state if there is a maildrop (RFC 1939, section 6). The
// lock is gone before the client hears of it.
func (s *session) quit([]string) reply {
	bye := reply{ok: true, text: "bye", close: true}
	if s.mailbox == nil {
		return bye
	}
	defer s.release()
	var doomed []int
	for i := range s.mailbox.Len() {
		if s.deleted[i] {
			doomed = append(doomed, i)
		}
	}
	if len(doomed) == 0 {
		return bye
	}
	if err := s.mailbox.Delete(doomed); err != nil {
		s.log.Error("delete", "err", err)
		return reply{code: "SYS/TEMP", text: "some deleted messages were not removed", close: true}
	}
	s.log.Info("deleted", "messages", len(doomed))
	return bye
}

// count gives the number and the size of the messages that are not deleted.
func (s *session) count() (n int, octets int64) {
	for i := range s.mailbox.Len() {
		if !s.deleted[i] {
			n++
			octets += s.mailbox.Size(i)
		}
	}
	return n, octets
}

func (s *session) summary() string {
	n, octets := s.count()
	return fmt.Sprintf("%d messages (%d octets)", n, octets)
}

func (s *session) stat([]string) reply {
	n, octets := s.count()
	return reply{ok: true, text: fmt.Sprintf("%d %d", n, octets)}
}

func (s *session) list(args []string) reply {
	return s.listing(args, func(i int) string { return strconv.FormatInt(s.mailbox.Size(i), 10) })
}

func (s *session) uidl(args []string) reply {
	return s.listing(args, s.mailbox.UID)
}

// listing answers for one message, or for all that are not deleted.
func (s *session) listing(args []string, about func(i int) string) reply {
	if len(args) == 1 {
		i, r := s.message(args[0])
		if r != nil {
			return *r
		}
		return reply{ok: true, text: fmt.Sprintf("%d %s", i+1, about(i))}
	}
	return reply{ok: true, text: s.summary(), lines: func(w io.Writer) error {
		for i := range s.mailbox.Len() {
			if s.deleted[i] {
				continue
			}
			if _, err := fmt.Fprintf(w, "%d %s\r\n", i+1, about(i)); err != nil {
				return err
			}
		}
		return nil
	}}
}

// message finds the message that an argument means, or says why there is none.
func (s *session) message(arg string) (int, *reply) {
	n, err := strconv.ParseUint(arg, 10, 31)
	var r reply
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		r = failure("a message number is wanted")
	case err != nil || n < 1 || n > uint64(s.mailbox.Len()):
		r = failure("no such message")
	case s.deleted[int(n)-1]:
		r = failure("the message is deleted")
	default:
		return int(n) - 1, nil
	}
	return 0, &r
}

func (s *session) retr(args []string) reply {
	return s.send1(args[0], func(w io.Writer, r io.Reader) error {
		_, err := io.Copy(w, r)
		return err
	})
}

func (s *session) top(args []string) reply {
	lines, err := strconv.ParseUint(args[1], 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange):
		lines = math.MaxInt64
	case err != nil:
		return failure("a number of lines is wanted")
	}
	return s.send1(args[0], func(w io.Writer, r io.Reader) error { return copyTop(w, r, lines) })
}

// send1 sends a message, or the part of it that copy takes. The message is
// opened before anything is promised.
func (s *session) send1(arg string, copy func(io.Writer, io.Reader) error) reply {
	i, bad := s.message(arg)
	if bad != nil {
		return *bad
	}
	r, err := s.mailbox.Open(i)
	if err != nil {
		s.log.Warn("open a message", "err", err)
		return reply{code: "SYS/TEMP", text: "the message can't be read"}
	}
	return reply{ok: true, text: fmt.Sprintf("%d octets", s.mailbox.Size(i)), lines: func(w io.Writer) error {
		defer r.Close()
		return copy(w, r)
	}}
}

// copyTop copies the header, the empty line and as many lines of the body (RFC
// 1939, section 7, TOP).
func copyTop(w io.Writer, r io.Reader, lines uint64) error {
	in := bufio.NewReader(r)
	inBody, lineStart := false, true
	for !inBody || lines > 0 {
		part, err := in.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		if _, werr := w.Write(part); werr != nil {
			return werr
		}
		if err == io.EOF {
			return nil
		}
		switch {
		case err == bufio.ErrBufferFull:
		case inBody:
			lines--
		case lineStart && strings.TrimRight(string(part), "\r\n") == "":
			inBody = true
		}
		lineStart = err == nil
	}
	return nil
}

func (s *session) dele(args []string) reply {
	i, r := s.message(args[0])
	if r != nil {
		return *r
	}
	s.deleted[i] = true
	return reply{ok: true, text: fmt.Sprintf("message %d will be deleted", i+1)}
}

func (s *session) noop([]string) reply { return reply{ok: true, text: "nothing done"} }

func (s *session) rset([]string) reply {
	s.deleted = map[int]bool{}
	return reply{ok: true, text: s.summary()}
}
