package hostdir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// content is a set with what others have put into it.
type content struct {
	tree
	known    []string // the paths of ours
	note     []byte
	previous string
}

func (d *Dir) at(names ...string) string { return filepath.Join(append([]string{d.path}, names...)...) }

// current is the set that ..data leads to: "" if there is none yet, fs.ErrNotExist if that set is gone.
func (d *Dir) current() (string, error) {
	id, err := os.Readlink(d.at(currentLink))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s is not the link that leads to the files in use: move it away and install them again: %w", d.at(currentLink), err)
	}
	if !strings.HasPrefix(id, setPrefix) || id != filepath.Base(id) {
		return "", fmt.Errorf("%s leads to %s, which is no set of files: remove the link and install them again", d.at(currentLink), id)
	}
	if _, err := os.Stat(d.at(id)); err != nil {
		return "", fmt.Errorf("%s leads nowhere: install the files again: %w", d.at(currentLink), err)
	}
	return id, nil
}

// previous is the set before another: "" if there is none.
func (d *Dir) previous(id string) (string, error) {
	target, err := os.Readlink(d.at(id, previousLink))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("find the previous files of %s: %w", d.path, err)
	}
	return filepath.Base(target), nil
}

// known are the paths of ours in a set, whatever else lies there. A set without such a record has none.
func (d *Dir) known(id string) ([]string, error) {
	data, err := os.ReadFile(d.at(id, filesName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read which files of %s are ours: %w", d.path, err)
	}
	return strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' }), nil
}

func (d *Dir) note(id string) ([]byte, error) {
	note, err := os.ReadFile(d.at(id, noteName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the note of %s: %w", d.path, err)
	}
	return note, nil
}

// load reads the files of ours in a set. One that is gone has nil for its data.
func (d *Dir) load(id string) (Set, error) {
	known, err := d.known(id)
	if err != nil {
		return Set{}, err
	}
	note, err := d.note(id)
	if err != nil {
		return Set{}, err
	}
	root, err := os.OpenRoot(d.at(id)) // no link that somebody makes in it leads out of it
	if err != nil {
		return Set{}, fmt.Errorf("open %s: %w", d.at(id), err)
	}
	defer root.Close() //nolint:errcheck // nothing was written
	s := Set{ID: id, Note: note}
	for _, p := range known {
		f, err := readIn(root, p)
		if err != nil {
			return Set{}, fmt.Errorf("read %s: %w", p, err)
		}
		s.Files = append(s.Files, f)
	}
	return s, nil
}

// readIn reads a file of ours. One that is gone, or in whose place others have put something else, has nil for its data.
func readIn(root *os.Root, p string) (File, error) {
	info, err := root.Lstat(p)
	if err == nil && !info.Mode().IsRegular() {
		return File{Path: p}, nil
	}
	f := File{Path: p}
	if err == nil {
		f.Mode = info.Mode().Perm()
		f.Data, err = readFile(root, p, info, maxOurs)
	}
	if slices.ContainsFunc([]error{fs.ErrNotExist, syscall.ENOTDIR, syscall.ELOOP, errChanged, errTooLarge}, func(e error) bool { return errors.Is(err, e) }) {
		return File{Path: p}, nil
	}
	return f, err
}

// read reads a whole set: nothing for "".
func (d *Dir) read(id string) (content, error) {
	if id == "" {
		return content{}, nil
	}
	known, err := d.known(id)
	if err != nil {
		return content{}, err
	}
	t, err := readTree(d.at(id), known)
	if err != nil {
		return content{}, err
	}
	c := content{tree: t, known: known}
	c.nodes = slices.DeleteFunc(c.nodes, func(n node) bool { return strings.HasPrefix(n.path, "..") })
	if c.note, err = d.note(id); err != nil {
		return content{}, err
	}
	c.previous, err = d.previous(id)
	return c, err
}

// records are what a set holds beside its files.
func (d *Dir) records(known []string, note []byte, previous string) []node {
	var list strings.Builder
	for _, p := range known {
		list.WriteString(p + "\n")
	}
	nodes := []node{
		{path: filesName, mode: secretMode, owner: d.owner, data: []byte(list.String())},
		{path: noteName, mode: secretMode, owner: d.owner, data: note},
	}
	if previous != "" {
		nodes = append(nodes, node{path: previousLink, mode: fs.ModeSymlink, link: filepath.Join("..", previous)})
	}
	return nodes
}

// write makes a directory, durable and complete before it has its name, and returns that.
func (d *Dir) write(prefix string, nodes []node) (string, error) {
	suffix := strings.ToLower(rand.Text()[:10])
	draft, name := d.at(newPrefix+suffix), prefix+suffix
	err := d.fill(draft, nodes)
	if err == nil {
		err = d.sys.Rename(draft, d.at(name))
	}
	if err == nil {
		err = d.sys.SyncDir(d.path)
	}
	if err != nil {
		return "", errors.Join(err, d.removeAll(draft), d.removeAll(d.at(name)))
	}
	return name, nil
}

// fill writes what is to lie in a new directory. Until it is complete nobody else may enter it: directories in it may be another user's, who could
// have something written elsewhere.
func (d *Dir) fill(dir string, nodes []node) error {
	if err := d.sys.Mkdir(dir, closedMode, nil); err != nil {
		return err
	}
	var directories []string
	for _, n := range nodes {
		name, err := filepath.Join(dir, n.path), error(nil)
		switch n.mode.Type() {
		case fs.ModeDir:
			directories = append(directories, name)
			err = d.sys.Mkdir(name, n.mode&^fs.ModeType, n.owner)
		case fs.ModeSymlink:
			err = d.sys.Symlink(n.link, name)
		default:
			err = d.sys.Write(name, n.data, n.mode, n.owner)
		}
		if err != nil {
			return err
		}
	}
	for _, name := range slices.Backward(directories) {
		if err := d.sys.SyncDir(name); err != nil {
			return err
		}
	}
	if err := d.sys.Chmod(dir, directoryMode); err != nil {
		return err
	}
	return d.sys.SyncDir(dir)
}

// replace changes one record of a set, or ..data if the set is "": next makes what takes its place.
func (d *Dir) replace(set, name string, next func(string) error) error {
	draft := d.at(set, nextLink)
	if err := d.removeAll(draft); err != nil { // of work that was cut short
		return err
	}
	err := next(draft)
	if err == nil {
		err = d.sys.Rename(draft, d.at(set, name))
	}
	if err != nil {
		return errors.Join(err, d.removeAll(draft))
	}
	return d.sys.SyncDir(d.at(set))
}

// point leads ..data to a set.
func (d *Dir) point(set string) error {
	return d.replace("", currentLink, func(next string) error { return d.sys.Symlink(set, next) })
}

// discard removes a set that did not become the current one, and links that would have led to it.
func (d *Dir) discard(set string) error {
	id, err := d.current()
	if err != nil || id == set {
		return err
	}
	return errors.Join(d.removeAll(d.at(set)), d.unlinkBut(id))
}
