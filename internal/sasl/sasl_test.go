package sasl

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
)

// testUsers maps names to passwords. Names have no case.
type testUsers map[string]string

var errTrouble = errors.New("no disk")

func (u testUsers) Authenticate(ctx context.Context, login, password string) (string, bool, error) {
	if login == "trouble" {
		return "", false, errTrouble
	}
	name := strings.ToLower(login)
	want, ok := u[name]
	return name, ok && want == password, ctx.Err()
}

// SCRAM takes the salt of RFC 7677's example for everybody.
func (u testUsers) SCRAM(login string) (Verifier, error) {
	if login == "trouble" {
		return Verifier{}, errTrouble
	}
	name := strings.ToLower(login)
	password, ok := u[name]
	if !ok {
		name = ""
	}
	return makeVerifier(name, password), nil
}

func makeVerifier(user, password string) Verifier {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	salted, err := pbkdf2.Key(sha256.New, password, salt, minIterations, proofSize)
	if err != nil {
		panic(err)
	}
	stored := sha256.Sum256(signature(salted, "Client Key"))
	return Verifier{user, minIterations, salt, stored[:], signature(salted, "Server Key")}
}

var (
	known  = testUsers{"user": "pencil", "tim": "tanstaaftanstaaf", "kurt": "xipj3plmq", "a,b=c": "x", "ix": "p"}
	secure = Channel{Secure: true}
	bound  = Channel{Secure: true, Bindings: []Binding{{tlsExporter, []byte("exported")}, {tlsServerEndPoint, []byte("hash")}}}
)

func newServer(t testing.TB, mechanism string, ch Channel) *Server {
	t.Helper()
	s, err := NewServer(mechanism, known, ch)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMechanisms(t *testing.T) {
	for _, c := range []struct {
		ch   Channel
		want []string
	}{
		{Channel{}, []string{ScramSHA256}},
		{secure, []string{ScramSHA256, Plain, Login}},
		{bound, []string{ScramSHA256Plus, ScramSHA256, Plain, Login}},
	} {
		if got := c.ch.Mechanisms(); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.ch, got, c.want)
		}
	}
	for _, c := range []struct {
		mechanism string
		ch        Channel
		want      error
	}{
		{"plain", secure, nil}, {"Scram-Sha-256", Channel{}, nil}, {ScramSHA256Plus, bound, nil},
		{Plain, Channel{}, ErrInsecure}, {Login, Channel{}, ErrInsecure}, {ScramSHA256Plus, Channel{}, ErrInsecure},
		{ScramSHA256Plus, secure, ErrMechanism}, {"CRAM-MD5", secure, ErrMechanism}, {"", Channel{}, ErrMechanism},
	} {
		if _, err := NewServer(c.mechanism, known, c.ch); err != c.want {
			t.Errorf("%s: %v, want %v", c.mechanism, err, c.want)
		}
	}
}

func TestChoose(t *testing.T) {
	all := []string{"GSSAPI", Login, "plain", "scram-sha-256", ScramSHA256Plus}
	for _, c := range []struct {
		offered []string
		ch      Channel
		want    string
	}{
		{all, bound, ScramSHA256Plus}, {all, secure, ScramSHA256}, {all, Channel{}, ScramSHA256},
		{all[:3], secure, Plain}, {all[:2], secure, Login}, {all[:3], Channel{}, ""}, {all[:1], bound, ""}, {nil, bound, ""},
	} {
		if got, ok := Choose(c.offered, c.ch); got != c.want || ok != (c.want != "") {
			t.Errorf("%v on %v: %q, %v; want %q", c.offered, c.ch, got, ok, c.want)
		}
	}
}

// exchange lets a client and a server talk until one is content or fails.
func exchange(s *Server, c *Client) (user string, err error) {
	response, err := c.Start()
	for err == nil {
		challenge, done, err := s.Next(context.Background(), response)
		if err != nil {
			return "", err
		}
		if done {
			return s.User(), c.Done()
		}
		if response, err = c.Next(challenge); err != nil {
			return "", err
		}
	}
	return "", err
}

func TestClientAgainstServer(t *testing.T) {
	for _, mechanism := range best {
		for _, c := range []struct{ user, password, want string }{
			{"user", "pencil", "user"}, {"USER", "pencil", "user"}, {"a,b=c", "x", "a,b=c"},
			{"I\u00adX", "p", "ix"}, {"\u2168", "p", "ix"}, // SASLprep: RFC 4013, section 3
			{"user", "pen", ""}, {"nobody", "", ""}, {"nobody", "x", ""},
		} {
			client, err := NewClient(mechanism, c.user, c.password, nil)
			if mechanism == ScramSHA256Plus {
				client, err = NewClient(mechanism, c.user, c.password, bound.Bindings)
			}
			if err != nil {
				if c.password != "" {
					t.Errorf("%s, %q: %v", mechanism, c.user, err)
				}
				continue
			}
			server := newServer(t, mechanism, bound)
			user, err := exchange(server, client)
			if user != c.want || c.want != "" && err != nil || c.want == "" && !errors.Is(err, ErrFailed) {
				t.Errorf("%s, %q with %q: %q, %v; want %q", mechanism, c.user, c.password, user, err, c.want)
			}
			if server.login == "" || server.User() != c.want {
				t.Errorf("%s, %q: login %q, user %q", mechanism, c.user, server.login, server.User())
			}
		}
	}
}

