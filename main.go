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
	err := commands.Run(ctx, commands.New(), os.Args)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "xm:", err)
	}
	os.Exit(commands.ExitCode(err))
}
