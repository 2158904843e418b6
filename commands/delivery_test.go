package commands

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"xm/internal/config"
	"xm/smtpd"
	"xm/userdb"
)

// BenchmarkDelivery is a message of 4 KiB from the client's MAIL to the 250: smtpd, the
// users and the store as xm smtpd has them, over TCP. The client shares the CPUs, but
// allocates nothing.
func BenchmarkDelivery(b *testing.B) {
	for _, sessions := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(sessions), func(b *testing.B) { benchmarkDelivery(b, sessions) })
	}
}

func benchmarkDelivery(b *testing.B, sessions int) {
	addr := serveBenchmark(b)
	clients := make([]*net.TCPConn, sessions)
	for i := range clients {
		clients[i] = greet(b, addr)
		defer clients[i].Close()
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, c := range clients {
		count := (b.N + i) / sessions
		wg.Go(func() {
			if err := sendMany(c, i%benchmarkUsers, count); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}

const benchmarkUsers = 8

// serveBenchmark runs an SMTP server that logs to a file.
func serveBenchmark(b *testing.B) (addr string) {
	dir := b.TempDir()
	var lines strings.Builder
	for i := range benchmarkUsers {
		fmt.Fprintf(&lines, "u%d@localhost,salt,%064d\n", i, 0)
	}
	if err := os.WriteFile(filepath.Join(dir, "users.txt"), []byte(lines.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	logFile, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { logFile.Close() })
	cfg := config.Config{DataDir: dir, Hostname: "host"}
	options := userOptions(cfg)
	options.Fresh = usersFresh
	db, err := userdb.Open(dir, options, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	store, err := openStore(cfg, db, func(err error) { b.Error(err) })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &smtpd.Server{Hostname: "host", Users: users{db}, Mail: mail{store: store, db: db}, Log: slog.New(slog.NewTextHandler(logFile, nil))}
	served := make(chan error)
	go func() { served <- s.Serve(b.Context(), l) }()
	b.Cleanup(func() {
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	return l.Addr().String()
}

func greet(b *testing.B, addr string) *net.TCPConn {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	in := bufio.NewReader(conn)
	if _, err := in.ReadString('\n'); err != nil {
		b.Fatal(err)
	}
	if _, err := io.WriteString(conn, "EHLO client\r\n"); err != nil {
		b.Fatal(err)
	}
	for line := "250-"; strings.HasPrefix(line, "250-"); {
		if line, err = in.ReadString('\n'); err != nil {
			b.Fatal(err)
		}
	}
	return conn.(*net.TCPConn)
}

// sendMany sends messages to a user, MAIL to DATA at once (RFC 2920).
func sendMany(c *net.TCPConn, user, count int) error {
	commands := fmt.Appendf(nil, "MAIL FROM:<me@example.org>\r\nRCPT TO:<u%d@localhost>\r\nDATA\r\n", user)
	message := []byte("Subject: a message\r\n\r\n")
	for len(message) < 4096 {
		message = append(message, "All work and no play makes Jack a dull boy, as the proverb has it.\r\n"...)
	}
	message = append(message, ".\r\n"...)
	answer := make([]byte, 1024)
	for range count {
		for _, step := range []struct {
			send []byte
			last string // of the replies
		}{{commands, "354"}, {message, "250"}} {
			if _, err := c.Write(step.send); err != nil {
				return err
			}
			if err := awaitReply(c, answer, step.last); err != nil {
				return err
			}
		}
	}
	return nil
}

// awaitReply reads replies up to one that begins with code.
func awaitReply(c *net.TCPConn, b []byte, code string) error {
	for n := 0; ; {
		m, err := c.Read(b[n:])
		if err != nil {
			return err
		}
		n += m
		lines := bytes.TrimSuffix(b[:n], []byte("\r\n"))
		last := lines[bytes.LastIndexByte(lines, '\n')+1:]
		if len(lines) < n && bytes.HasPrefix(last, []byte(code)) {
			return nil
		}
		if n == len(b) || len(last) > 0 && last[0] > '3' {
			return fmt.Errorf("the server says %q", b[:n])
		}
	}
}
