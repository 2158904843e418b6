// Command load measures a mail server from outside, with any number of sessions
// at once:
//
//	load pop3 login  -addr HOST:PORT -user U -password P [-sessions N] [-for 5s]
//	load pop3 retr   -addr HOST:PORT -user U%d -password P [-sessions N] [-pipeline] [-times N]
//	load smtp send   -addr HOST:PORT -user U%d@D [-users N] [-sessions N] [-count N] [-octets N] [-lmtp] [-maildirs 'DIR/*']
//	load smtp idle   -addr HOST:PORT -sessions N
//	load pop3 idle   -addr HOST:PORT -user U%d -password P -sessions N [-from N]
//
// login repeats login, STAT and QUIT; retr logs in once a session and retrieves
// every message, -times over; idle logs in and stays, until its standard input
// ends; without -user it does not log in. -tls begins with TLS. %d in the user's name is the session's number, from 0 (-from) on.
// send delivers messages to the users, %d from 0 to -users, in turn.
// Results are one line: what was done, how often, in how many seconds, and how
// often in a second.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// options are what the flags say.
type options struct {
	addr, user, password string
	tls, lmtp            bool
	sessions, from       int
	times                int
	duration             time.Duration
	pipeline             bool
	users, count, octets int
	maildirs             string
}

// each runs work for all sessions at once.
func (o options) each(work func(session int) error) error {
	errs := make([]error, o.sessions)
	var wg sync.WaitGroup
	for i := range o.sessions {
		wg.Go(func() { errs[i] = work(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// atOnce bounds the idle sessions that begin at a time.
const atOnce = 8

// hold begins sessions and keeps them until whoever measures ends standard input.
func (o options) hold(begin func(session int) (net.Conn, error)) (result, error) {
	open := make([]net.Conn, o.sessions)
	began := time.Now()
	turns := make(chan struct{}, atOnce)
	err := o.each(func(i int) (err error) {
		turns <- struct{}{}
		defer func() { <-turns }()
		open[i], err = begin(i)
		return err
	})
	r := result{what: "idle sessions", count: len(open), took: time.Since(began)}
	if err != nil {
		return r, err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	for _, c := range open {
		c.Close()
	}
	return r, err
}

func (o options) userOf(session int) string {
	return strings.ReplaceAll(o.user, "%d", fmt.Sprint(o.from+session))
}

// result counts what was done.
type result struct {
	what   string
	count  int
	octets int64
	took   time.Duration
	more   string
}

func (r result) String() string {
	seconds := r.took.Seconds()
	return fmt.Sprintf("%s %d in %.3f s: %.1f/s, %.1f MiB/s%s", r.what, r.count, seconds, float64(r.count)/seconds, float64(r.octets)/seconds/(1<<20), r.more)
}

var works = map[string]func(options) (result, error){
	"pop3 login": pop3Login,
	"pop3 retr":  pop3Retr,
	"pop3 idle":  pop3Idle,
	"smtp send":  smtpSend,
	"smtp idle":  smtpIdle,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 || works[strings.Join(args[:2], " ")] == nil {
		return fmt.Errorf("usage: load pop3 login|retr|idle, or load smtp send|idle; -addr HOST:PORT says where")
	}
	var o options
	flags := flag.NewFlagSet(strings.Join(args[:2], " "), flag.ContinueOnError)
	flags.StringVar(&o.addr, "addr", "127.0.0.1:2110", "the server")
	flags.StringVar(&o.user, "user", "", "the user's name; %d is the session's number")
	flags.StringVar(&o.password, "password", "", "everybody's password")
	flags.BoolVar(&o.tls, "tls", false, "TLS from the start; any certificate will do")
	flags.IntVar(&o.sessions, "sessions", 1, "how many sessions at once")
	flags.IntVar(&o.from, "from", 0, "the number of the first session")
	flags.IntVar(&o.times, "times", 1, "how often retr retrieves all")
	flags.DurationVar(&o.duration, "for", 5*time.Second, "how long login goes on")
	flags.BoolVar(&o.pipeline, "pipeline", false, "retr sends its commands ahead")
	flags.IntVar(&o.users, "users", 1, "how many users send writes to")
	flags.IntVar(&o.count, "count", 1000, "how many messages send sends")
	flags.IntVar(&o.octets, "octets", 4096, "the size of a message")
	flags.BoolVar(&o.lmtp, "lmtp", false, "send speaks LMTP")
	flags.StringVar(&o.maildirs, "maildirs", "", "a pattern of Maildirs that the messages must arrive in")
	if err := flags.Parse(args[2:]); err != nil {
		return err
	}
	r, err := works[strings.Join(args[:2], " ")](o)
	if err != nil {
		return err
	}
	fmt.Println(r)
	return nil
}
