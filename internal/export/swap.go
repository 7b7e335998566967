package export

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The names that a swapped directory holds beside its files' own; they begin as those of the kubelet's volumes.
const (
	currentLink = "..data" // leads to the directory that holds the files
	setPrefix   = "..set-" // begins the name of such a directory
	nextLink    = "..next" // becomes currentLink
)

// Swap puts files below a directory, all in one moment, as the kubelet does for a mounted Secret: each name in it
// is a link through ..data, and ..data leads to a directory of its own for every set of files. The sets before
// stay until Sweep. A reader of two files may still read one of them before the swap and one after it.
//
// The directory must be new, or have been filled by Swap alone.
func Swap(out string, files []File) error {
	if err := os.MkdirAll(out, directoryMode); err != nil {
		return fmt.Errorf("prepare %s: %w", out, err)
	}
	set, err := os.MkdirTemp(out, setPrefix)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", out, err)
	}
	names, err := fill(set, files)
	if err == nil {
		err = link(out, names)
	}
	if err == nil {
		err = point(out, filepath.Base(set))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("swap the files of %s: %w", out, err), os.RemoveAll(set))
	}
	return unlink(out, names)
}

// fill writes the files of a set and returns their first names, each once.
func fill(set string, files []File) ([]string, error) {
	if err := os.Chmod(set, directoryMode); err != nil {
		return nil, fmt.Errorf("open the set: %w", err)
	}
	var names []string
	for _, f := range files {
		if err := writeFile(filepath.Join(set, f.Path), f); err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(filepath.ToSlash(f.Path), "/")
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// link makes a link through ..data for each name that has none.
func link(out string, names []string) error {
	for _, name := range names {
		if leadsToData(out, name) {
			continue
		}
		if err := os.Symlink(filepath.Join(currentLink, name), filepath.Join(out, name)); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return nil
}

// point leads ..data to a set.
func point(out, set string) error {
	next := filepath.Join(out, nextLink)
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a swap that was cut short
		return fmt.Errorf("prepare the link: %w", err)
	}
	if err := os.Symlink(set, next); err != nil {
		return fmt.Errorf("prepare the link: %w", err)
	}
	if err := os.Rename(next, filepath.Join(out, currentLink)); err != nil {
		return fmt.Errorf("change the link: %w", err)
	}
	return nil
}

// unlink removes the links whose files are gone.
func unlink(out string, names []string) error {
	entries, err := os.ReadDir(out)
	if err != nil {
		return fmt.Errorf("look at %s: %w", out, err)
	}
	for _, e := range entries {
		if slices.Contains(names, e.Name()) || !leadsToData(out, e.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(out, e.Name())); err != nil {
			return fmt.Errorf("unlink %s of %s: %w", e.Name(), out, err)
		}
	}
	return nil
}

func leadsToData(out, name string) bool {
	target, err := os.Readlink(filepath.Join(out, name))
	return err == nil && target == filepath.Join(currentLink, name)
}

// Sweep removes the sets of files that Swap has replaced. Call it a moment after: a reader may be on its way
// into one. Do call it: the API server and the kubelet watch the files themselves, and hear of a swap when the old
// ones are removed.
func Sweep(out string) error {
	current, err := os.Readlink(filepath.Join(out, currentLink))
	if err != nil {
		return fmt.Errorf("look at %s: %w", out, err)
	}
	sets, err := filepath.Glob(filepath.Join(out, setPrefix+"*"))
	if err != nil {
		return fmt.Errorf("look at %s: %w", out, err)
	}
	for _, set := range sets {
		if filepath.Base(set) == current {
			continue
		}
		if err := os.RemoveAll(set); err != nil {
			return fmt.Errorf("sweep %s: %w", out, err)
		}
	}
	return nil
}
