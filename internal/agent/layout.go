package agent

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/hostfiles"
)

// layout collects files by path.
type layout struct{ paths, current map[string]hostdir.File }

var errConflict = errors.New("two objects have different contents for one file")

// contested says, by Lease, which objects are not to be installed because others want something else at one of their paths. What is installed
// there decides, whatever the order: who brings that goes on. Where nothing is, nobody does.
func (l *layout) contested(fresh map[string]freshFiles) map[string]error {
	first, differ := map[string][]byte{}, map[string]bool{}
	for _, n := range fresh {
		for _, f := range n.files {
			if was, ok := first[f.Path]; ok && !bytes.Equal(was, f.Data) {
				differ[f.Path] = true
			}
			first[f.Path] = f.Data
		}
	}
	out := map[string]error{}
	for lease, n := range fresh {
		for _, f := range n.files { // in the order of their paths
			was, installed := l.current[f.Path]
			if !differ[f.Path] || installed && bytes.Equal(was.Data, f.Data) || out[lease] != nil {
				continue
			}
			out[lease] = fmt.Errorf("%w, %s: one of them is for another host, another role or another CA, and what lies there stays", errConflict, f.Path)
		}
	}
	return out
}

func (l *layout) add(files []hostdir.File) {
	for _, f := range files {
		l.paths[f.Path] = f
	}
}

// keep leaves an object the files that it has.
func (l *layout) keep(o object) {
	own, shared := o.own()
	for _, p := range append(own, shared...) {
		if _, fresh := l.paths[p]; fresh {
			continue
		}
		if f, ok := l.current[p]; ok {
			l.paths[p] = f
		}
	}
}

// keepUnlisted leaves alone the files of objects that are not configured any more: nobody said that they are not in use.
func (l *layout) keepUnlisted(objects []object) {
	listed := map[string]bool{hostfiles.KubeletCA: true}
	for _, o := range objects {
		own, shared := o.own()
		for _, p := range append(own, shared...) {
			listed[p] = true
		}
	}
	for p, f := range l.current {
		if _, fresh := l.paths[p]; !fresh && !listed[p] {
			l.paths[p] = f
		}
	}
}

func (l *layout) files() []hostdir.File {
	return slices.SortedFunc(maps.Values(l.paths), func(a, b hostdir.File) int { return strings.Compare(a.Path, b.Path) })
}
