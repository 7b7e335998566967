// Command agent is what hosts run, installed there as clusterpki: the agent, and nothing of the operator and its command line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/version"
)

const usage = `clusterpki on a host, which keeps the PKI files of this host current: docs/agent.md.

Usage:
  clusterpki agent --config FILE   run the agent by an AgentConfiguration
  clusterpki version               show the version of this program
`

// misused is the exit status where the command line is wrong, as of the whole clusterpki.
const misused = 2

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs a command, and returns the exit status.
func run(ctx context.Context, args []string, out, problems io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(problems, usage)
		return misused
	}
	switch args[0] {
	case "agent":
		return runAgent(ctx, args[1:], problems)
	case "version", "--version":
		fmt.Fprint(out, version.Get().Text())
		return 0
	case "help", "--help", "-h":
		fmt.Fprint(out, usage)
		return 0
	default:
		fmt.Fprintf(problems, "clusterpki: there is no command %q on a host\n\n%s", args[0], usage)
		return misused
	}
}

func runAgent(ctx context.Context, args []string, problems io.Writer) int {
	flags := flag.NewFlagSet("clusterpki agent", flag.ContinueOnError)
	flags.SetOutput(problems)
	file := flags.String("config", "", "the configuration `file` (required)")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return misused
	case *file == "" || flags.NArg() > 0:
		fmt.Fprint(problems, usage)
		return misused
	}
	agent.LogLibraries(agent.Log(problems))
	err := agent.RunFile(ctx, *file, problems)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: make it with `clusterpki agent install -n NAMESPACE --host HOST`, as docs/agent.md says", err)
	}
	if err != nil {
		fmt.Fprintln(problems, "clusterpki:", err)
		return 1
	}
	return 0
}
