package cli

import "errors"

// The exit codes besides 0 and 1, which is for every error that has no code of its own.
const (
	exitUnwell      = 2   // the answer is bad news
	exitTimeout     = 3   // the time to wait for it ran out
	exitInterrupted = 130 // by Ctrl-C, as a shell reports it
)

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
	return 1
}