func TestNewClientRefuses(t *testing.T) {
	for _, c := range []struct{ mechanism, user, password string }{
		{Plain, "", "x"}, {Plain, "u", ""}, {Plain, "u\x00v", "x"}, {Login, "u", "x\xff"}, {ScramSHA256, "u\a", "x"},
		{ScramSHA256, "u", "x\a"}, {ScramSHA256, "u", "\u00ad"}, {ScramSHA256, strings.Repeat("u", 256), "x"},
		{"CRAM-MD5", "u", "x"}, {ScramSHA256Plus, "u", "x"},
	} {
		if _, err := NewClient(c.mechanism, c.user, c.password, nil); err == nil {
			t.Errorf("%q was accepted", c)
		}
	}
}

// RFC 4616, section 4, and what is wrong.
func TestPlain(t *testing.T) {
	for response, want := range map[string]error{
		"\x00tim\x00tanstaaftanstaaf":                   nil,
		"tim\x00tim\x00tanstaaftanstaaf":                nil,
		"TIM\x00tim\x00tanstaaftanstaaf":                nil,
		"Ursel\x00Kurt\x00xipj3plmq":                    ErrFailed, // nobody acts for another
		"tim\x00Kurt\x00xipj3plmq":                      ErrFailed,
		"\a\x00tim\x00tanstaaftanstaaf":                 ErrFailed,
		"\x00tim\x00wrong":                              ErrFailed,
		"\x00ti\am\x00tanstaaftanstaaf":                 ErrFailed,
		"\x00" + strings.Repeat("t", 256) + "\x00x":     ErrFailed,
		"\x00trouble\x00x":                              errTrouble,
		"trouble\x00tim\x00tanstaaftanstaaf":            errTrouble,
		"":                                              ErrSyntax,
		"tim":                                           ErrSyntax,
		"tim\x00tanstaaftanstaaf":                       ErrSyntax,
		"\x00\x00tanstaaftanstaaf":                      ErrSyntax,
		"\x00tim\x00":                                   ErrSyntax,
		"\x00tim\x00tanstaaftanstaaf\x00":               ErrSyntax,
		"\x00tim\x00\xff":                               ErrSyntax,
		"\x00tim\x00" + strings.Repeat("x", maxMessage): ErrSyntax,
	} {
		s := newServer(t, Plain, secure)
		_, done, err := s.Next(context.Background(), []byte(response))
		if err != want || done != (want == nil) || want == nil && s.User() != "tim" || want != nil && s.User() != "" {
			t.Errorf("%.40q: %v, %v, %q; want %v", response, done, err, s.User(), want)
		}
	}
}

func TestLogin(t *testing.T) {
	for _, c := range []struct {
		name, password string
		want           error
	}{
		{"Tim", "tanstaaftanstaaf", nil}, {"tim", "x", ErrFailed}, {"t\a", "x", ErrFailed}, {"trouble", "x", errTrouble},
		{"", "x", ErrSyntax}, {"t\x00", "x", ErrSyntax}, {"tim", "", ErrSyntax}, {"tim", "\xff", ErrSyntax},
	} {
		s := newServer(t, Login, secure)
		prompt, _, err := s.Next(context.Background(), nil)
		if err != nil || string(prompt) != "Username:" {
			t.Fatalf("%q, %v", prompt, err)
		}
		prompt, done, err := s.Next(context.Background(), []byte(c.name))
		if err == nil {
			if done || string(prompt) != "Password:" {
				t.Fatalf("%q, %v", prompt, done)
			}
			_, done, err = s.Next(context.Background(), []byte(c.password))
		}
		if err != c.want || done != (c.want == nil) || done != (s.User() == "tim") {
			t.Errorf("%q: %v, %v, %q; want %v", c.name, done, err, s.User(), c.want)
		}
	}
}

func TestOver(t *testing.T) {
	s := newServer(t, Plain, secure)
	for i, want := range []error{ErrSyntax, errOver} {
		if _, _, err := s.Next(context.Background(), []byte{}); err != want {
			t.Errorf("%d: %v, want %v", i, err, want)
		}
	}
	c, err := NewClient(Plain, "u", "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Done(); err != ErrUnfinished {
		t.Error("before the start:", err)
	}
	if initial, err := c.Start(); err != nil || string(initial) != "\x00u\x00x" || c.Done() != nil {
		t.Errorf("%q, %v, %v", initial, err, c.Done())
	}
	if _, err := c.Start(); err == nil {
		t.Error("started twice")
	}
	if _, err := c.Next(nil); !errors.Is(err, ErrServer) || c.Done() == nil {
		t.Error("PLAIN has a second step:", err)
	}
}

