package line

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"xm/internal/line/linetest"
)

func load(t *testing.T) (*Certificate, *tls.Config) {
	t.Helper()
	certFile, keyFile, client := linetest.Certificate(t)
	cert, err := LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return cert, client
}

// upgrade makes c a connection under TLS.
func (c *client) upgrade(config *tls.Config) error {
	secured := tls.Client(c.Conn, config)
	err := secured.Handshake()
	c.Conn, c.in = secured, bufio.NewReader(secured)
	return err
}

func TestStartTLS(t *testing.T) {
	cert, config := load(t)
	c := start(t, &Server{Certificate: cert}).dial(t)
	c.ask("a\r\n", "a")
	c.ask("tls\r\n", "go ahead")
	if err := c.upgrade(config); err != nil {
		t.Fatal(err)
	}
	c.ask("b\r\n", "b")
	c.ask("tls\r\n", ErrNoTLS.Error()) // not a second time
}

// What somebody in between put behind the command is not taken for the client's.
func TestStartTLSDropsInjectedCommands(t *testing.T) {
	cert, config := load(t)
	c := start(t, &Server{Certificate: cert}).dial(t)
	c.ask("tls\r\ninjected\r\n", "go ahead")
	if err := c.upgrade(config); err != nil {
		t.Fatal(err)
	}
	c.ask("mine\r\n", "mine")
}

func TestImplicitTLS(t *testing.T) {
	cert, config := load(t)
	r := start(t, &Server{Certificate: cert, ImplicitTLS: true, ALPN: "echo"})
	c := r.dial(t)
	if err := c.upgrade(config); err != nil {
		t.Fatal(err)
	}
	c.ask("a\r\n", "a")

	r.stop()
	c.ask("", "bye "+ErrStopping.Error())
	c.ended() // and nothing was cut off, as TLS itself tells
	if err := <-r.done; err != nil {
		t.Error(err)
	}
}

func TestImplicitTLSRefusesClearText(t *testing.T) {
	cert, _ := load(t)
	clear := start(t, &Server{Certificate: cert, ImplicitTLS: true}).dial(t)
	io.WriteString(clear, "EHLO a\r\n")
	if _, err := io.ReadAll(clear.in); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
}

// A protocol that tells by the first octet whether it is under TLS.
func TestAcceptTLS(t *testing.T) {
	cert, config := load(t)
	r := start(t, &Server{Certificate: cert, Handle: func(c *Conn) {
		in, err := c.Input(time.Minute)
		if err != nil {
			t.Error(err)
		}
		first, err := in.Peek(1)
		if err != nil {
			t.Error(err)
		}
		if first[0] == 0x16 {
			if err := c.AcceptTLS(); err != nil {
				t.Error(err)
			}
		}
		echo(c)
	}})
	c := r.dial(t)
	c.ask("a\r\n", "a")
	c = r.dial(t)
	if err := c.upgrade(config); err != nil {
		t.Fatal(err)
	}
	c.ask("b\r\n", "b")
}

// Who has made a handshake unasked has begun: a stop waits for the rest.
func TestStopAfterAcceptTLS(t *testing.T) {
	cert, config := load(t)
	config.Time = func() time.Time { return cert.Leaf().NotBefore } // synctest has a clock of its own
	synctest.Test(t, func(t *testing.T) {
		pipe := linetest.NewPipe()
		ctx, stop := context.WithCancel(t.Context())
		s := &Server{Certificate: cert, Log: slog.New(slog.DiscardHandler), Handle: func(c *Conn) {
			if _, err := c.Input(time.Minute); err != nil {
				t.Error(err)
			}
			if err := c.AcceptTLS(); err != nil {
				t.Error(err)
			}
			stop()
			synctest.Wait() // the client waits with its request
			in, err := c.Input(time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			if text, err := in.ReadString('.'); err != nil {
				t.Errorf("got %q, %v", text, err)
			}
		}}
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, pipe) }()
		conn := tls.Client(pipe.Dial(), config)
		defer conn.Close()
		if err := conn.Handshake(); err != nil {
			t.Error(err)
		}
		var request sync.WaitGroup
		request.Go(func() {
			if _, err := io.WriteString(conn, "x."); err != nil {
				t.Error(err)
			}
		})
		_, _ = io.ReadAll(conn) // what the server says is no matter
		request.Wait()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTLSRefuses(t *testing.T) {
	cert, trusting := load(t)
	r := start(t, &Server{Certificate: cert, ImplicitTLS: true, ALPN: "echo"})
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.1":    func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
		"other ALPN": func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} },
	} {
		config := trusting.Clone()
		change(config)
		if err := r.dial(t).upgrade(config); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	config := trusting.Clone()
	config.NextProtos = []string{"echo"}
	if err := r.dial(t).upgrade(config); err != nil {
		t.Error(err)
	}
}

