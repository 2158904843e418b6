package smtpd

import (
	"errors"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"syscall"
	"time"

	"xm/internal/line"
)

func (s *session) data(string) reply {
	if s.tx != nil && (s.tx.message != nil || s.tx.broken) {
		// RFC 3030, section 2: DATA and BDAT do not mix.
		return reply{503, "5.5.1", "The message has begun with BDAT", false}
	}
	if r := s.begin(); r.code != 0 {
		return r
	}
	if s.tx.message.err != nil {
		return s.finish(nil) // rather than let the client send it all
	}
	if !s.sendReply(reply{code: 354, text: "End the message with <CR><LF>.<CR><LF>"}) {
		return reply{}
	}
	// The message itself finds out that it is too large, and makes room at once.
	body := s.conn.Body(s.srv.maxSize()+maxLine, commandTimeout)
	_, received := body.WriteTo(s.tx.message)
	r := s.finish(received)
	r.close = r.close || body.OutOfStep()
	return r
}

// bdat is RFC 3030, section 2. Whatever is wrong, the octets of the chunk are
// read: they must not be taken for commands.
func (s *session) bdat(arg string) reply {
	size, last, ok := parseBDAT(arg)
	switch {
	case !ok: // nobody can tell what follows
		return reply{501, "5.5.4", "Syntax: " + commands["BDAT"].syntax, true}
	case size > 4*s.srv.maxSize()+1<<20: // nobody should have to read that
		r := s.tooLarge()
		r.close = true
		return r
	}
	r := s.beginChunk()
	var sink io.Writer = io.Discard
	if r.code == 0 {
		sink = chunked{s.tx.message}
	}
	_, err := io.Copy(sink, s.conn.Chunk(size, commandTimeout))
	if size >= fairChunk {
		s.commands--
	}
	switch {
	case err != nil && r.code == 0:
		return s.finish(err)
	case err != nil:
		return cutOff
	case r.code != 0:
		return r
	case last:
		s.tx.message.fail(s.tx.message.text.End())
		return s.finish(nil)
	case s.tx.message.err != nil:
		r := s.finish(nil)
		s.tx = &transaction{broken: true}
		return r
	}
	return reply{250, "2.0.0", strconv.FormatInt(size, 10) + " octets received", false}
}

func parseBDAT(arg string) (size int64, last, ok bool) {
	fields := strings.Fields(arg)
	if len(fields) == 2 && strings.EqualFold(fields[1], "LAST") {
		last, fields = true, fields[:1]
	}
	if len(fields) != 1 || strings.Trim(fields[0], "0123456789") != "" {
		return 0, false, false
	}
	size, err := strconv.ParseInt(fields[0], 10, 64)
	return size, last, err == nil
}

func (s *session) beginChunk() reply {
	switch {
	case !s.greeted:
		return notGreeted
	case s.tx != nil && s.tx.broken:
		return reply{503, "5.5.1", "A chunk before failed: send RSET", false}
	case s.tx != nil && s.tx.message != nil:
		return reply{}
	}
	return s.begin()
}

// begin starts the message of a transaction that may have one.
func (s *session) begin() reply {
	switch {
	case s.tx == nil:
		return badSequence
	case len(s.tx.recipients) == 0 && s.tx.deferred > 0:
		return reply{451, "4.3.0", "No recipient can be served now, try again later", false}
	case len(s.tx.recipients) == 0 && s.tx.refused > 0:
		// RFC 5321, section 3.3: 503 or 554; 554 says which of the two it was.
		return reply{554, "5.5.1", "No valid recipients", false}
	case len(s.tx.recipients) == 0:
		return reply{503, "5.5.1", "Send RCPT first", false}
	}
	s.tx.message = s.newMessage()
	return reply{}
}

// finish stores the message, unless received says that it did not arrive as it
// should. RFC 5321, section 4.1.1.4: whatever comes of it, the transaction is
// over.
func (s *session) finish(received error) reply {
	tx, m := s.tx, s.tx.message
	s.tx = nil
	defer m.abort()
	err := received
	if err == nil {
		err = m.commit()
	}
	r := s.judge(err)
	s.srv.observer().Message(r.code, len(tx.recipients), m.octets)
	s.logged = true
	if err == nil {
		s.errors, s.commands, s.unsent = 0, 0, 0
		r.text += " " + tx.id
		s.logMessage(tx, slog.LevelInfo, "message accepted", append(m.names(), slog.String("reply", r.String()))...)
		return r
	}
	level := slog.LevelWarn
	if errors.As(err, new(storeError)) && r != mailboxFull && r != mailboxTooSmall { // our fault
		level = slog.LevelError
	}
	s.logMessage(tx, level, "message refused", slog.String("reply", r.String()), slog.Any("err", err))
	return r
}

// logMessage tells what became of a message.
func (s *session) logMessage(tx *transaction, level slog.Level, what string, more ...slog.Attr) {
	m := tx.message
	s.log.LogAttrs(s.conn.Context(), level, what, append([]slog.Attr{
		slog.String("id", tx.id), slog.String("from", tx.from.raw), slog.Any("to", tx.addresses()), slog.Int64("octets", m.octets),
		slog.Duration("took", time.Since(m.began).Round(time.Microsecond)), slog.String("helo", s.client),
		slog.String("message_id", m.header.id), slog.String("mailboxes", strings.Join(tx.mailboxes(), ",")),
	}, more...)...)
}

// judge tells what came of a message.
func (s *session) judge(err error) reply {
	var refused refusal
	switch {
	case err == nil:
		return done
	case errors.As(err, &refused):
		return refused.reply
	case errors.Is(err, line.ErrTooLarge):
		return s.tooLarge()
	case errors.Is(err, line.ErrBareLineEnd), errors.Is(err, line.ErrNUL):
		return reply{550, "5.6.0", "The message holds " + err.Error(), false}
	case !errors.As(err, new(storeError)): // no end was received, so there is nobody to tell
		return cutOff
	case errors.Is(err, ErrTooLarge):
		return mailboxTooSmall
	case errors.Is(err, ErrFull):
		return mailboxFull
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return reply{452, "4.3.1", "No room to store the message, try again later", false}
	}
	return reply{451, "4.3.0", "The message could not be stored, try again later", false}
}
