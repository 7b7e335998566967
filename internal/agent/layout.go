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
	"clusterpki.io/operator/internal/pki"
)

// layout collects files by path.
type layout struct{ paths, current map[string]hostdir.File }

var errConflict = errors.New("two objects have different contents for one file")

// contested says, by Lease, which objects are not to be installed because others want something else at one of their paths. What a person has named
// in replacePKI decides, else what is installed there, whatever the order: who brings that goes on. Where there is neither, nobody does.
func (l *layout) contested(fresh map[string]freshFiles, named []string) map[string]error {
	by := map[string]map[string][]string{} // path → contents → Leases
	for lease, n := range fresh {
		for _, f := range n.files {
			if by[f.Path] == nil {
				by[f.Path] = map[string][]string{}
			}
			by[f.Path][string(f.Data)] = append(by[f.Path][string(f.Data)], lease)
		}
	}
	out := map[string]error{}
	for lease, n := range fresh {
		for _, f := range n.files { // in the order of their paths
			if len(by[f.Path]) < 2 || out[lease] != nil || l.decides(by[f.Path], f, named) {
				continue
			}
			out[lease] = fmt.Errorf("%w, %s: Secret %s holds something else for it, so that one of them is for another host, another role or another CA, "+
				"and what lies there stays", errConflict, f.Path, others(by[f.Path], f))
		}
	}
	return out
}

// decides says whether a file is the one to be installed, of several that are wanted at its path. Two that are named say no more than none.
func (l *layout) decides(wanted map[string][]string, f hostdir.File, named []string) bool {
	isNamed := func(data []byte) bool {
		certs, err := pki.ParseCertificates(data)
		return err == nil && slices.Contains(named, pki.BundleDigest(certs))
	}
	among := 0
	for data := range wanted {
		if isNamed([]byte(data)) {
			among++
		}
	}
	if among == 1 {
		return isNamed(f.Data)
	}
	was, installed := l.current[f.Path]
	return installed && bytes.Equal(was.Data, f.Data)
}

// others are the Secrets of which something else is wanted at the path of a file.
func others(wanted map[string][]string, f hostdir.File) string {
	var out []string
	for data, leases := range wanted {
		if data != string(f.Data) {
			out = append(out, leases...)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
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

// keepCAs leaves what verifies the clients and the servers of kubelets, where nothing newer is to lie there.
func (l *layout) keepCAs(servers bool) {
	for p, wanted := range map[string]bool{hostfiles.ClientCA: true, hostfiles.KubeletCA: servers} {
		was, there := l.current[p]
		if _, fresh := l.paths[p]; there && !fresh && wanted {
			l.paths[p] = was
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