// converse answers the server's challenges with lines.
func converse(s *Server, initial *string, lines ...string) (user, challenges string, err error) {
	user, err = s.Converse(context.Background(), initial, func(challenge string) (string, error) {
		challenges += challenge + "|"
		if len(lines) == 0 {
			return "", errTrouble
		}
		line := lines[0]
		lines = lines[1:]
		return line, nil
	})
	return user, challenges, err
}

func TestConverse(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	plain, name, password := b64("\x00tim\x00tanstaaftanstaaf"), b64("tim"), b64("tanstaaftanstaaf")
	for _, c := range []struct {
		mechanism  string
		lines      []string // the initial response, or "-", comes first
		challenges string
		want       error
	}{
		{Plain, []string{plain}, "", nil},
		{Plain, []string{"-", plain}, "|", nil},
		{Plain, []string{"="}, "", ErrSyntax},
		{Plain, []string{""}, "", ErrEncoding},
		{Plain, []string{"-", ""}, "|", ErrSyntax},
		{Plain, []string{"-", "="}, "|", ErrEncoding},
		{Plain, []string{"-", "*"}, "|", ErrCancelled},
		{Plain, []string{"*"}, "", ErrEncoding},
		{Plain, []string{"-"}, "|", errTrouble},
		{Plain, []string{"AHRpbQB4"}, "", ErrFailed},
		{Plain, []string{plain + "\r\n"}, "", ErrEncoding},
		{Plain, []string{"AHRpbQB4eA="}, "", ErrEncoding},
		{Plain, []string{"AHRpbQB4eB=="}, "", ErrEncoding}, // not canonical
		{Plain, []string{strings.Repeat("A", MaxLine/4*4+4)}, "", ErrSyntax},
		{Login, []string{"-", name, password}, "VXNlcm5hbWU6|UGFzc3dvcmQ6|", nil},
		{Login, []string{name, password}, "UGFzc3dvcmQ6|", nil},
		{Login, []string{name, "*"}, "UGFzc3dvcmQ6|", ErrCancelled},
		{ScramSHA256, []string{"-", "*"}, "|", ErrCancelled},
	} {
		var initial *string
		if c.lines[0] != "-" {
			initial = &c.lines[0]
		}
		user, challenges, err := converse(newServer(t, c.mechanism, secure), initial, c.lines[1:]...)
		if !errors.Is(err, c.want) || challenges != c.challenges || (user == "tim") != (err == nil) {
			t.Errorf("%s %.40q: %q, %q, %v; want %q, %v", c.mechanism, c.lines, user, challenges, err, c.challenges, c.want)
		}
	}
}

func FuzzConverse(f *testing.F) {
	f.Add(Plain, "AHRpbQB0YW5zdGFhZnRhbnN0YWFm", "", "")
	f.Add(Login, "-", "dGlt", "dGFuc3RhYWZ0YW5zdGFhZg==")
	f.Add(ScramSHA256, "biwsbj11c2VyLHI9eA==", "Yz1iaXdzLHI9eA==", "")
	f.Add(ScramSHA256Plus, "=", "*", "")
	f.Fuzz(func(t *testing.T, mechanism, initial, second, third string) {
		s, err := NewServer(mechanism, known, bound)
		if err != nil {
			return
		}
		first := &initial
		if initial == "-" {
			first = nil
		}
		user, _, err := converse(s, first, second, third)
		if (err == nil) != (user != "") || user != s.User() {
			t.Errorf("user %q, error %v", user, err)
		}
	})
}

// fuzzNext gives a server two responses; only valid ones can make it content.
func fuzzNext(f *testing.F, mechanism string, seeds ...[2]string) {
	for _, s := range seeds {
		f.Add([]byte(s[0]), []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s := newServer(t, mechanism, bound)
		s.nonce = func() string { return "ours" }
		challenge, done, err := s.Next(context.Background(), first)
		if err == nil && !done {
			_, done, err = s.Next(context.Background(), second)
		}
		if done && (err != nil || s.User() == "") || !done && s.User() != "" {
			t.Errorf("done %v, error %v, user %q", done, err, s.User())
		}
		if done && !bytes.Contains(append(first, second...), []byte(known[s.User()])) {
			t.Errorf("%s got in without a password after %q", s.User(), challenge)
		}
	})
}

func FuzzPlain(f *testing.F) {
	fuzzNext(f, Plain, [2]string{"\x00tim\x00tanstaaftanstaaf"}, [2]string{"tim\x00tim\x00x"})
}

func FuzzLogin(f *testing.F) {
	fuzzNext(f, Login, [2]string{"tim", "tanstaaftanstaaf"}, [2]string{"tim", ""})
}

func FuzzScramSHA256(f *testing.F) {
	fuzzNext(f, ScramSHA256, [2]string{"n,,n=user,r=x", "c=biws,r=xours,p=AAAA"}, [2]string{"n,a=us=2Cer,n=u=3Dser,r=x,e=1", "c=biws"})
}

func FuzzScramSHA256Plus(f *testing.F) {
	fuzzNext(f, ScramSHA256Plus, [2]string{"p=tls-exporter,,n=user,r=x", "c=biws,r=xours,p=AAAA"})
}
