package hostdir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
)

// takeOver puts links in the place of files and directories that are in the way of a set, and returns the current
// set. Nothing changes for a reader: a set that holds the same becomes the current one first, and each link changes
// places with what it replaces. The files that are to be replaced count as ours from then on.
func (d *Dir) takeOver(id string, files []File) (next string, leftOut []string, err error) {
	plain, err := d.plain(files)
	if err != nil || len(plain) == 0 {
		return id, nil, err
	}
	before, err := d.read(id)
	if err != nil {
		return "", nil, err
	}
	nodes := slices.DeleteFunc(slices.Clone(before.nodes), func(n node) bool { return slices.Contains(plain, firstName(n.path)) })
	for _, name := range plain {
		found, err := d.readPlain(name, pathsOf(files))
		if err != nil {
			return "", nil, err
		}
		nodes, leftOut = append(nodes, found.nodes...), append(leftOut, found.leftOut...)
	}
	sortNodes(nodes)
	known := slices.DeleteFunc(slices.Sorted(slices.Values(append(pathsOf(files), before.known...))), func(p string) bool {
		return !slices.ContainsFunc(nodes, func(n node) bool { return n.path == p && !n.mode.IsDir() })
	})
	known = slices.Compact(known)
	if !reflect.DeepEqual(nodes, before.nodes) || !slices.Equal(known, before.known) { // else this was cut short here
		if id, err = d.write(setPrefix, append(nodes, d.records(known, before.note, before.previous)...)); err != nil {
			return "", nil, err
		}
		if err := d.point(id); err != nil {
			return "", nil, errors.Join(err, d.discard(id))
		}
	}
	return id, leftOut, d.exchange(plain)
}

// plain are the first names of files where something else lies than a link through ..data.
func (d *Dir) plain(files []File) ([]string, error) {
	var out []string
	for _, p := range pathsOf(files) {
		name := firstName(p)
		info, err := os.Lstat(d.at(name))
		switch {
		case errors.Is(err, fs.ErrNotExist) || slices.Contains(out, name) || err == nil && d.leadsToData(name):
		case err != nil:
			return nil, fmt.Errorf("look at %s: %w", d.at(name), err)
		case info.Mode().Type() == fs.ModeSymlink:
			return nil, fmt.Errorf("%s is a link that somebody else has made: put in its place what it leads to, or remove it", d.at(name))
		default:
			out = append(out, name)
		}
	}
	return out, nil
}

// readPlain reads a file or directory that is to become a part of a set. Some files in it count as ours from then on.
func (d *Dir) readPlain(name string, ours []string) (tree, error) {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return tree{}, fmt.Errorf("open %s: %w", d.path, err)
	}
	defer root.Close() //nolint:errcheck // nothing was written
	r := reading{root: root, ours: ours}
	if err := r.entry(name, nil); err != nil {
		return tree{}, err
	}
	for i := range r.nodes {
		if r.nodes[i].path != name {
			r.nodes[i] = deeper(r.nodes[i])
		}
	}
	return r.tree, nil
}

// exchange puts links in the place of what has these names, and that into a directory of its own.
func (d *Dir) exchange(names []string) error {
	taking := d.at(takingFrom + strings.ToLower(rand.Text()[:10]))
	err := d.sys.Mkdir(taking, directoryMode, nil)
	for i := 0; i < len(names) && err == nil; i++ {
		err = d.exchangeOne(taking, names[i])
	}
	if err == nil {
		err = d.sys.SyncDir(taking)
	}
	if err == nil {
		err = d.sys.SyncDir(d.path)
	}
	if err != nil {
		return errors.Join(err, d.dropLinks(taking))
	}
	return nil
}

func (d *Dir) exchangeOne(taking, name string) error {
	link := filepath.Join(taking, name)
	if err := d.sys.Symlink(filepath.Join(currentLink, name), link); err != nil {
		return err
	}
	err := d.sys.Exchange(link, d.at(name))
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EXDEV) {
		return fmt.Errorf("%w: %w", errNoExchange, err)
	}
	return err
}

// dropLinks removes links that did not find their place, and the directory if nothing else is in it.
func (d *Dir) dropLinks(taking string) error {
	entries, err := os.ReadDir(taking)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", taking, err)
	}
	left := len(entries)
	for _, e := range entries {
		if e.Type() == fs.ModeSymlink {
			if err := d.remove(filepath.Join(taking, e.Name())); err != nil {
				return err
			}
			left--
		}
	}
	if left > 0 {
		return nil
	}
	return d.remove(taking)
}

// keepTaken puts copies in the place of what was taken over.
func (d *Dir) keepTaken() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("look at %s: %w", d.path, err)
	}
	for _, e := range entries {
		if !hasPrefix(e.Name(), takingFrom) {
			continue
		}
		if err := d.keepOne(d.at(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) keepOne(taking string) error {
	if err := d.dropLinks(taking); err != nil {
		return err
	}
	if _, err := os.Stat(taking); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	t, err := readTree(taking, nil)
	if err != nil {
		return err
	}
	for i := range t.nodes {
		t.nodes[i] = deeper(t.nodes[i])
	}
	if _, err := d.write(takenOver, t.nodes); err != nil {
		return err
	}
	return d.removeAll(taking)
}
