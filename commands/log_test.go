package commands_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What a server logs of a message is told as a story, from each form of the log,
// and nothing in it commands a terminal.
func TestLogTrace(t *testing.T) {
	for format, settings := range map[string]string{"text": "", "json": "format = \"json\"\n"} {
		t.Run(format, func(t *testing.T) {
			s := startSystem(t, t.TempDir(), "[log]\nlevel = \"debug\"\n"+settings)
			for _, name := range []string{"alice", "bob"} {
				s.must("server", "secret\n", "user", "add", "--password-file", "-", name)
			}
			const begin = "C: EHLO client.example\nU: 250 HELP\nC: MAIL FROM:<>\nS: 250 *\n"
			s.dialog("smtp", "S: 220 *\nC: RCPT TO:<early>\nS: 503 *\n"+begin+"C: RCPT TO:<nobody>\nS: 550 *\nC: RCPT TO:<alice>\nS: 250 *\nC: RCPT TO:<bob>\nS: 250 *\n"+
				"C: DATA\nS: 354 *\nC: Message-ID: <\x1b[2J\u202ex@example.org>\nC:\nC: x\nC: .\nS: 250 *\n"+
				begin+"C: RCPT TO:<bob>\nS: 250 *\nC: DATA\nS: 354 *\nC: Message-ID: <other@example.org>\nC:\nC: x\nC: .\nS: 250 *\nC: QUIT\nS: 221 *\nX\n")
			s.dialog("pop3", "S: +OK *\nC: USER alice\nS: +OK *\nC: PASS secret\nS: +OK 1 *\nC: RETR 1\nU: .\nC: DELE 1\nS: +OK *\nC: QUIT\nS: +OK *\nX\n")
			if err := s.stop(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			log := s.log.String()
			file := s.file("xm.log", log)
			var packed bytes.Buffer
			zip := gzip.NewWriter(&packed)
			zip.Write([]byte(log))
			zip.Close()
			s.file("xm.log.gz", packed.String())
			id := field(strings.ReplaceAll(log[strings.Index(log, "message accepted"):], `"`, ""), "id")[1:]
			id, _, _ = strings.Cut(id, ",")

			story := s.must("server", "", "log", "trace", id, file)
			for _, want := range []string{
				"Message:    " + id + "\n", "Message-ID: <\ufffd[2J\ufffdx@example.org>\n", "To:         <alice> <bob>\n", "Client:     client.example [127.0.0.1]\n",
				"Outcome:    accepted, ", " octets in ", ": 250 2.0.0 OK " + id + "\n", "Stored:     alice/new/", "Stored:     bob/new/",
				"  smtp         127.0.0.1 connects to 127.0.0.1\n", "  smtp         EHLO client.example  ->  250 ", "  smtp         MAIL FROM:<>  ->  250 2.1.0 OK\n",
				"  smtp         RCPT TO:<nobody>  ->  550 5.1.1 No such user here\n", "  smtp         RCPT TO:<bob>  ->  250 2.1.5 OK\n",
				"  smtp         accepted  ->  250 2.0.0 OK ", "  pop3         alice fetches it, from 127.0.0.1\n", "  pop3         alice deletes it, from 127.0.0.1\n",
			} {
				if strings.Count(story, want) != 1 {
					t.Errorf("not one %q in\n%s", want, story)
				}
			}
			for _, other := range []string{"\x1b", "\u202e", "other@", "early", "QUIT"} {
				if strings.Contains(story, other) {
					t.Errorf("%q is in\n%s", other, story)
				}
			}
			for name, args := range map[string][]string{
				"Message-ID": {"<\x1b[2J\u202ex@example.org>", file}, "gzip": {id, filepath.Join(s.dir, "xm.log.gz")},
				"standard input": {id, "-"}, "in pieces": {id, os.DevNull, file}, "journal": {id},
			} {
				t.Setenv("PATH", fakeJournal(t, file)+":"+os.Getenv("PATH"))
				if got := s.must("server", log, append([]string{"log", "trace"}, args...)...); got != story {
					t.Errorf("%s tells\n%s\nnot\n%s", name, got, story)
				}
			}
			var told []struct {
				ID, Outcome, Reply, Peer, Client string
				Mailboxes                        []string
				Events                           []struct{ Msg string }
			}
			text := s.must("server", "", "log", "trace", "--json", id, file)
			if err := json.Unmarshal([]byte(text), &told); err != nil || len(told) != 1 || told[0].ID != id || told[0].Outcome != "accepted" ||
				strings.Join(told[0].Mailboxes, " ") != "alice bob" || told[0].Peer != "127.0.0.1" || len(told[0].Events) != strings.Count(story, "\n")-9 {
				t.Errorf("--json: %v\n%s\n%s", err, text, story)
			}
			if strings.ContainsAny(text, "\x1b\u202e") {
				t.Errorf("--json prints %q", text)
			}
			for _, what := range []string{"nothing@example.org", "000000000000"} {
				if out, stderr, code := s.xm("server", "", "log", "trace", what, file); code != 4 || out != "" {
					t.Errorf("%s: exit code %d, %q, %q", what, code, out, stderr)
				}
			}
		})
	}
}

// fakeJournal makes a directory with a journalctl that prints a file.
func fakeJournal(t *testing.T, file string) string {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\n[ \"$*\" = '--unit xm --output cat --no-pager --quiet' ] && exec cat '" + file + "'\n"
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLogTraceFails(t *testing.T) {
	s := &system{t: t, dir: t.TempDir()}
	for _, c := range []struct {
		code int
		args []string
	}{
		{2, []string{}}, {2, []string{"<>", "x"}}, {1, []string{"x", filepath.Join(s.dir, "missing")}}, {1, []string{"x", s.dir}},
		{1, []string{"x", s.file("broken.gz", "\x1f\x8bno gzip")}}, {4, []string{"x", s.file("empty", "")}},
	} {
		if out, stderr, code := s.xm("server", "", append([]string{"log", "trace"}, c.args...)...); code != c.code || out != "" || stderr == "" {
			t.Errorf("%q: exit code %d, %q, %q", c.args, code, out, stderr)
		}
	}
	t.Setenv("PATH", filepath.Join(s.dir, "nowhere")+":"+filepath.Dir(lookPath(t, "xm")))
	if _, stderr, code := s.xm("server", "", "log", "trace", "x"); code != 2 || !strings.Contains(stderr, "no journal here") {
		t.Errorf("without a journal: exit code %d, %q", code, stderr)
	}
	t.Setenv("PATH", fakeJournal(t, filepath.Join(s.dir, "missing"))+":"+os.Getenv("PATH")+":/bin:/usr/bin")
	if _, stderr, code := s.xm("server", "", "log", "trace", "x"); code != 1 || !strings.Contains(stderr, "journalctl: exit status") {
		t.Errorf("where journalctl fails: exit code %d, %q", code, stderr)
	}
}

func lookPath(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
