package hostdir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const secretMode fs.FileMode = 0o600

// node is one file, directory or link below a directory.
type node struct {
	path  string
	mode  fs.FileMode // with its type
	owner *Owner
	data  []byte // of a file
	link  string // where a link leads
}

// readTree reads what lies below a directory, by path.
func readTree(dir string) ([]node, error) {
	root, err := os.OpenRoot(dir) // a link that takes a file's place meanwhile leads nowhere else
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	defer root.Close() //nolint:errcheck // nothing was written
	nodes, err := readBelow(root, ".")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	sortNodes(nodes)
	return nodes, nil
}

func readBelow(root *os.Root, dir string) ([]node, error) {
	entries, err := entriesOf(root, dir)
	if err != nil {
		return nil, err
	}
	var nodes []node
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		info, err := e.Info()
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", name, err)
		}
		n, err := readNode(root, name, info)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
		if !info.IsDir() {
			continue
		}
		below, err := readBelow(root, name)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, below...)
	}
	return nodes, nil
}

// entriesOf is what lies in a directory at or below a root, and in nothing else that takes its place.
func entriesOf(root *os.Root, dir string) ([]fs.DirEntry, error) {
	here, err := root.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	defer here.Close() //nolint:errcheck // nothing was written
	entries, err := fs.ReadDir(here.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", dir, err)
	}
	return entries, nil
}

func readNode(root *os.Root, name string, info fs.FileInfo) (n node, err error) {
	n = node{path: name, mode: info.Mode(), owner: ownerOf(info)}
	switch info.Mode().Type() {
	case fs.ModeDir:
	case fs.ModeSymlink:
		n.link, err = root.Readlink(name)
	case 0:
		n.data, err = readFile(root, name, info)
	default:
		return node{}, fmt.Errorf("%s is neither a file nor a directory nor a link: move it away", name)
	}
	if err != nil {
		return node{}, fmt.Errorf("read %s: %w", name, err)
	}
	return n, nil
}

// readFile reads the file that was looked at, and no other that has taken its place: what is read from one file never gets the mode and the owner of
// another.
func readFile(root *os.Root, name string, seen fs.FileInfo) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe in its place is not waited for
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what was read
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what was read
	}
	if !os.SameFile(seen, info) || info.Mode() != seen.Mode() {
		return nil, errors.New("it was changed at this moment: try again")
	}
	return io.ReadAll(f) //nolint:wrapcheck // the caller says what was read
}

// sortNodes puts directories before what is in them.
func sortNodes(nodes []node) {
	slices.SortFunc(nodes, func(a, b node) int { return strings.Compare(a.path, b.path) })
}

// merge puts files in the place of those that are known to be ours. Everything else that was there stays, and so do
// the mode and the owner of a directory.
func merge(before []node, known []string, files []File, owner *Owner) ([]node, error) {
	var ours []string // directories
	for _, p := range known {
		ours = append(ours, parents(p)...)
	}
	out, directories := map[string]node{}, map[string]node{}
	for _, n := range before {
		switch {
		case n.mode.IsDir() && slices.Contains(ours, n.path):
			directories[n.path] = n
		case n.mode.IsDir() || !slices.Contains(known, n.path):
			out[n.path] = n
		}
	}
	for _, f := range files {
		if out[f.Path].mode.IsDir() {
			return nil, fmt.Errorf("%s is a directory of somebody else: move it away", f.Path)
		}
		out[f.Path] = node{path: f.Path, mode: f.Mode, owner: owner, data: f.Data}
	}
	for _, n := range byPath(out) {
		for _, p := range parents(n.path) {
			if there, ok := out[p]; ok && !there.mode.IsDir() {
				return nil, fmt.Errorf("%s is in the way of %s: it is no directory", p, n.path)
			} else if ok {
				continue
			}
			dir, ok := directories[p]
			if !ok {
				dir = node{path: p, mode: fs.ModeDir | directoryMode} // nobody else may change what is in it
			}
			out[p] = dir
		}
	}
	return byPath(out), nil
}

func byPath(m map[string]node) []node {
	out := make([]node, 0, len(m))
	for _, n := range m {
		out = append(out, n)
	}
	sortNodes(out)
	return out
}

// parents are the directories above a path, the topmost last.
func parents(p string) []string {
	var out []string
	for p = path.Dir(p); p != "."; p = path.Dir(p) {
		out = append(out, p)
	}
	return out
}

// firstNames are the names that need a link.
func firstNames(nodes []node) []string {
	var out []string
	for _, n := range nodes {
		out = append(out, firstName(n.path))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// deeper corrects a link for its new place one directory further down, if it leads out of the directory that moves.
func deeper(n node) node {
	if n.link != "" && !filepath.IsAbs(n.link) && firstName(path.Join(path.Dir(n.path), filepath.ToSlash(n.link))) != firstName(n.path) {
		n.link = filepath.Join("..", n.link)
	}
	return n
}
