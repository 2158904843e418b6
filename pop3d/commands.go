package pop3d

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"xm/internal/line"
)

// quit enters the UPDATE state if there is a maildrop (RFC 1939, section 6). The
// lock is gone before the client hears of it.
func (s *session) quit([]string) reply {
	bye := reply{ok: true, text: "bye", close: true}
	if s.drop == nil || !s.drop.hasDeleted() {
		s.release()
		return bye
	}
	defer s.release()
	marked := s.drop.marked()
	if err := s.drop.Delete(marked); err != nil {
		s.log().Error("delete", "err", err)
		r := trouble(err, "some deleted messages were not removed")
		r.close = true
		return r
	}
	s.log().Info("deleted", "messages", len(marked))
	s.logDeleted(marked)
	return bye
}

// logDeleted names each message, for who asks what became of one.
func (s *session) logDeleted(messages []int) {
	if !s.srv.Log.Enabled(s.conn.Context(), slog.LevelDebug) {
		return
	}
	for _, i := range messages {
		s.log().Debug("message deleted", "uid", s.drop.UID(i))
	}
}

func (s *session) stat([]string) reply {
	return reply{ok: true, text: fmt.Sprintf("%d %d", s.drop.left, s.drop.octets)}
}

func (s *session) list(args []string) reply {
	return s.listing(args, func(b []byte, i int) []byte { return strconv.AppendInt(b, s.drop.Size(i), 10) })
}

func (s *session) uidl(args []string) reply {
	return s.listing(args, func(b []byte, i int) []byte { return append(b, s.drop.UID(i)...) })
}

// listing answers for one message, or for all that are not deleted.
func (s *session) listing(args []string, about func(b []byte, i int) []byte) reply {
	if len(args) == 1 {
		i, problem := s.message(args[0])
		if problem != "" {
			return failure(problem)
		}
		return reply{ok: true, text: fmt.Sprintf("%d %s", i+1, about(nil, i))}
	}
	return reply{ok: true, text: s.drop.summary(), rest: lines(func(w *line.DotWriter) error {
		var b []byte
		for i := range s.drop.Len() {
			if s.drop.isDeleted(i) {
				continue
			}
			b = append(strconv.AppendInt(b[:0], int64(i+1), 10), ' ')
			b = append(about(b, i), "\r\n"...)
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		return nil
	})}
}

// message finds the message that an argument means, or says why there is none.
func (s *session) message(arg string) (i int, problem string) {
	n, err := strconv.ParseUint(arg, 10, 31)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, "a message number is wanted"
	case err != nil || n < 1 || n > uint64(s.drop.Len()):
		return 0, "no such message"
	case s.drop.isDeleted(int(n) - 1):
		return 0, "the message is deleted"
	}
	return int(n) - 1, ""
}

func (s *session) dele(args []string) reply {
	i, problem := s.message(args[0])
	if problem != "" {
		return failure(problem)
	}
	s.drop.mark(i)
	return reply{ok: true, text: fmt.Sprintf("message %d will be deleted", i+1)}
}

func (s *session) noop([]string) reply { return reply{ok: true, text: "nothing done"} }

func (s *session) rset([]string) reply {
	s.drop.reset()
	return reply{ok: true, text: s.drop.summary()}
}
