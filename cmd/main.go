// Command clusterpki is the operator and its command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"clusterpki.io/operator/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	root := cli.Named(os.Args[0])
	err := root.ExecuteContext(ctx)
	stop()
	if err != nil {
		cli.Complain(os.Stderr, root, err)
		os.Exit(cli.ExitCode(err))
	}
}
