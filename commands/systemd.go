package commands

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// firstPassed is the first descriptor that systemd passes (sd_listen_fds(3)).
const firstPassed = 3

// passedSockets takes the sockets that systemd listens on for this process, by
// their names, which are those of services. There are none without systemd.
func passedSockets() (map[string][]net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil {
		return nil, fmt.Errorf("LISTEN_FDS: %w", err)
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	if n != len(names) {
		return nil, fmt.Errorf("LISTEN_FDNAMES has %d names for %d sockets", len(names), n)
	}
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} { // not for what this process starts
		if err := os.Unsetenv(v); err != nil {
			return nil, err
		}
	}
	sockets := map[string][]net.Listener{}
	for i, name := range names {
		f := os.NewFile(uintptr(firstPassed+i), name)
		l, err := net.FileListener(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("the socket %q that systemd passed: %w", name, err)
		}
		sockets[name] = append(sockets[name], l)
	}
	return sockets, nil
}

// notifier tells systemd how the service is (sd_notify(3)).
type notifier struct {
	socket string // empty without systemd
	log    *slog.Logger
}

func newNotifier(log *slog.Logger) notifier {
	return notifier{os.Getenv("NOTIFY_SOCKET"), log}
}

func (n notifier) ready()    { n.send("READY=1") }
func (n notifier) stopping() { n.send("STOPPING=1") }
func (n notifier) alive()    { n.send("WATCHDOG=1") }

// reloading is for Type=notify-reload, which wants the time of the monotonic
// clock; ready follows.
func (n notifier) reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		n.log.Error("systemd", "err", err)
	}
	n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
}

func (n notifier) send(state string) {
	if n.socket == "" {
		return
	}
	conn, err := net.Dial("unixgram", n.socket)
	if err == nil {
		_, err = conn.Write([]byte(state))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		n.log.Error("systemd can't be told", "state", state, "err", err)
	}
}

// watchdog ticks twice in the time that systemd waits for alive; never if it does
// not wait.
func (n notifier) watchdog() <-chan time.Time {
	microseconds, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || microseconds <= 0 || n.socket == "" {
		return nil
	}
	return time.Tick(time.Duration(microseconds) * time.Microsecond / 2)
}
