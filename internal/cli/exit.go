package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The exit codes of all commands. docs/kubectl.md has them in one place, and the help of each command has its own.
const (
	exitError       = 1   // every error that has no code of its own
	exitUnwell      = 2   // the answer is bad news
	exitTimeout     = 3   // the time to wait for it ran out
	exitInterrupted = 130 // by Ctrl-C, as a shell reports it
)

// usual is what the codes mean where a command does not say it more precisely.
var usual = map[int]string{
	0:               "it is done",
	exitError:       "it could not be done",
	exitInterrupted: "Ctrl-C",
}

// never stands for a code that a command does not have.
const never = "-"

// untilStopped are the codes of what runs until it is stopped.
var untilStopped = map[int]string{0: "it was stopped, by Ctrl-C or SIGTERM", exitError: "it could not run", exitInterrupted: never}

// exits is the paragraph of a command's help on its exit codes: the usual ones, and its own.
func exits(own map[int]string) string {
	var parts []string
	for _, code := range []int{0, exitError, exitUnwell, exitTimeout, exitInterrupted} {
		text := own[code]
		if text == "" {
			text = usual[code]
		}
		if text != "" && text != never {
			parts = append(parts, fmt.Sprintf("%5d  %s", code, text))
		}
	}
	return "Exit codes:\n" + strings.Join(parts, "\n")
}

// exit is an error with an exit code of its own.
type exit struct {
	code int
	text string
}

func (e *exit) Error() string { return e.text }

// ExitCode is what the process should end with.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exit](err); ok {
		return e.code
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	return exitError
}
