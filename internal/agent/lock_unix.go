//go:build unix

package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Lock makes sure that no other agent keeps the same directory, until the process ends. A directory that cannot be written
// is no reason to fail: what is wrong with it is reported when there is something to install.
func Lock(c Config) (unlock func(), err error) {
	name := filepath.Join(c.Directory, "..lock")
	if err := os.MkdirAll(c.Directory, 0o755); err != nil { //nolint:gosec // as kubeadm's; what is secret is so by its own mode
		return func() {}, nil //nolint:nilerr // see above
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // below the directory of the configuration
	if err != nil {
		return func() {}, nil //nolint:nilerr // see above
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("another agent keeps the files of %s: stop it first, or give this one another directory", c.Directory), file.Close())
	}
	return func() { file.Close() }, nil //nolint:errcheck // nothing was written; a file system without locks has none
}
