package hostdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Settle is for a moment after a swap, when whoever was reading has finished. It removes sets older than the previous
// one and what is left of work that was cut short. Programs that watch the files themselves, as the API server and
// the kubelet do, hear of a swap when the old files go: so the previous set, and what was taken over, are kept in a
// copy. It changes nothing that is read at a path, and a second call has nothing to do.
func (d *Dir) Settle() error {
	if err := d.settle(); err != nil {
		return d.explain("settle the files of "+d.path, err)
	}
	return nil
}

func (d *Dir) settle() error {
	if _, err := os.Stat(d.path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	id, err := d.current()
	if err != nil {
		return err
	}
	if id == "" {
		return d.collect(isDraft)
	}
	previous, err := d.previous(id)
	if err != nil {
		return err
	}
	if err := d.collectBut(id, previous); err != nil { // first, for the room
		return err
	}
	if err := d.removeAll(d.at(id, nextLink)); err != nil {
		return err
	}
	if strings.HasPrefix(previous, setPrefix) {
		if previous, err = d.keep(id, previous); err != nil {
			return err
		}
	}
	if err := d.keepTaken(); err != nil {
		return err
	}
	if err := d.collectBut(id, previous); err != nil {
		return err
	}
	c, err := d.read(id)
	if err != nil {
		return err
	}
	if err := d.unlink(firstNames(c.nodes)); err != nil {
		return err
	}
	return d.sys.SyncDir(d.path)
}

// collectBut removes all sets but two, and drafts.
func (d *Dir) collectBut(current, previous string) error {
	return d.collect(func(name string) bool {
		switch name {
		case current, previous:
			return false
		default:
			return isDraft(name) || hasPrefix(name, setPrefix, keptPrefix)
		}
	})
}

// keep has the current set name a copy of the previous one, and returns the name of that.
func (d *Dir) keep(current, previous string) (string, error) {
	c, err := d.read(previous)
	if err != nil {
		return "", err
	}
	kept, err := d.write(keptPrefix, append(c.nodes, d.records(c.known, c.note, "")...))
	if err != nil {
		return "", err
	}
	return kept, d.replace(current, previousLink, func(next string) error { return d.sys.Symlink(filepath.Join("..", kept), next) })
}

// isDraft reports whether a name is of work that was cut short.
func isDraft(name string) bool { return name == nextLink || hasPrefix(name, newPrefix) }

func hasPrefix(name string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}
