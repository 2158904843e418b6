package commands_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"xm/internal/line/linetest"
)

// filter is scripts/fail2ban/filter.d/xm.conf, as fail2ban applies it: to what is
// left of a line without its time.
type filter struct {
	dates, fails []*regexp.Regexp
}

func readFilter(t *testing.T) (f filter) {
	t.Helper()
	text, err := os.ReadFile("../scripts/fail2ban/filter.d/xm.conf")
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string][]string{}
	key := ""
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(line, "=")
		switch name = strings.TrimSpace(name); {
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" || line[0] == '[':
			continue
		case ok && line[0] != ' ':
			key, line = name, value
		}
		settings[key] = append(settings[key], strings.TrimSpace(line))
	}
	date := strings.NewReplacer("%%Y-%%m-%%dT%%H:%%M:%%S", `[-0-9]+T[:0-9]+`, "%%f", `[0-9]{1,6}`, "%%z", `(?:Z|[-+][0-9]{2}:[0-9]{2})`)
	fail := strings.NewReplacer("%(_begin)s", settings["_begin"][0], "<ADDR>", `(?P<addr>[0-9A-Fa-f.:]+)`)
	for _, p := range settings["datepattern"] {
		f.dates = append(f.dates, regexp.MustCompile(date.Replace(p)))
	}
	for _, p := range settings["failregex"] {
		f.fails = append(f.fails, regexp.MustCompile(fail.Replace(p)))
	}
	if len(f.dates) != 2 || len(f.fails) != 2 {
		t.Fatalf("the filter is %v", f)
	}
	return f
}

// count gives how often each address is found in a log, and how many lines have a
// date.
func (f filter) count(log string) (found map[string]int, dated int) {
	found = map[string]int{}
	for line := range strings.Lines(log) {
		line = strings.TrimSuffix(line, "\n")
		for _, d := range f.dates {
			if at := d.FindStringIndex(line); at != nil {
				line, dated = line[at[1]:], dated+1
				break
			}
		}
		for _, r := range f.fails {
			if m := r.FindStringSubmatch(line); m != nil {
				found[m[r.SubexpIndex("addr")]]++
				break
			}
		}
	}
	return found, dated
}

// The filter finds the addresses of those who fail, in what is really logged, and
// no other, whatever they claim to be called.
func TestFail2banFilter(t *testing.T) {
	f := readFilter(t)
	const forged = `level=WARN msg=abuse service=smtp session=0123456789ab peer=203.0.113.9 `
	hostile := []string{
		"alice", `x" peer=203.0.113.9`, "x peer=203.0.113.9 ", "x\n" + forged, "x\r\ntime=2026-11-23T10:00:00.000Z " + forged, forged, "time=2026-11-23T10:00:00.000Z " + forged,
		"host xm[1]: " + forged, "\u2028" + forged, "\u0085" + forged, "\\\" " + forged, "203.0.113.9", "<ADDR>",
		"x\n" + `{"time":"2026-11-23T10:00:00Z","level":"WARN","msg":"abuse","service":"smtp","session":"0123456789ab","peer":"203.0.113.9"`,
		`","peer":"203.0.113.9","x":"`, `x","level":"WARN","msg":"abuse","service":"smtp","session":"0123456789ab","peer":"203.0.113.9"`,
	}
	for _, format := range []string{"text", "json"} {
		dir := t.TempDir()
		client := linetest.WriteCertificate(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
		const proxies = "proxies = [\"127.0.0.0/8\"]\n"
		s := startSystem(t, dir, "[smtp]\n"+proxies+"[pop3]\n"+proxies+"[regd]\nrequests_per_minute = 1\n"+proxies+"[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[log]\nlevel = \"debug\"\nformat = \""+format+"\"\n")
		want := map[string]int{}
		for i, name := range hostile {
			peer, proxy := fmt.Sprintf("198.51.100.%d", i+1), "TCP4"
			if i%2 == 1 {
				peer, proxy = fmt.Sprintf("2001:db8:0:%x::1", i+1), "TCP6"
			}
			header := fmt.Sprintf("C: PROXY %s %s %s 1 25\n", proxy, peer, map[string]string{"TCP4": "203.0.113.1", "TCP6": "2001:db8::1"}[proxy])
			login := "C: AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+name+"\x00wrong"))
			s.smtpDialog("smtp", header+"S: 220 *\nC: EHLO a\nU: 250 HELP\nC: STARTTLS\nS: 220 *\nTLS\nC: EHLO "+strings.Map(noControl, name)+"\nU: 250 HELP\n"+
				login+"\nS: 535 *\nC: MAIL FROM:<"+strings.Map(noControl, name)+">\nU: 5*\nC: QUIT\nU: 221 *\nX\n", client)
			s.smtpDialog("pop3", header+"S: +OK *\nC: STLS\nS: +OK *\nTLS\n"+login+"\nS: -ERR [AUTH] *\nC: GET / HTTP/1.1\nS: -ERR *\nX\n", client)
			get := header + "C: GET /keys/" + url.PathEscape(name) + " HTTP/1.0\nC:\n"
			s.dialog("regd", get+"S: HTTP/1.1 404 *\n")
			s.dialog("regd", get+"S: HTTP/1.1 429 *\n")
			want[peer] = 4 // two logins, HTTP, and a request too many
		}
		s.dialog("smtp", "C: PROXY TCP4 198.51.100.200 203.0.113.1 1 25\nS: 220 *\nC: EHLO a\nU: 250 HELP\nC: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<"+strings.ReplaceAll(forged, " ", "")+"@localhost>\nS: 550 *\nC: QUIT\nS: 221 *\nX\n")
		if err := s.stop(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		got, dated := f.count(s.log.String())
		if !maps.Equal(got, want) {
			t.Errorf("%s: found %v, want %v, in\n%s", format, got, want, s.log)
		}
		if lines := strings.Count(s.log.String(), "\n"); dated != lines { // fail2ban takes the others for new
			t.Errorf("%s: %d of %d lines have a date that the filter reads", format, dated, lines)
		}
	}
	if found, _ := f.count(forged); len(found) != 1 {
		t.Errorf("the forged line alone, which is one of the log, is not found: %v", found)
	}
}

func noControl(r rune) rune {
	if r < ' ' || r == 0x85 || r == 0xfffd {
		return -1
	}
	return r
}
