package owned

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Writes are what this operator wrote, until the cache has it: what follows from an older state was done already. They save
// requests and keys, and nothing depends on them.
type Writes struct {
	mu sync.Mutex
	of map[writeKey]*written
}

type writeKey struct {
	kind string
	types.NamespacedName
}

type written struct {
	version string
	created bool
	absent  int  // how often the cache did not have it
	awaited bool // a visit found the cache behind it, and did nothing
}

// maxAbsent is how often an object that was created is waited for. It may have been deleted since, or somebody's policy may
// have taken off the label by which the cache selects.
const maxAbsent = 3

// Created notes that an object was made.
func (w *Writes) Created(kind string, o client.Object) { w.note(kind, o, true) }

// Updated notes that an object was changed.
func (w *Writes) Updated(kind string, o client.Object) { w.note(kind, o, false) }

func (w *Writes) note(kind string, o client.Object, created bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[writeKey]*written{}
	}
	w.of[writeKey{kind, client.ObjectKeyFromObject(o)}] = &written{version: o.GetResourceVersion(), created: created}
}

// Forget drops what was noted of an object that is gone.
func (w *Writes) Forget(kind string, name types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.of, writeKey{kind, name})
}

// Newer says whether an object was written after what the cache has of it.
func (w *Writes) Newer(kind string, o client.Object) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := writeKey{kind, client.ObjectKeyFromObject(o)}
	noted := w.of[key]
	if noted == nil {
		return false
	}
	if order, err := resourceversion.CompareResourceVersion(o.GetResourceVersion(), noted.version); err == nil && order < 0 {
		noted.awaited = true
		return true
	}
	delete(w.of, key)
	return false
}

// coming says whether a Secret that the cache does not have was created, and may be on its way there.
func (w *Writes) coming(name types.NamespacedName) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := writeKey{SecretKind, name}
	noted := w.of[key]
	if noted == nil || !noted.created || noted.absent >= maxAbsent {
		delete(w.of, key)
		return false
	}
	noted.absent++
	noted.awaited = true
	return true
}

// Echo says whether the cache has got what this operator wrote and no visit waits for. Whoever has written it knows already.
func (w *Writes) Echo(kind string, name types.NamespacedName, version string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := writeKey{kind, name}
	noted := w.of[key]
	if noted == nil || noted.version != version {
		return false
	}
	delete(w.of, key)
	return !noted.awaited
}
