// Package stall is the error that only an edit by a person can cure.
package stall

import (
	"errors"
	"fmt"
)

// Error says what keeps an object from being what its spec asks for.
type Error struct {
	Reason  string // one of the reasons of the API
	Message string // what to change
}

func (e *Error) Error() string { return e.Message }

// Because makes an Error.
func Because(reason, format string, args ...any) error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Of finds the Error in an error.
func Of(err error) (*Error, bool) { return errors.AsType[*Error](err) }

// Is says whether an error is an Error.
func Is(err error) bool {
	st, _ := Of(err)
	return st != nil
}
