// Command xm is a small mail system with end-to-end encryption: see README.md.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"xm/commands"
)

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := commands.Run(ctx, commands.New(), os.Args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "xm:", err)
	}
	os.Exit(commands.ExitCode(err))
}
