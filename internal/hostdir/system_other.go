//go:build !linux

package hostdir

import (
	"errors"
	"io/fs"
	"os"
)

func exchange(a, b string) error {
	return &os.LinkError{Op: "exchange", Old: a, New: b, Err: errors.ErrUnsupported}
}

func openDir(name string) (*os.File, error) { return os.Open(name) } //nolint:wrapcheck // it names the path

// syncDir leaves it to the system, which may not let a directory be written to the disk.
func syncDir(string) error { return nil }

func ownerOf(fs.FileInfo) *Owner { return nil }