func TestImplicitTLSNeedsACertificate(t *testing.T) {
	r := start(t, &Server{ImplicitTLS: true})
	if err := <-r.done; err == nil || !strings.Contains(err.Error(), ErrNoTLS.Error()) {
		t.Error(err)
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	certFile, keyFile, first := linetest.Certificate(t)
	var log bytes.Buffer
	cert, err := LoadCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, &Server{Certificate: cert, ImplicitTLS: true})
	shakes := func(config *tls.Config) error { return r.dial(t).upgrade(config) }
	if err := shakes(first); err != nil {
		t.Fatal(err)
	}
	// Half replaced: the pair before stays in use.
	newCert, newKey, second := linetest.Certificate(t)
	rename(t, newCert, certFile)
	if err := shakes(first); err != nil {
		t.Error(err)
	}
	rename(t, newKey, keyFile)
	if err := shakes(second); err != nil {
		t.Error(err)
	}
	if err := shakes(first); err == nil {
		t.Error("the old certificate is still shown")
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	if err := shakes(second); err != nil {
		t.Error(err)
	}
	if got := strings.Count(log.String(), "level=ERROR"); got != 2 {
		t.Errorf("%d errors in the log, want 2:\n%s", got, log.String())
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestLoadCertificateNamesTheFile(t *testing.T) {
	certFile, keyFile, _ := linetest.Certificate(t)
	for _, files := range [][2]string{{"missing.pem", keyFile}, {certFile, "missing.pem"}, {keyFile, keyFile}} {
		if _, err := LoadCertificate(files[0], files[1], slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), files[0]) && !strings.Contains(err.Error(), "missing.pem") {
			t.Errorf("%v: %v", files, err)
		}
	}
}

// A peer that says nothing, or stops in the middle of the handshake, does not hold the
// stop up.
func TestStopDuringHandshake(t *testing.T) {
	cert, _ := load(t)
	for _, begun := range [][]byte{nil, {22, 3, 1}} {
		synctest.Test(t, func(t *testing.T) {
			s := &Server{Certificate: cert, ImplicitTLS: true, Handle: echo, Log: slog.New(slog.DiscardHandler)}
			pipe, stop, done := serveInBubble(t, s)
			conn, began := pipe.Dial(), time.Now()
			if _, err := conn.Write(begun); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			stop()
			if err := <-done; err != nil || time.Since(began) > 0 {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			conn.Close()
		})
	}
}

func TestHandshakeTimeout(t *testing.T) {
	cert, _ := load(t)
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Certificate: cert, ImplicitTLS: true, Handle: echo, Log: slog.New(slog.DiscardHandler)}
		pipe, stop, done := serveInBubble(t, s)
		conn, began := pipe.Dial(), time.Now()
		if _, err := conn.Read(make([]byte, 1)); err == nil || !linetest.Waited(time.Since(began), handshakeTimeout) {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		conn.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// serveInBubble serves until stop; done gets what Serve returns.
func serveInBubble(t *testing.T, s *Server) (pipe *linetest.Pipe, stop func(), done <-chan error) {
	pipe = linetest.NewPipe()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, pipe) }()
	return pipe, cancel, ended
}
