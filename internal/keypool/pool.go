// Package keypool makes RSA keys beside the reconciliations. One takes up to seconds of a core: whoever asks for one is told to come
// back, and namespaces take turns.
package keypool

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"clusterpki.io/operator/internal/pki"
)

// Owner is what a key is made for. A key is handed out for the object with that UID, and for no other of its name.
type Owner struct {
	Kind, Namespace, Name, UID string
	CA                         bool // it comes before leaves of its namespace, which need it first
}

// object is an owner without its UID: it waits for one key at a time.
func (o Owner) object() Owner {
	o.UID, o.CA = "", false
	return o
}

// maxUnfetched is how many keys of a namespace wait to be fetched. Whoever comes too late asks again.
const maxUnfetched = 16

// PendingError says that a key is being made.
type PendingError struct{ Spec pki.KeySpec }

func (e *PendingError) Error() string {
	return fmt.Sprintf("an %s key is being made: namespaces take turns, one key of each at a time", e.Spec)
}

// Is says that it is pki.ErrKeyPending.
func (*PendingError) Is(target error) bool { return target == pki.ErrKeyPending }

// Pool makes keys, in as many goroutines as there are cores but one, and keeps them until they are fetched.
type Pool struct {
	generate pki.KeySource

	mu      sync.Mutex
	changed *sync.Cond
	ended   bool
	asked   map[Owner]*request    // by owner.object()
	waiting map[string][]*request // by namespace: those of CAs, and then the others, as they came
	turn    []string              // the namespaces in which something waits and nothing is being made
	making  map[string]bool       // by namespace
	made    map[string][]*request // by namespace: what nobody has fetched
	notify  map[string]func(Owner)
}

// request is a key that was asked for.
type request struct {
	owner Owner
	spec  pki.KeySpec
	void  bool // nobody wants it any more
	done  bool
	key   pki.PrivateKey
	err   error
}

// New makes a pool whose keys come from a source. Nothing is made before Start.
func New(generate pki.KeySource) *Pool {
	p := &Pool{
		generate: generate, asked: map[Owner]*request{}, waiting: map[string][]*request{},
		making: map[string]bool{}, made: map[string][]*request{}, notify: map[string]func(Owner){},
	}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// Notify has a function called for each key of a kind's objects that is there. It is set before Start.
func (p *Pool) Notify(kind string, f func(Owner)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notify[kind] = f
}

// Key hands the key out that was made for an owner. Where there is none, it is made, and the error is a PendingError.
func (p *Pool) Key(o Owner, spec pki.KeySpec) (pki.PrivateKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.asked[o.object()]
	switch {
	case r == nil || r.owner != o || r.spec != spec:
		p.drop(r)
		p.ask(&request{owner: o, spec: spec})
	case r.done:
		p.drop(r)
		return r.key, r.err
	}
	return pki.PrivateKey{}, &PendingError{spec}
}

// Forget drops what was asked for an owner, whatever its UID.
func (p *Pool) Forget(o Owner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(p.asked[o.object()])
}

func (p *Pool) ask(r *request) {
	ns := r.owner.Namespace
	p.asked[r.owner.object()] = r
	if len(p.waiting[ns]) == 0 && !p.making[ns] {
		p.turn = append(p.turn, ns)
		p.changed.Signal()
	}
	at := len(p.waiting[ns])
	if r.owner.CA {
		if leaf := slices.IndexFunc(p.waiting[ns], func(o *request) bool { return !o.owner.CA }); leaf >= 0 {
			at = leaf
		}
	}
	p.waiting[ns] = slices.Insert(p.waiting[ns], at, r)
}

// drop ends a request; nil is none. One that waits is passed over when its turn comes.
func (p *Pool) drop(r *request) {
	if r == nil {
		return
	}
	r.void = true
	delete(p.asked, r.owner.object())
	if r.done {
		p.unlist(r)
	}
}

// Start implements manager.Runnable. It ends at once: a key that is being made then is thrown away.
func (p *Pool) Start(ctx context.Context) error { return p.run(ctx, max(1, runtime.GOMAXPROCS(0)-1)) }

func (p *Pool) run(ctx context.Context, goroutines int) error {
	for range goroutines {
		go p.work()
	}
	<-ctx.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.changed.Broadcast()
	return nil
}

func (p *Pool) work() {
	for {
		r := p.next()
		if r == nil {
			return
		}
		key, err := p.generate(r.spec)
		if notify := p.finished(r, key, err); notify != nil {
			notify(r.owner)
		}
	}
}
