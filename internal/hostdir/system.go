package hostdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// System is what a Dir does to the disk. Its errors name the path.
type System interface {
	// Mkdir makes a directory with exactly this mode.
	Mkdir(name string, mode fs.FileMode, owner *Owner) error
	// Write writes a new file to the disk, with exactly this mode and this owner from the first byte on.
	Write(name string, data []byte, mode fs.FileMode, owner *Owner) error
	Symlink(target, name string) error
	Rename(from, to string) error
	// Exchange swaps two names.
	Exchange(a, b string) error
	// Chmod gives a directory a mode.
	Chmod(name string, mode fs.FileMode) error
	// Remove removes a file, a link or an empty directory at or below a root.
	Remove(in *os.Root, name string) error
	// SyncDir writes the names in a directory to the disk.
	SyncDir(name string) error
}

// Real is the System of this machine.
type Real struct{}

// Mkdir implements System.
func (Real) Mkdir(name string, mode fs.FileMode, owner *Owner) error {
	if err := os.Mkdir(name, closedMode); err != nil {
		return err //nolint:wrapcheck // it names the path
	}
	return changeDir(name, mode, owner) // the umask may have narrowed the mode
}

// Chmod implements System.
func (Real) Chmod(name string, mode fs.FileMode) error { return changeDir(name, mode, nil) }

// changeDir gives a directory, and nothing that a link leads to, an owner and a mode.
func changeDir(name string, mode fs.FileMode, owner *Owner) error {
	dir, err := openDir(name)
	if err != nil {
		return err
	}
	if owner != nil {
		err = dir.Chown(owner.UID, owner.GID)
	}
	if err == nil {
		err = dir.Chmod(mode)
	}
	return errors.Join(err, dir.Close())
}

// Write implements System.
func (Real) Write(name string, data []byte, mode fs.FileMode, owner *Owner) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode&0o600) //nolint:gosec // below the directory that the user named
	if err != nil {
		return err //nolint:wrapcheck // it names the path
	}
	if owner != nil {
		err = f.Chown(owner.UID, owner.GID)
	}
	if err == nil {
		err = f.Chmod(mode) // after the owner, whose change takes bits away; the umask may have, too
	}
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Symlink implements System.
func (Real) Symlink(target, name string) error {
	return os.Symlink(target, name) //nolint:wrapcheck // it names the path
}

// Rename implements System.
func (Real) Rename(from, to string) error {
	return os.Rename(from, to) //nolint:wrapcheck // it names the path
}

// Exchange implements System.
func (Real) Exchange(a, b string) error { return exchange(a, b) }

// Remove implements System.
func (Real) Remove(in *os.Root, name string) error {
	if err := in.Remove(name); err != nil {
		return fmt.Errorf("in %s: %w", in.Name(), err)
	}
	return nil
}

// SyncDir implements System.
func (Real) SyncDir(name string) error { return syncDir(name) }

// explain says what an error means for the files of a directory, and what to do.
func (d *Dir) explain(what string, err error) error {
	const stay = "; the files that are there stay in use"
	switch {
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s: the disk of %s is full: make room and try again: %w%s", what, d.path, err, stay)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s: the file system of %s is read-only: mount it for writing: %w%s", what, d.path, err, stay)
	case errors.Is(err, syscall.EIO):
		return fmt.Errorf("%s: the disk of %s does not work: look into the kernel's log and replace it: %w%s", what, d.path, err, stay)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: not allowed: run as the owner of the directory, or as root: %w%s", what, err, stay)
	case errors.Is(err, errNoExchange):
		return fmt.Errorf("%s: start with an empty directory: %w%s", what, err, stay)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

var errNoExchange = errors.New("the file system cannot put a link in the place of a file in one step")
