package commands_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// Two people go from nothing to a verified exchange with the commands in the
// README, as they are printed there, but for where the server is, and at most
// four each.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	script := "mkdir host alice bob\ncp xm.toml host/xm.toml\ncd host\nserve --keys keys --data data\ncd ..\nenv XM_KEYS=\n"
	count := map[string]int{}
	for line := range strings.Lines(string(readme)) {
		person, command, ok := strings.Cut(strings.TrimSpace(line), "$ ")
		if !ok || person != "alice" && person != "bob" {
			continue
		}
		count[person]++
		words := strings.Fields(command)
		server := "--server $REGD"
		if words[1] == "login" {
			server = "--smtp $SMTP --pop3 $POP3"
		}
		script += fmt.Sprintf("env HOME=$WORK/%s\ncd %s\nttyin -stdin ../answers-%s\nexec %s\ncd ..\n", person, person, words[1],
			strings.ReplaceAll(command, "--server mail.example.org", server))
	}
	if count["alice"] == 0 || count["alice"] > 4 || count["bob"] == 0 || count["bob"] > 4 {
		t.Fatalf("the README has %v commands", count)
	}
	script += `cd bob
exec xm inbox --password-file ../password
stdout 'alice@example.org  Plans .* verified$'
exec xm read 1 --password-file ../password
stdout '^At nine, at the bridge\.$'
stderr 'the key of alice@example.org, which is verified'
-- xm.toml --
hostname = "mail.example.org"
domains = ["example.org"]
-- password --
the secret
-- answers-register --
yes
the secret
the secret
-- answers-login --
the secret
-- answers-send --
the secret
-- answers-read --
the secret
-- answers-key --
yes
`
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "readme.txtar"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Dir: dir, RequireExplicitExec: true, Setup: func(e *testscript.Env) error {
		e.Setenv("GORACE", os.Getenv("GORACE"))
		return nil
	}, Cmds: map[string]func(*testscript.TestScript, bool, []string){"serve": serve}})
}
