package mailclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"xm/internal/line"
)

// SMTP is a session with a server that takes mail.
type SMTP struct {
	c          *conn
	extensions map[string][]string // the words after each keyword, in upper case
}

// OpenSMTP connects, begins TLS where the server is to have it, and logs in if
// auth is not nil and the server asks for it.
func OpenSMTP(ctx context.Context, server Server, auth *Credentials) (*SMTP, error) {
	c, err := dial(ctx, server)
	if err != nil {
		return nil, err
	}
	s := &SMTP{c: c}
	if err := s.begin(auth); err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", server.Addr, err)
	}
	return s, nil
}

func (s *SMTP) begin(auth *Credentials) error {
	if _, err := s.reply("the connection", "220"); err != nil {
		return err
	}
	if err := s.greet(); err != nil {
		return err
	}
	if s.c.needsTLS() {
		if err := s.startTLS(); err != nil {
			return err
		}
	}
	if mechanisms, offered := s.extensions["AUTH"]; auth != nil && offered {
		return s.c.authenticate(exchange{mechanisms, *auth, s.challenge})
	}
	return nil
}

// startTLS is RFC 3207. A server that does not offer it may be one between that
// has cut the offer out: nothing goes on in clear.
func (s *SMTP) startTLS() error {
	if _, offered := s.extensions["STARTTLS"]; !offered {
		return errNoTLS
	}
	if _, err := s.do("STARTTLS", "220"); err != nil {
		return err
	}
	if err := s.c.handshake(); err != nil {
		return err
	}
	return s.greet() // RFC 3207, section 4.2
}

// greet learns the extensions that the server has, if any (RFC 5321, section
// 3.2: HELO where EHLO is unknown).
func (s *SMTP) greet() error {
	me := "[127.0.0.1]"
	if a, ok := s.c.raw.LocalAddr().(*net.TCPAddr); ok {
		me = "[" + a.IP.String() + "]"
		if a.IP.To4() == nil {
			me = "[IPv6:" + a.IP.String() + "]" // RFC 5321, section 4.1.3
		}
	}
	s.extensions = map[string][]string{}
	lines, err := s.do("EHLO "+me, "250")
	var refused *ReplyError
	if errors.As(err, &refused) && strings.HasPrefix(refused.Reply, "5") {
		_, err = s.do("HELO "+me, "250")
		return err
	}
	for _, l := range lines[min(1, len(lines)):] {
		if words := strings.Fields(strings.ToUpper(l)); len(words) > 0 {
			s.extensions[words[0]] = words[1:]
		}
	}
	return err
}

// challenge reads the server's turn of AUTH (RFC 4954, section 4).
func (s *SMTP) challenge() (string, bool, error) {
	texts, err := s.reply("AUTH", "334", "235")
	if err != nil {
		return "", false, err
	}
	code, text, _ := strings.Cut(texts[0], " ")
	return text, code == "334", nil
}

// Close breaks the session off. It does nothing after Quit.
func (s *SMTP) Close() error { return s.c.Close() }

// Quit ends the session. What was accepted is accepted, whatever comes of it.
func (s *SMTP) Quit() {
	s.c.timeout = quitTime
	_, _ = s.do("QUIT", "221")
	s.c.Close()
}

// Envelope says from whom a message is, and to whom it goes.
type Envelope struct {
	From string
	To   []string
	// Size is that of the message in octets, or somewhat more; 0 if unknown.
	Size int64
	// EightBit says that the message holds octets above 127.
	EightBit bool
}

// Send sends one message, which write gives with CRLF line ends. refused tells,
// for each recipient, why the server does not take the message for them, or is
// nil; err, why it takes it for none. Nothing is sent if no recipient is
// accepted. After an error that is no ReplyError and no UnfitError, the session is
// closed.
func (s *SMTP) Send(env Envelope, write func(io.Writer) error) (refused []error, err error) {
	parameters, err := s.parameters(env)
	if err != nil {
		return nil, &UnfitError{err}
	}
	refused, err = s.send(env, parameters, write)
	var reply *ReplyError
	switch {
	case err == nil:
	case errors.As(err, &reply) && reply.closes():
		s.c.Close()
		return nil, fmt.Errorf("%w: %v", ErrClosing, reply)
	case errors.As(err, &reply):
		_, _ = s.do("RSET", "250") // what comes of it shows at the next MAIL
	default:
		s.c.Close()
	}
	return refused, err
}

