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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := commands.Run(ctx, commands.New(), os.Args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "xm:", err)
	}
	os.Exit(commands.ExitCode(err))
}
