package commands

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// talkTime bounds a talk with one service.
const talkTime = 10 * time.Second

// listeners talks to each service.
func (d *doctor) listeners() {
	any := false
	for _, s := range services {
		addr := s.configured(d.cfg)
		if addr == "" {
			continue
		}
		any = any || s.name != metricsService
		text, err := d.talk(s.name, reachable(addr))
		switch {
		case err == nil:
			d.say(levelOK, s.name, "", "%s: %s", addr, text)
		case errors.Is(err, syscall.ECONNREFUSED):
			d.absent(s.name, addr)
		default:
			d.say(levelProblem, s.name, "see the server's log", "%s: %v", addr, err)
		}
	}
	if !any {
		d.say(levelProblem, "services", "give one an address to listen on", "all are switched off")
	}
}

// absent tells why nobody answers, by trying to listen.
func (d *doctor) absent(service, addr string) {
	l, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		l.Close()
		d.say(levelProblem, service, "start xm serve", "nothing listens on %s", addr)
	case errors.Is(err, syscall.EACCES):
		d.say(levelProblem, service, "start it through the systemd socket unit, or give it CAP_NET_BIND_SERVICE",
			"nothing listens on %s, and this user may not", addr)
	default:
		d.say(levelProblem, service, "set another address to listen on", "it can't listen: %v", err)
	}
}

// reachable makes an address to connect to of one to listen on.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// talk says what service is there.
func (d *doctor) talk(service, addr string) (string, error) {
	ctx, cancel := context.WithTimeout(d.ctx, talkTime)
	defer cancel()
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(talkTime)); err != nil {
		return "", err
	}
	t := &talk{conn: nc, in: bufio.NewReader(nc), name: d.cfg.Hostname}
	switch service {
	case smtpService, "submission":
		return t.smtp(d.cfg.HasTLS())
	case acmeService:
		return t.acme()
	case "submissions":
		return t.implicit((*talk).greeting)
	case pop3Service:
		return t.greeting()
	case "pop3s":
		return t.implicit((*talk).greeting)
	case metricsService:
		return t.health()
	}
	return "it accepts connections", nil
}

// talk is one connection to a service.
type talk struct {
	conn net.Conn
	in   *bufio.Reader
	name string // of the server
}

// line reads one, of a bounded length.
func (t *talk) line() (string, error) {
	line, err := t.in.ReadSlice('\n')
	if err == io.EOF {
		err = errors.New("it ended the connection")
	}
	return strings.TrimRight(string(line), "\r\n"), err
}

func (t *talk) greeting() (string, error) {
	line, err := t.line()
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(line, "220 ") && !strings.HasPrefix(line, "+OK") {
		return "", fmt.Errorf("it greets with %q", line)
	}
	return line, nil
}

// health asks the metrics service how all are.
func (t *talk) health() (string, error) {
	if _, err := io.WriteString(t.conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	answer, err := http.ReadResponse(t.in, nil)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	text := strings.ReplaceAll(strings.TrimSpace(string(body)), "\n", "; ")
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(text)
	}
	return text, err
}

// implicit begins with the handshake. Whom the certificate is for, and who
// vouches for it, is looked at elsewhere.
func (t *talk) implicit(then func(*talk) (string, error)) (string, error) {
	secured := tls.Client(t.conn, &tls.Config{ServerName: t.name, InsecureSkipVerify: true})
	if err := secured.Handshake(); err != nil {
		return "", fmt.Errorf("TLS handshake: %w", err)
	}
	t.conn, t.in = secured, bufio.NewReader(secured)
	text, err := then(t)
	return text + ", " + tls.VersionName(secured.ConnectionState().Version), err
}

func (t *talk) smtp(wantTLS bool) (string, error) {
	greeting, err := t.greeting()
	if err != nil {
		return "", err
	}
	offered, err := t.command("EHLO localhost")
	if err != nil || !wantTLS {
		return greeting, err
	}
	if !strings.Contains(offered, "STARTTLS") {
		return "", errors.New("there is a certificate, but it does not offer STARTTLS: restart it")
	}
	if _, err := t.command("STARTTLS"); err != nil {
		return "", err
	}
	return t.implicit(func(t *talk) (string, error) {
		_, err := t.command("EHLO localhost")
		return greeting, err
	})
}

// command returns the lines of a good reply.
func (t *talk) command(command string) (string, error) {
	if _, err := fmt.Fprintf(t.conn, "%s\r\n", command); err != nil {
		return "", err
	}
	var lines []string
	for {
		line, err := t.line()
		if err != nil {
			return "", err
		}
		lines = append(lines, line)
		if len(line) < 4 || line[0] != '2' || len(lines) > 100 {
			return "", fmt.Errorf("%s: %q", command, line)
		}
		if line[3] == ' ' {
			return strings.Join(lines, "\n"), nil
		}
	}
}