func (s *SMTP) send(env Envelope, parameters string, write func(io.Writer) error) ([]error, error) {
	if _, err := s.do("MAIL FROM:<"+env.From+">"+parameters, "250"); err != nil {
		return nil, err
	}
	refused, accepted := make([]error, len(env.To)), 0
	for i, to := range env.To {
		_, err := s.do("RCPT TO:<"+to+">", "25") // 251: the server forwards
		var reply *ReplyError
		if err != nil && (!errors.As(err, &reply) || reply.closes()) {
			return nil, err
		}
		if refused[i] = err; err == nil {
			accepted++
		}
	}
	if accepted == 0 {
		_, _ = s.do("RSET", "250") // what comes of it shows at the next MAIL
		return refused, nil
	}
	if _, err := s.do("DATA", "354"); err != nil {
		return nil, err
	}
	return refused, s.sendMessage(write)
}

// parameters of MAIL. What a message needs, and the server lacks, is an error
// before anything is sent.
func (s *SMTP) parameters(env Envelope) (string, error) {
	text := ""
	if words, ok := s.extensions["SIZE"]; ok && env.Size > 0 { // RFC 1870
		text += " SIZE=" + strconv.FormatInt(env.Size, 10)
		if len(words) > 0 {
			if limit, err := strconv.ParseInt(words[0], 10, 64); err == nil && limit > 0 && env.Size > limit {
				return "", fmt.Errorf("%w: it has %d octets, and may have %d", ErrTooLarge, env.Size, limit)
			}
		}
	}
	if env.EightBit { // RFC 6152
		if _, ok := s.extensions["8BITMIME"]; !ok {
			return "", errors.New("the message holds octets above 127, and the server does not take them (8BITMIME)")
		}
		text += " BODY=8BITMIME"
	}
	if !isASCII(env.From) || !isASCII(strings.Join(env.To, "")) { // RFC 6531
		if _, ok := s.extensions["SMTPUTF8"]; !ok {
			return "", errors.New("an address holds letters beyond ASCII, and the server does not take them (SMTPUTF8)")
		}
		text += " SMTPUTF8"
	}
	return text, nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 127 })
}

func (s *SMTP) sendMessage(write func(io.Writer) error) error {
	s.c.timeout = dataTimeout
	defer func() { s.c.timeout = replyTimeout }()
	w := line.NewDotWriter(s.c.out)
	if err := write(w); err != nil {
		return s.whyStopped(err)
	}
	if err := errors.Join(w.Close(), s.c.out.Flush()); err != nil {
		return s.whyStopped(err)
	}
	_, err := s.reply("the message", "250")
	return err
}

// whyStopped looks for the reply of a server that closed the connection in the
// middle of a message. The session is at its end.
func (s *SMTP) whyStopped(err error) error {
	var network net.Error
	if !errors.As(err, &network) {
		return err // the message could not be read
	}
	s.c.timeout = quitTime
	if _, said := s.reply("the message", "250"); said != nil && !errors.Is(said, ErrBroken) {
		return fmt.Errorf("%w: %v", ErrBroken, said)
	}
	return s.c.broken(network) // once: err may tell it of each write
}

func (s *SMTP) do(command, want string) ([]string, error) {
	if err := s.c.send(command); err != nil {
		return nil, err
	}
	texts, err := s.reply(command, want)
	for i := range texts {
		_, texts[i], _ = strings.Cut(texts[i], " ")
	}
	return texts, err
}

const (
	// maxReplyLines bounds a reply.
	maxReplyLines = 1000
	// quitTime is how long a server may take to say goodbye.
	quitTime = 5 * time.Second
)

// reply reads a reply (RFC 5321, section 4.2.1) and returns its lines, each as
// "CODE text", if its code begins as one of want.
func (s *SMTP) reply(command string, want ...string) ([]string, error) {
	var texts []string
	for range maxReplyLines {
		l, err := s.c.readLine()
		if err != nil {
			return nil, err
		}
		if len(l) < 3 || len(l) > 3 && l[3] != ' ' && l[3] != '-' || strings.Trim(l[:3], "0123456789") != "" {
			return nil, fmt.Errorf("the server answered %q, which is not SMTP", Printable(l))
		}
		texts = append(texts, l[:3]+" "+l[min(len(l), 4):])
		if len(l) > 3 && l[3] == '-' {
			continue
		}
		for _, w := range want {
			if strings.HasPrefix(l, w) {
				return texts, nil
			}
		}
		return nil, &ReplyError{command, joinReply(texts)}
	}
	return nil, errors.New("the server's reply has no end")
}

// joinReply makes one line of a reply's lines.
func joinReply(lines []string) string {
	text := lines[0]
	for _, l := range lines[1:] {
		text += " " + l[len("250 "):]
	}
	return text
}
