package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write puts a backup into a file that only its owner may read. The file is the old one or the new one, and never a part.
// A symbolic link stays one: what it leads to is written. What is no regular file is refused.
func Write(name string, text []byte) (err error) {
	name, err = target(name)
	if err != nil {
		return fmt.Errorf("write %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".clusterpki-backup-") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// target is the regular file, or the place for a new one, that a name leads to.
func target(name string) (string, error) {
	info, err := os.Lstat(name)
	if err == nil && info.Mode().Type() == fs.ModeSymlink {
		// Of /dev/stdout and the like, the file that is open is meant, and not one that takes its place.
		if info, err = os.Stat(name); err == nil && info.Mode().IsRegular() && filepath.Dir(filepath.Clean(name)) != "/dev" {
			if name, err = filepath.EvalSymlinks(name); err != nil {
				return "", fmt.Errorf("follow the link: %w", err)
			}
			return name, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s: it is a symbolic link to what does not exist: name the file itself", name)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return name, nil
	case err != nil:
		return "", fmt.Errorf("look at it: %w", err)
	case info.IsDir():
		return "", fmt.Errorf("%s: it is a directory: name a file in it", name)
	case !info.Mode().IsRegular() || info.Mode().Type() == fs.ModeSymlink || filepath.Dir(filepath.Clean(name)) == "/dev":
		return "", fmt.Errorf("%s: it is no regular file: use --out - to write into a pipe", name)
	default:
		return name, nil
	}
}
