package hostdir

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// What is carried over of a directory that others may write to, with all that is below it. They must not keep our files from being installed, nor have the
// disk filled with copies.
const (
	maxOthers      = 256     // files, directories and links
	maxOthersFile  = 1 << 20 // bytes of a file
	maxOthersBytes = 8 << 20 // bytes of all files
	maxOthersPath  = 1 << 10 // bytes of a path, and of where a link leads
)

// room is what may be carried over still of a directory that others may write to: what cannot be is left out. nil is that of a directory that nobody
// else may write to: there everything is carried over, or it is an error.
type room struct {
	entries int
	bytes   int64
}

// roomIn is that of a directory that lies in one that nobody else may write to.
func roomIn(dir fs.FileInfo) *room {
	trusted := func(id, mine int) bool { return id == 0 || id == mine }
	o, mode := ownerOf(dir), dir.Mode().Perm()
	if o == nil || trusted(o.UID, os.Geteuid()) && mode&0o002 == 0 && (mode&0o020 == 0 || trusted(o.GID, os.Getegid())) {
		return nil
	}
	return &room{maxOthers, maxOthersBytes}
}

// listed is how many names of a directory are looked at: one more than there is room for. -1: all.
func (r *room) listed() int {
	if r == nil {
		return -1
	}
	return r.entries + 1
}

// file is how many bytes a file may have.
func (r *room) file() int64 {
	if r == nil {
		return math.MaxInt64 - 1
	}
	return min(r.bytes, maxOthersFile)
}

// take counts what is carried over, and says what there is no room for.
func (r *room) take(n node) error {
	if r == nil {
		return nil
	}
	if len(n.path) > maxOthersPath || len(n.link) > maxOthersPath {
		return fmt.Errorf("its path, or where it leads, has more than %d bytes", maxOthersPath)
	}
	r.bytes -= int64(len(n.data))
	return nil
}

// leaveOut notes what others have put where it is not carried over. It returns the error where that is not theirs to cause.
func (r *reading) leaveOut(name string, in *room, err error) error {
	notTheirs := []syscall.Errno{syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM}
	if in == nil || slices.ContainsFunc(notTheirs, func(e syscall.Errno) bool { return errors.Is(err, e) }) {
		return fmt.Errorf("%s: %w", name, err)
	}
	if errors.Is(err, fs.ErrNotExist) { // it is gone meanwhile
		return nil
	}
	if at := (&fs.PathError{}); errors.As(err, &at) {
		err = at.Err
	}
	r.leftOut = append(r.leftOut, fmt.Sprintf("%q: %v", name, err))
	return nil
}

// ReadFile reads a file of ours where it lies, whatever others have put in its place.
func (d *Dir) ReadFile(p string) ([]byte, error) {
	root, err := os.OpenRoot(d.path) // no link that somebody makes in it leads out of it
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", d.path, err)
	}
	defer root.Close() //nolint:errcheck // nothing was written
	info, err := root.Stat(p)
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	var data []byte
	if err == nil {
		data, err = readFile(root, p, info, maxOurs)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.at(p), err)
	}
	return data, nil
}

// oursIn are the files of ours that may lie in a directory that others may write to, of whose names not all are looked at.
func (r *reading) oursIn(dir string, in *room) []string {
	if in == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.ours), func(p string) bool { return path.Dir(p) != dir })
}

// outOfTheWay takes away what others have put where a file of ours, or a directory of one, is to lie.
func outOfTheWay(t tree, files []File) tree {
	var out tree
	gone := []string{}
	for _, n := range t.nodes { // directories before what is in them
		if slices.ContainsFunc(gone, func(dir string) bool { return strings.HasPrefix(n.path, dir+"/") }) {
			continue
		}
		inTheWay := n.others && slices.ContainsFunc(files, func(f File) bool {
			return n.mode.IsDir() && f.Path == n.path || !n.mode.IsDir() && strings.HasPrefix(f.Path, n.path+"/")
		})
		if inTheWay {
			gone = append(gone, n.path)
			out.leftOut = append(out.leftOut, fmt.Sprintf("%q: it is in the way of what is installed", n.path))
			continue
		}
		out.nodes = append(out.nodes, n)
	}
	out.leftOut = append(t.leftOut, out.leftOut...)
	return out
}
