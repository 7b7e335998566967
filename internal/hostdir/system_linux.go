package hostdir

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func exchange(a, b string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}

// openDir opens a directory, and no link to one.
func openDir(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0) //nolint:gosec,wrapcheck // below what the user named; it names the path
}

func syncDir(name string) error {
	dir, err := os.Open(name) //nolint:gosec // below the directory that the user named, which may be a link
	if err != nil {
		return err //nolint:wrapcheck // it names the path
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
