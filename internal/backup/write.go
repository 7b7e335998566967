package backup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write puts a backup into a file that only its owner may read. The file is the old one or the new one, and never a part.
func Write(name string, text []byte) (err error) {
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
