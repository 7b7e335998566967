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
	// Here says that it holds for this installation of the operator: another one, of another authority namespace, may serve the object.
	Here bool
}

func (e *Error) Error() string { return e.Message }

// Because makes an Error.
func Because(reason, format string, args ...any) error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Here makes an Error that holds for this installation of the operator.
func Here(reason, format string, args ...any) error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...), Here: true}
}

// Of finds the Error in an error.
func Of(err error) (*Error, bool) { return errors.AsType[*Error](err) }

// Is says whether an error is an Error.
func Is(err error) bool {
	st, _ := Of(err)
	return st != nil
}

// IsHere says whether an error is an Error that holds for this installation of the operator.
func IsHere(err error) bool {
	st, _ := Of(err)
	return st != nil && st.Here
}

// First is the error that says most: the first that is an Error, else the first.
func First(errs ...error) error {
	var first error
	for _, err := range errs {
		if Is(err) {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}
