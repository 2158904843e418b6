package mailclient

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"xm/internal/line"
)

// Credentials are what a user logs in with.
type Credentials struct {
	User, Password string
}

// Submit hands a message, with CRLF line ends, to an SMTP server for one
// recipient. auth may be nil; it is used where the server asks for it.
func Submit(ctx context.Context, addr, from, to string, message []byte, auth *Credentials) error {
	c, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	s := smtp{c}
	if err := s.submit(from, to, message, auth); err != nil {
		return fmt.Errorf("%s: %w", addr, err)
	}
	return nil
}

type smtp struct{ *conn }

func (s smtp) submit(from, to string, message []byte, auth *Credentials) error {
	if err := s.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	if _, err := s.reply("the connection", "220"); err != nil {
		return err
	}
	extensions, err := s.greet()
	if err != nil {
		return err
	}
	if auth != nil && offersPlain(extensions) {
		if err := s.authPlain(*auth); err != nil {
			return err
		}
	}
	for _, step := range []struct{ command, want string }{
		{"MAIL FROM:<" + from + ">", "250"},
		{"RCPT TO:<" + to + ">", "25"}, // 251: the server forwards
		{"DATA", "354"},
	} {
		if _, err := s.do(step.command, step.want); err != nil {
			return err
		}
	}
	if err := s.sendMessage(message); err != nil {
		return err
	}
	// The message is accepted: whatever comes of QUIT changes nothing.
	_, _ = s.do("QUIT", "221")
	return nil
}

// greet returns the extensions that the server has, if any (RFC 5321, section
// 3.2: HELO where EHLO is unknown).
func (s smtp) greet() ([]string, error) {
	me := "[127.0.0.1]"
	if a, ok := s.LocalAddr().(*net.TCPAddr); ok {
		me = "[" + a.IP.String() + "]"
		if a.IP.To4() == nil {
			me = "[IPv6:" + a.IP.String() + "]" // RFC 5321, section 4.1.3
		}
	}
	lines, err := s.do("EHLO "+me, "250")
	var refused *ReplyError
	if errors.As(err, &refused) && strings.HasPrefix(refused.Reply, "5") {
		_, err = s.do("HELO "+me, "250")
		return nil, err
	}
	return lines, err
}

func offersPlain(extensions []string) bool {
	for _, e := range extensions {
		words := strings.Fields(strings.ToUpper(e))
		if len(words) > 0 && words[0] == "AUTH" {
			for _, w := range words[1:] {
				if w == "PLAIN" {
					return true
				}
			}
		}
	}
	return false
}

// authPlain is RFC 4616, in the SMTP form of RFC 4954.
func (s smtp) authPlain(auth Credentials) error {
	if !s.local() {
		return errClearPassword
	}
	response := base64.StdEncoding.EncodeToString([]byte("\x00" + auth.User + "\x00" + auth.Password))
	if err := s.send("AUTH PLAIN " + response); err != nil {
		return err
	}
	_, err := s.reply("AUTH", "235")
	return err
}

func (s smtp) sendMessage(message []byte) error {
	if err := s.SetDeadline(time.Now().Add(dataTimeout)); err != nil {
		return err
	}
	w := line.NewDotWriter(s.out)
	if _, err := bytes.NewReader(message).WriteTo(w); err != nil {
		return err
	}
	if err := errors.Join(w.Close(), s.out.Flush()); err != nil {
		return err
	}
	_, err := s.reply("the message", "250")
	return err
}

func (s smtp) do(command, want string) ([]string, error) {
	if err := s.send(command); err != nil {
		return nil, err
	}
	return s.reply(command, want)
}

// maxReplyLines bounds a reply.
const maxReplyLines = 1000

// reply reads a reply (RFC 5321, section 4.2.1) and returns its texts if its
// code begins with want.
func (s smtp) reply(command, want string) ([]string, error) {
	var texts []string
	for range maxReplyLines {
		l, err := s.readLine()
		if err != nil {
			return nil, err
		}
		if len(l) < 3 || len(l) > 3 && l[3] != ' ' && l[3] != '-' || strings.Trim(l[:3], "0123456789") != "" {
			return nil, fmt.Errorf("the server answered %q, which is not SMTP", Printable(l))
		}
		texts = append(texts, l[min(len(l), 4):])
		if len(l) > 3 && l[3] == '-' {
			continue
		}
		if !strings.HasPrefix(l, want) {
			return nil, &ReplyError{command, l[:3] + " " + strings.Join(texts, " ")}
		}
		return texts, nil
	}
	return nil, errors.New("the server's reply has no end")
}
