package metrics

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"xm/internal/line"
)

var errBroken = errors.New("the disk is on fire")

// everything has something of each kind counted.
func everything() *Metrics {
	m := New("0.0.0")
	smtp, pop3, regd, store := m.SMTP("smtp"), m.POP3("pop3"), m.Regd("regd"), m.Store()
	for _, o := range []line.Observer{smtp, pop3, regd} {
		o.Opened()
		o.Closed()
		o.Refused(line.RefusedLimit)
		o.AcceptFailed(errBroken)
		o.Handshake(tls.VersionTLS13, nil)
		o.Handshake(0, errBroken)
		o.Received(10)
		o.Sent(20)
	}
	smtp.Command("MAIL", 250)
	smtp.Message(250, 2, 1000)
	smtp.Message(452, 1, 500)
	smtp.Login("PLAIN", "accepted", time.Second)
	pop3.Command("RETR", true)
	pop3.Command("RETR", false)
	pop3.Command("unknown", false)
	pop3.Login("PASS", "failed", time.Second)
	pop3.Login("PASS", "aborted", time.Second)
	regd.Request("keys", "404")
	store.BeginFailed()
	store.Committed(store.Committing(), OK)
	store.Committed(store.Committing(), Denied)
	store.Committed(store.Committing(), Failed)
	store.Committing()
	store.Opened(time.Now(), OK)
	store.Opened(time.Now(), Denied)
	store.Deleted(3, nil)
	store.Deleted(3, errBroken)
	store.Synced(time.Second, nil)
	store.Synced(time.Second, errBroken)
	return m
}

func TestFigures(t *testing.T) {
	text := get(t, everything(), fine(), "/metrics", 200)
	for line := range strings.Lines(`xm_build_info{go="*",revision="*",version="0.0.0"} 1
xm_connections_open{service="smtp"} 0
xm_connections_total{service="regd"} 1
xm_connections_refused_total{reason="limit",service="pop3"} 1
xm_connections_refused_total{reason="tls",service="pop3"} 0
xm_accept_errors_total{service="smtp"} 1
xm_tls_handshakes_total{service="smtp",version="TLS 1.3"} 1
xm_tls_handshake_failures_total{service="smtp"} 1
xm_received_bytes_total{service="pop3"} 10
xm_sent_bytes_total{service="pop3"} 20
xm_commands_total{reply="250",service="smtp",verb="MAIL"} 1
xm_commands_total{reply="+OK",service="pop3",verb="RETR"} 1
xm_commands_total{reply="-ERR",service="pop3",verb="RETR"} 1
xm_commands_total{reply="-ERR",service="pop3",verb="unknown"} 1
xm_messages_total{reply="250",service="smtp"} 1
xm_messages_total{reply="452",service="smtp"} 1
xm_message_recipients_total{service="smtp"} 2
xm_message_bytes_total{service="smtp"} 1000
xm_messages_retrieved_total{service="pop3"} 1
xm_logins_total{mechanism="PLAIN",result="accepted",service="smtp"} 1
xm_logins_total{mechanism="PASS",result="failed",service="pop3"} 1
xm_login_seconds_bucket{service="pop3",le="0.5"} 0
xm_login_seconds_bucket{service="pop3",le="1"} 1
xm_regd_requests_total{kind="keys",result="404"} 1
xm_store_commits_waiting 1
xm_store_commits_total{result="ok"} 1
xm_store_commits_total{result="full"} 1
xm_store_commits_total{result="error"} 1
xm_store_commit_seconds_count 3
xm_store_errors_total{operation="begin"} 1
xm_store_errors_total{operation="commit"} 1
xm_store_errors_total{operation="delete"} 1
xm_store_errors_total{operation="fsync"} 1
xm_store_errors_total{operation="open"} 0
xm_store_maildrop_opens_total{result="ok"} 1
xm_store_maildrop_opens_total{result="in_use"} 1
xm_store_messages_deleted_total 3
xm_store_fsync_seconds_count 2
xm_users 7
xm_tls_certificate_expires_seconds 1e+09
xm_healthy 0
`) { // not healthy: accepting has just failed
		want := strings.TrimSuffix(line, "\n")
		if !has(text, want) {
			t.Errorf("no %s in\n%s", want, own(text))
		}
	}
}

// has looks for a line, in which "*" is any value.
func has(text, want string) bool {
	parts := strings.Split(want, "*")
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), parts[0])
		for _, p := range parts[1:] {
			var found bool
			_, rest, found = strings.Cut(rest, p)
			ok = ok && found
		}
		if ok && rest == "" {
			return true
		}
	}
	return false
}

// own are the figures that are no library's.
func own(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, namespace) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// The names are those that Prometheus asks for, and each figure has help.
func TestLint(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(get(t, everything(), fine(), "/metrics", 200))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v: %+v", err, problems)
	}
}

// What is counted for each command and message makes no garbage.
func TestNoGarbage(t *testing.T) {
	m := New("0.0.0")
	smtp, pop3, store := m.SMTP("smtp"), m.POP3("pop3"), m.Store()
	for name, f := range map[string]func(){
		"connection": func() {
			smtp.Opened()
			smtp.Received(100)
			smtp.Sent(100)
			smtp.Handshake(tls.VersionTLS12, nil)
			smtp.Closed()
		},
		"RETR": func() { pop3.Received(8); pop3.Command("RETR", true); pop3.Sent(4096) },
		"delivery": func() {
			smtp.Command("DATA", 250)
			smtp.Message(250, 1, 4096)
			store.Synced(time.Millisecond, nil)
			store.Committed(store.Committing(), OK)
		},
		"login":    func() { pop3.Login("PASS", "accepted", time.Second) },
		"maildrop": func() { store.Opened(time.Now(), OK); store.Deleted(1, nil) },
	} {
		if n := testing.AllocsPerRun(100, f); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// A nil Store counts nothing, and asks for no care.
func TestNoStore(t *testing.T) {
	var s *Store
	s.BeginFailed()
	s.Committed(s.Committing(), Failed)
	s.Opened(time.Now(), OK)
	s.Deleted(1, nil)
	s.Synced(time.Second, nil)
}

// A counter keeps words of its own: those that it was asked for may be part of a
// long line that a client sent.
func TestKeysAreKept(t *testing.T) {
	m := New("0.0.0")
	s := m.POP3("pop3")
	line := string([]byte("RETR 1"))
	verb := line[:4]
	s.Command(verb, true)
	s.Command(verb, true)
	known := *s.commands.known.Load()
	if len(known) != 1 {
		t.Errorf("%d counters", len(known))
	}
	for k := range known {
		if unsafe.StringData(k.verb) == unsafe.StringData(verb) {
			t.Error("the line is kept")
		}
	}
}

// A service that could not accept is down until it has been quiet for a while.
func TestDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New("0.0.0")
		smtp := m.SMTP("smtp")
		if down := m.down(); down != nil {
			t.Errorf("at first: %q", down)
		}
		smtp.AcceptFailed(errBroken)
		time.Sleep(failingTime - time.Second)
		if down := m.down(); len(down) != 1 || down[0] != "smtp accepts no connections: the disk is on fire" {
			t.Errorf("then: %q", down)
		}
		time.Sleep(time.Second)
		if down := m.down(); down != nil {
			t.Errorf("at last: %q", down)
		}
	})
}
