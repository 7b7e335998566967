//go:build !unix

package agent

// Lock does nothing here: an agent runs on Linux.
func Lock(Config) (unlock func(), err error) { return func() {}, nil }
