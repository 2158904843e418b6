package userdb

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// step is what churn does as its i-th change, and to whom: users are added and
// changed, and every other one is removed.
func step(prefix string, i int) (what, user string) {
	user = fmt.Sprintf("%s%d", prefix, i/3)
	switch i % 3 {
	case 0:
		return "add", user
	case 1:
		return "change", user
	}
	if i/3%2 == 0 {
		return "remove", user
	}
	return "change", user
}

// churn changes users.txt for ever, and prints a line for each change that is
// done: it is to be killed.
func churn(dir, prefix string) error {
	db, err := Open(dir, Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := 0; ; i++ {
		what, user := step(prefix, i)
		r, err := ParseRecord(fmt.Sprintf("%s,salt,%064d", user, i))
		if err != nil {
			return err
		}
		switch what {
		case "add":
			err = db.Add(ctx, r)
		case "change":
			_, err = db.Replace(ctx, r.Name, func(Record) (Record, error) { return r, nil })
		case "remove":
			_, err = db.Remove(ctx, r.Name, nil)
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Println(i); err != nil {
			return err
		}
	}
}

// killed runs churn, kills it after some changes, and returns their number.
func killed(t *testing.T, dir, prefix string, after int) (done int) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "USERDB_TEST_CHURN="+dir, "USERDB_TEST_PREFIX="+prefix)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Error(err)
		return 0
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return 0
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if done++; done == after {
			cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("churn ended by itself: %v", err)
	}
	return done
}

// Processes that change the file and are killed lose no change that they said
// was done, and no reader ever sees a part of a file.
func TestKilledProcesses(t *testing.T) {
	db, dir := openDB(t, "first,salt,"+strings.Repeat("0", 64)+"\n")
	stop := make(chan struct{})
	var reader, writers sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				readWhole(t, dir)
			}
		}
	})
	const rounds, processes = 3, 4
	var mu sync.Mutex
	done := map[string]int{}
	for p := range processes {
		writers.Go(func() {
			for round := range rounds {
				prefix := fmt.Sprintf("p%d-%d-", p, round)
				n := killed(t, dir, prefix, 5+7*p+3*round)
				mu.Lock()
				done[prefix] = n
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	close(stop)
	reader.Wait()

	users, err := db.Users()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, r := range users {
		found[r.Name.String()] = r.Hash
	}
	for prefix, n := range done {
		checkChurn(t, found, prefix, n)
	}
	if _, ok := found["first"]; !ok || len(done) != rounds*processes {
		t.Errorf("first is there: %v; %d processes ran", ok, len(done))
	}
}

// readWhole reads the file as another program would.
func readWhole(t *testing.T, dir string) {
	f, err := os.Open(filepath.Join(dir, fileName))
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	if err != nil || !strings.HasSuffix(string(content), "\n") || !strings.HasPrefix(string(content), "first,") {
		t.Errorf("users.txt is not whole: %v\n%s", err, content)
	}
	for _, line := range splitLines(string(content)) {
		if _, err := ParseRecord(line); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// checkChurn compares what is found with what n changes made of it. One more may
// have been made, which nobody was told of.
func checkChurn(t *testing.T, found map[string]string, prefix string, n int) {
	t.Helper()
	users := 0
	for user := range found {
		if strings.HasPrefix(user, prefix) {
			users++
		}
	}
	for _, made := range []int{n, n + 1} {
		want := map[string]string{}
		for i := range made {
			what, user := step(prefix, i)
			if want[user] = fmt.Sprintf("%064d", i); what == "remove" {
				delete(want, user)
			}
		}
		same := users == len(want)
		for user, hash := range want {
			same = same && found[user] == hash
		}
		if same {
			return
		}
	}
	t.Errorf("after %d changes of %s, %d users of it are there, or others than it left", n, prefix, users)
}
