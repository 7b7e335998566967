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
	path   string
	mode   fs.FileMode // with its type
	owner  *Owner
	data   []byte // of a file
	link   string // where a link leads
	others bool   // whether it lies where others may write
}

// tree is what lies below a directory, by path.
type tree struct {
	nodes   []node
	leftOut []string // what others have put there and is not carried over, and why
}

// reading reads what lies below a directory.
type reading struct {
	root *os.Root
	ours []string // paths of files that are carried over whatever others have put beside them
	tree
}

// readTree reads what lies below a directory, which itself is ours, as are some files in it.
func readTree(dir string, ours []string) (tree, error) {
	root, err := os.OpenRoot(dir) // a link that takes a file's place meanwhile leads nowhere else
	if err != nil {
		return tree{}, fmt.Errorf("open %s: %w", dir, err)
	}
	defer root.Close() //nolint:errcheck // nothing was written
	r := reading{root: root, ours: ours}
	info, err := root.Stat(".")
	if err == nil {
		err = r.below(".", roomIn(info))
	}
	if err != nil {
		return tree{}, fmt.Errorf("read %s: %w", dir, err)
	}
	sortNodes(r.nodes)
	return r.tree, nil
}

// below reads what is in a directory.
func (r *reading) below(dir string, in *room) error {
	names, err := namesIn(r.root, dir, in.listed())
	if err != nil {
		return r.leaveOut(dir, in, err)
	}
	paths := r.oursIn(dir, in)
	for _, name := range names {
		if p := path.Join(dir, name); !slices.Contains(paths, p) {
			paths = append(paths, p)
		}
	}
	for _, p := range paths {
		if in != nil && in.entries == 0 && !slices.Contains(r.ours, p) {
			return r.leaveOut(dir, in, errTooMany)
		}
		if err := r.entry(p, in); err != nil {
			return err
		}
	}
	return nil
}

// entry reads what has a name, and what is below it.
func (r *reading) entry(name string, in *room) error {
	if in != nil && slices.Contains(r.ours, name) {
		in = &room{1, maxOthersFile}
	}
	if in != nil {
		in.entries--
	}
	n, info, err := readNode(r.root, name, in)
	if err != nil {
		return r.leaveOut(name, in, err)
	}
	r.nodes = append(r.nodes, n)
	if !info.IsDir() {
		return nil
	}
	if in == nil {
		in = roomIn(info)
	}
	return r.below(name, in)
}

// namesIn are those in a directory at or below a root, and in nothing else that takes its place: as many as asked for, -1 for all.
func namesIn(root *os.Root, dir string, limit int) ([]string, error) {
	f, err := root.OpenFile(dir, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe in its place is not waited for
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what was read
	}
	defer f.Close() //nolint:errcheck // nothing was written
	names, err := f.Readdirnames(limit)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err //nolint:wrapcheck // the caller says what was read
	}
	slices.Sort(names)
	return names, nil
}

var (
	errNoFile   = errors.New("it is neither a file nor a directory nor a link: move it away")
	errChanged  = errors.New("it was changed at this moment: try again")
	errTooMany  = fmt.Errorf("of a directory that others may write to, %d files, directories and links are carried over", maxOthers)
	errTooLarge = errors.New("it has more than the allowed")
)

// readNode reads what has a name. What is replaced meanwhile, as its owner may do well, is looked at again.
func readNode(root *os.Root, name string, in *room) (n node, info fs.FileInfo, err error) {
	for range 3 {
		if info, err = root.Lstat(name); err != nil {
			return node{}, nil, err //nolint:wrapcheck // the caller says what was read
		}
		if n, err = nodeOf(root, name, info, in); !errors.Is(err, errChanged) {
			break
		}
	}
	return n, info, err
}

func nodeOf(root *os.Root, name string, info fs.FileInfo, in *room) (n node, err error) {
	n = node{path: name, mode: info.Mode(), owner: ownerOf(info), others: in != nil}
	switch info.Mode().Type() {
	case fs.ModeDir:
	case fs.ModeSymlink:
		n.link, err = root.Readlink(name)
	case 0:
		n.data, err = readFile(root, name, info, in.file())
	default:
		return node{}, errNoFile
	}
	if err == nil {
		err = in.take(n)
	}
	return n, err
}

// readFile reads the file that was looked at, and no other that has taken its place: what is read from one file never gets the mode and the owner of
// another.
func readFile(root *os.Root, name string, seen fs.FileInfo, limit int64) ([]byte, error) {
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
		return nil, errChanged
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, fmt.Errorf("%w %d bytes", errTooLarge, limit)
	}
	return data, err //nolint:wrapcheck // the caller says what was read
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
