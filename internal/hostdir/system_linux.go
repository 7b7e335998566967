package hostdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EXDEV):
		return fmt.Errorf("%w: exchange %s with %s: %w", errNoExchange, a, b, err)
	default:
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
}

func syncDir(name string) error {
	dir, err := os.Open(name) //nolint:gosec // below the directory that the user named
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func ownerOf(info fs.FileInfo) *Owner {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return &Owner{UID: int(s.Uid), GID: int(s.Gid)}
}
