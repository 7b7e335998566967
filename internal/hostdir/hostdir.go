// Package hostdir keeps the directory of a host whose files change all at once, whatever happens meanwhile: each
// name in it is a link through ..data, and ..data leads to a directory of its own for every set of files, as the
// kubelet lays out a mounted Secret. A process that is killed, a disk that is full and power that fails leave the old
// files or the new ones, whole, at their paths.
//
//	pki        -> ..data/pki
//	..data     -> ..set-k3v9x2m7qa
//	..set-…         the current set: its files, ..files (which of them are ours), ..note, and ..previous, a link
//	..kept-…        the set before it, in a copy, for a rollback
//	..taken-over-…  what lay in the place of a link before there was one; it stays until somebody removes it
//
// Files that others put into a directory of a set stay, in that set and in every later one. Of a directory that others may write to, and all below it, that is
// so for 256 files, directories and links, with up to 1 MiB in a file and 8 MiB in all. The rest is left out of the next set, and so is what is neither
// file nor directory nor link, and what takes the place of a file of ours: an Install says what. Others are who is neither root nor the one who runs this.
//
// One process at a time may change a directory. A container must mount the directory itself or one above it: a mount
// of one of its links stays with the set of its time.
package hostdir

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

const (
	directoryMode fs.FileMode = 0o755 // as kubeadm's; what is secret is so by its own mode
	closedMode    fs.FileMode = 0o700
)

// The names that are the directory's own. Those with a dash at their end begin a name.
const (
	currentLink = "..data"        // leads to the current set
	nextLink    = "..next"        // becomes currentLink, or a set's note or previousLink
	newPrefix   = "..new-"        // is being written
	setPrefix   = "..set-"        // is a set, complete
	keptPrefix  = "..kept-"       // is a set that was replaced, in a copy
	takingFrom  = "..taking-"     // holds what a link took the place of
	takenOver   = "..taken-over-" // holds a copy of that

	filesName    = "..files"    // in a set: the paths of ours, one a line
	noteName     = "..note"     // in a set
	previousLink = "..previous" // in a set: leads to the one before
)

// File is one file of a host.
type File struct {
	Path string      // below the directory: with slashes, clean, without a name that begins with '..'
	Mode fs.FileMode // permissions alone
	Data []byte
}

// Owner is who owns what is written.
type Owner struct{ UID, GID int }

// Set is one set of files as it lies on the disk.
type Set struct {
	ID    string // the name of its directory; "" if there is none
	Files []File // ours, by path
	Note  []byte
	// LeftOut is, of a set that was just installed, what others have put into directories of theirs and it does not hold, and why.
	LeftOut []string
}

// Options are what a Dir needs beside its path.
type Options struct {
	Owner  *Owner // nil leaves it to the process
	System System // nil is the real one
}

// Dir is a directory whose files change all at once.
type Dir struct {
	path  string
	owner *Owner
	sys   System
}

// New is the directory at a path. It touches nothing.
func New(path string, o Options) *Dir {
	if o.System == nil {
		o.System = Real{}
	}
	return &Dir{path: filepath.Clean(path), owner: o.Owner, sys: o.System}
}

// Current reads the set in use: the zero Set if nothing was installed yet. A file that is gone, or whose place
// something else has taken, is not in it. It is an error if ..data is damaged.
func (d *Dir) Current() (Set, error) {
	id, err := d.current()
	if err != nil || id == "" {
		return Set{}, err
	}
	s, err := d.load(id)
	if err != nil {
		return Set{}, err
	}
	var there []File
	for _, f := range s.Files {
		if f.Data != nil && d.leadsToData(firstName(f.Path)) {
			there = append(there, f)
		}
	}
	s.Files = there
	return s, nil
}

// Previous reads the set that was in use before: the zero Set if there was none. After a take-over these are the
// files that the first set replaced. It is an error if one of its files is gone.
func (d *Dir) Previous() (Set, error) {
	id, err := d.current()
	if err != nil || id == "" {
		return Set{}, err
	}
	id, err = d.previous(id)
	if err != nil || id == "" {
		return Set{}, err
	}
	s, err := d.load(id)
	if err != nil {
		return Set{}, err
	}
	for _, f := range s.Files {
		if f.Data == nil {
			return Set{}, fmt.Errorf("the previous files of %s: %s is gone from %s: there is no way back but to install other files", d.path, f.Path, id)
		}
	}
	return s, nil
}

// Install puts a set of files in the place of the current one, in one moment. Files of ours that are not in it are
// gone then; those of others stay. What lies in the way is taken over: kept aside, and in the previous set.
func (d *Dir) Install(files []File, note []byte) (Set, error) {
	s, err := d.install(files, note)
	if err != nil {
		return Set{}, d.explain("install the files of "+d.path, err)
	}
	return s, nil
}

// Rollback installs the files of the previous set once more, with another note. What was current is the previous set
// then. It is an error if there is none.
func (d *Dir) Rollback(note []byte) (Set, error) {
	previous, err := d.Previous()
	if err != nil {
		return Set{}, err
	}
	if previous.ID == "" {
		return Set{}, fmt.Errorf("roll back the files of %s: there is no set before the current one", d.path)
	}
	return d.Install(previous.Files, note)
}

// SetNote replaces the note of the current set. It is an error if there is none.
func (d *Dir) SetNote(note []byte) error {
	id, err := d.current()
	if err == nil && id == "" {
		err = errors.New("nothing is installed")
	}
	if err == nil {
		err = d.replace(id, noteName, func(next string) error { return d.sys.Write(next, note, secretMode, d.owner) })
	}
	if err != nil {
		return d.explain("change the note of "+d.path, err)
	}
	return nil
}

func (d *Dir) install(files []File, note []byte) (Set, error) {
	if err := check(files); err != nil {
		return Set{}, err
	}
	if err := d.prepare(); err != nil {
		return Set{}, err
	}
	id, err := d.current()
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a set that is gone has nothing to keep
		return Set{}, err
	}
	id, leftOut, err := d.takeOver(id, files)
	if err != nil {
		return Set{}, err
	}
	before, err := d.read(id)
	if err != nil {
		return Set{}, err
	}
	before.tree = outOfTheWay(before.tree, files)
	nodes, err := merge(before.nodes, before.known, files, d.owner)
	if err != nil {
		return Set{}, err
	}
	next, err := d.write(setPrefix, append(nodes, d.records(pathsOf(files), note, id)...))
	if err != nil {
		return Set{}, err
	}
	if err := d.swap(next, firstNames(nodes)); err != nil {
		return Set{}, errors.Join(err, d.discard(next))
	}
	s, err := d.load(next)
	s.LeftOut = append(leftOut, before.leftOut...)
	return s, err
}

// swap makes a set the current one. New names get their links before: until then they lead nowhere.
func (d *Dir) swap(set string, names []string) error {
	if err := d.link(names); err != nil {
		return err
	}
	if err := d.point(set); err != nil {
		return err
	}
	return d.unlink(names)
}
