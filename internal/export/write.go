package export

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const directoryMode fs.FileMode = 0o755 // as kubeadm's; what is secret is so by its own mode

// Write puts files below a directory. A directory that does not exist appears complete or not at all; in
// one that does, each file is replaced as a whole, and files that are none of ours stay.
func Write(out string, files []File) (err error) {
	exists, err := isDirectory(out)
	if err != nil {
		return err
	}
	// Beside or below its destination, so that a rename does not cross file systems.
	base := out
	if !exists {
		base = filepath.Dir(filepath.Clean(out))
		if err := os.MkdirAll(base, directoryMode); err != nil {
			return fmt.Errorf("prepare %s: %w", out, err)
		}
	}
	stage, err := os.MkdirTemp(base, ".clusterpki-export-")
	if err != nil {
		return fmt.Errorf("prepare %s: %w", out, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	for _, f := range files {
		if err := writeFile(filepath.Join(stage, f.Path), f); err != nil {
			return err
		}
	}
	if !exists {
		if err := os.Chmod(stage, directoryMode); err != nil {
			return fmt.Errorf("prepare %s: %w", out, err)
		}
		if err := os.Rename(stage, out); err != nil {
			return fmt.Errorf("put %s in place: %w", out, err)
		}
		return nil
	}
	return replace(stage, out, files)
}

func isDirectory(name string) (bool, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at %s: %w", name, err)
	case !info.IsDir():
		return false, fmt.Errorf("%s is a file: the output must be a directory", name)
	}
	return true, nil
}

// writeFile writes a new file to the disk, with its mode from the first byte on.
func writeFile(name string, f File) error {
	if err := os.MkdirAll(filepath.Dir(name), directoryMode); err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.Mode) //nolint:gosec // below the directory that the user named
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	_, err = file.Write(f.Data)
	err = errors.Join(err, file.Chmod(f.Mode), file.Sync(), file.Close()) // the umask may have narrowed the mode
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	return nil
}

func replace(stage, out string, files []File) error {
	for _, f := range files {
		target := filepath.Join(out, f.Path)
		if err := os.MkdirAll(filepath.Dir(target), directoryMode); err != nil {
			return fmt.Errorf("replace %s: %w", target, err)
		}
	}
	for _, f := range files {
		target := filepath.Join(out, f.Path)
		if err := os.Rename(filepath.Join(stage, f.Path), target); err != nil {
			return fmt.Errorf("replace %s: %w", target, err)
		}
	}
	return nil
}
