// Command crash kills xm serve at random moments under load, and looks whether
// it kept its promises: every message that was accepted is in the maildrop of
// each recipient, whole; what was deleted over POP3 is gone; and there is no
// part of a message anywhere.
//
//	crash -xm ./xm [-rounds 100] [-seed N]
//
// It works in a directory of its own, which it removes, and fails at the first
// promise that is broken. What it does follows from the seed, as far as the
// scheduler and the disk let it.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	senders = 24
	readers = 4
	users   = 4
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

func run() error {
	xm := flag.String("xm", "./xm", "the program")
	rounds := flag.Int("rounds", 100, "how often it is killed")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the random choices")
	flag.Parse()
	dir, err := os.MkdirTemp("", "crash")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, random: rand.New(rand.NewPCG(*seed, 0))}
	if b.xm, err = filepath.Abs(*xm); err != nil {
		return err
	}
	fmt.Println("seed", *seed)
	for i := range users {
		if err := b.addUser(user(i)); err != nil {
			return err
		}
	}
	var all counts
	for round := range *rounds {
		c, err := b.round(round)
		all.add(c)
		if err != nil {
			return fmt.Errorf("round %d of seed %d: %w", round, *seed, err)
		}
	}
	fmt.Printf("%d kills: %s\n", *rounds, all)
	if all.accepted < *rounds || all.deleted == 0 {
		return errors.New("the server was under no load")
	}
	return nil
}

func user(i int) string { return fmt.Sprintf("u%d", i) }

// bench is one data directory and what serves it.
type bench struct {
	xm, dir string
	random  *rand.Rand
}

func (b *bench) addUser(name string) error {
	add := exec.Command(b.xm, "--data", filepath.Join(b.dir, "data"), "user", "add", "--password-file", "-", name)
	add.Stdin = strings.NewReader("secret\n")
	if out, err := add.CombinedOutput(); err != nil {
		return fmt.Errorf("user add: %w: %s", err, out)
	}
	return nil
}

// counts are of promises, and of what was found.
type counts struct {
	accepted, deleted, unanswered int
}

func (c *counts) add(other counts) {
	c.accepted += other.accepted
	c.deleted += other.deleted
	c.unanswered += other.unanswered
}

func (c counts) String() string {
	return fmt.Sprintf("%d messages accepted and all there, whole; %d deleted and all gone; %d there that were not answered for",
		c.accepted, c.deleted, c.unanswered)
}

// round starts the server, has it killed under load, and compares what it left
// with what it promised. Then it clears the maildrops.
func (b *bench) round(n int) (counts, error) {
	p, err := b.serve()
	if err != nil {
		return counts{}, err
	}
	promises := newPromises()
	var load sync.WaitGroup
	for i := range senders {
		random := rand.New(rand.NewPCG(b.random.Uint64(), 0))
		load.Go(func() { send(p.smtp, fmt.Sprintf("%d-%d", n, i), random, promises) })
	}
	for i := range readers {
		random := rand.New(rand.NewPCG(b.random.Uint64(), 0))
		load.Go(func() { read(p.pop3, user(i), random, promises) })
	}
	time.Sleep(time.Duration(50+b.random.IntN(600)) * time.Millisecond)
	err = p.command.Process.Kill()
	load.Wait()
	if waited := p.command.Wait(); err == nil && p.command.ProcessState.Exited() {
		err = fmt.Errorf("the server ended by itself: %w", waited)
	}
	if err != nil {
		return counts{}, err
	}
	if broken := promises.failures(); broken != nil {
		return counts{}, broken
	}
	return b.compare(promises)
}

type process struct {
	command    *exec.Cmd
	smtp, pop3 string
}

var listening = regexp.MustCompile(`msg=listening service=(\w+) addr=(\S+)`)

// serve returns when the server listens.
func (b *bench) serve() (*process, error) {
	const anyPort = "127.0.0.1:0"
	config := filepath.Join(b.dir, "xm.toml")
	if err := os.WriteFile(config, []byte("[smtp]\nmax_per_address = 1000\n[login]\nfailure_delay = \"0s\"\n"), 0o600); err != nil {
		return nil, err
	}
	p := &process{command: exec.Command(b.xm, "--config", config, "--keys", filepath.Join(b.dir, "keys"), "--data", filepath.Join(b.dir, "data"), "serve",
		"--listen", "smtp="+anyPort, "--listen", "pop3="+anyPort, "--listen", "regd="+anyPort)}
	log, err := p.command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(log)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		m := listening.FindStringSubmatch(lines.Text())
		switch {
		case m == nil:
		case m[1] == "smtp":
			p.smtp = m[2]
		case m[1] == "pop3":
			p.pop3 = m[2]
		case m[1] == "regd": // the last one
			go io.Copy(io.Discard, log)
			return p, nil
		}
	}
	return nil, fmt.Errorf("the server does not start: %w: %s", p.command.Wait(), strings.Join(said, "\n"))
}
