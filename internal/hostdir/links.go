package hostdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

func (d *Dir) leadsToData(name string) bool {
	target, err := os.Readlink(d.at(name))
	return err == nil && target == filepath.Join(currentLink, name)
}

// link makes a link through ..data for each name that has none.
func (d *Dir) link(names []string) error {
	for _, name := range names {
		if d.leadsToData(name) {
			continue
		}
		if err := d.sys.Symlink(filepath.Join(currentLink, name), d.at(name)); err != nil {
			return err
		}
	}
	return d.sys.SyncDir(d.path)
}

// unlink removes links through ..data but for those of some names.
func (d *Dir) unlink(names []string) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("look at %s: %w", d.path, err)
	}
	for _, e := range entries {
		if slices.Contains(names, e.Name()) || !d.leadsToData(e.Name()) {
			continue
		}
		if err := d.remove(d.at(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// unlinkBut removes links through ..data that lead nowhere in a set; all of them for "".
func (d *Dir) unlinkBut(set string) error {
	c, err := d.read(set)
	if err != nil {
		return err
	}
	return d.unlink(firstNames(c.nodes))
}

// removeAll removes a file or a directory with all that is in it, if it is there. Its name is in a directory that nobody else may write to, and
// below it others may: they can have nothing removed that is not in it.
func (d *Dir) removeAll(name string) error {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", name, err)
	}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return fmt.Errorf("open %s: %w", name, err)
		}
		if err := errors.Join(d.empty(root, "."), root.Close()); err != nil {
			return err
		}
	}
	return d.remove(name)
}

// atOnce is how many names of a directory are removed at once: where others have put more, the next time goes on.
const atOnce = 1 << 16

// empty removes what is in a directory at or below a root.
func (d *Dir) empty(root *os.Root, dir string) error {
	names, err := namesIn(root, dir, atOnce)
	if err != nil {
		return fmt.Errorf("look at %s in %s: %w", dir, root.Name(), err)
	}
	for _, base := range names {
		name := path.Join(dir, base)
		info, err := root.Lstat(name)
		if err != nil {
			return fmt.Errorf("in %s: %w", root.Name(), err)
		}
		if info.IsDir() {
			if err := d.empty(root, name); err != nil {
				return err
			}
		}
		if err := d.sys.Remove(root, name); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a name in a directory that nobody else may write to.
func (d *Dir) remove(name string) error {
	parent, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("open %s: %w", filepath.Dir(name), err)
	}
	return errors.Join(d.sys.Remove(parent, filepath.Base(name)), parent.Close())
}

// prepare makes the directory, if need be, and removes what work that was cut short has left half done.
func (d *Dir) prepare() error {
	if err := d.mkdirAll(d.path); err != nil {
		return err
	}
	return d.collect(isDraft)
}

func (d *Dir) mkdirAll(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is a file: it must be a directory", dir)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if err := d.mkdirAll(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := d.sys.Mkdir(dir, directoryMode, nil); err != nil {
		return err
	}
	return d.sys.SyncDir(filepath.Dir(dir))
}

// collect removes the names in the directory that are to go.
func (d *Dir) collect(goes func(name string) bool) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("look at %s: %w", d.path, err)
	}
	for _, e := range entries {
		if !goes(e.Name()) {
			continue
		}
		if err := d.removeAll(d.at(e.Name())); err != nil {
			return err
		}
	}
	return nil
}
