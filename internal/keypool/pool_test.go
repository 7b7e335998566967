package keypool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"clusterpki.io/operator/internal/pki"
)

var (
	rsa4096 = pki.KeySpec{Algorithm: pki.RSA, Size: 4096}
	rsa2048 = pki.KeySpec{Algorithm: pki.RSA, Size: 2048}
)

func owner(namespace, name string) Owner {
	return Owner{Kind: "NodeCredential", Namespace: namespace, Name: name, UID: "1"}
}

// bench is a pool whose keys are made when the test lets them.
type bench struct {
	*Pool
	let   chan struct{}
	mu    sync.Mutex
	ready []string // whose keys are there, in that order
	made  int
}

// newBench starts a pool of one goroutine, within a bubble.
func newBench(t *testing.T) *bench {
	b := &bench{let: make(chan struct{})}
	b.Pool = New(func(pki.KeySpec) (pki.PrivateKey, error) {
		<-b.let
		b.mu.Lock()
		defer b.mu.Unlock()
		b.made++
		return pki.GenerateKey(pki.KeySpec{Algorithm: pki.Ed25519}) // a quick one
	})
	b.Notify("NodeCredential", func(o Owner) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.ready = append(b.ready, o.Name)
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { _ = b.run(ctx, 1); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended; close(b.let) })
	return b
}

// make lets a number of keys be made.
func (b *bench) make(n int) {
	for range n {
		synctest.Wait()
		b.let <- struct{}{}
	}
	synctest.Wait()
}

func (b *bench) pending(t *testing.T, o Owner, spec pki.KeySpec) {
	t.Helper()
	if _, err := b.Key(o, spec); !errors.As(err, new(*PendingError)) {
		t.Errorf("%s: %v", o.Name, err)
	}
}

// TestTurns has one namespace ask for many keys: another one waits for one of them.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 40 {
			b.pending(t, owner("mass", fmt.Sprint("m", i)), rsa4096)
		}
		synctest.Wait() // the first is being made
		b.pending(t, owner("small", "s1"), rsa4096)
		b.pending(t, owner("other", "o1"), rsa4096)
		b.pending(t, owner("small", "s2"), rsa4096)
		b.make(6)
		if want := []string{"m0", "s1", "o1", "m1", "s2", "m2"}; !slices.Equal(b.ready, want) {
			t.Errorf("they were made as %v, not %v", b.ready, want)
		}
	})
}

// TestCAsFirst makes the key of a CA before those of leaves, and in the turn of its namespace.
func TestCAsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ca := func(name string) Owner {
			o := owner("mass", name)
			o.CA = true
			return o
		}
		for i := range 3 {
			b.pending(t, owner("mass", fmt.Sprint("m", i)), rsa4096)
		}
		synctest.Wait()
		b.pending(t, owner("small", "s1"), rsa4096)
		b.pending(t, ca("ca1"), rsa4096)
		b.pending(t, ca("ca2"), rsa4096)
		b.make(6)
		if want := []string{"m0", "s1", "ca1", "ca2", "m1", "m2"}; !slices.Equal(b.ready, want) {
			t.Errorf("they were made as %v, not %v", b.ready, want)
		}
	})
}

// TestOneOfANamespace makes one key of a namespace at a time, however many goroutines there are.
func TestOneOfANamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		go func() { _ = b.run(t.Context(), 3) }()
		for i := range 5 {
			b.pending(t, owner("mass", fmt.Sprint("m", i)), rsa4096)
		}
		b.pending(t, owner("small", "s1"), rsa4096)
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		if n := len(b.making); n != 2 {
			t.Errorf("%d are being made", n)
		}
		if n := len(b.waiting["mass"]); n != 4 {
			t.Errorf("%d of the namespace wait", n)
		}
	})
}

// TestKeyIsHandedOutOnce gives each key to the object that it was made for, once.
func TestKeyIsHandedOutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		o := owner("prod", "a")
		for range 3 {
			b.pending(t, o, rsa4096)
		}
		b.make(1)
		if _, err := b.Key(o, rsa4096); err != nil {
			t.Fatal(err)
		}
		b.pending(t, o, rsa4096) // another one
		b.make(1)
		if b.made != 2 {
			t.Errorf("%d keys were made", b.made)
		}
		again := o
		again.UID = "2" // an object of the same name
		b.pending(t, again, rsa4096)
		b.make(1)
		b.pending(t, again, rsa2048) // its spec was changed
		b.make(1)
		if _, err := b.Key(again, rsa2048); err != nil {
			t.Error(err)
		}
		b.empty(t)
	})
}

// TestForget drops what is asked for, being made and made for an object that is gone.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for _, name := range []string{"making", "waiting"} {
			b.pending(t, owner("prod", name), rsa4096)
		}
		synctest.Wait()
		b.Forget(owner("prod", "making"))
		b.Forget(owner("prod", "waiting"))
		b.Forget(owner("prod", "never"))
		b.make(1)
		b.pending(t, owner("prod", "made"), rsa4096)
		b.make(1)
		b.Forget(owner("prod", "made"))
		if b.made != 2 || !slices.Equal(b.ready, []string{"made"}) {
			t.Errorf("%d were made, of %v", b.made, b.ready)
		}
		b.empty(t)
	})
}

// TestUnfetchedKeysAreBounded drops the oldest key of a namespace that nobody comes for.
func TestUnfetchedKeysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range maxUnfetched + 1 {
			b.pending(t, owner("prod", fmt.Sprint(i)), rsa4096)
		}
		b.make(maxUnfetched + 1)
		if n := len(b.Pool.made["prod"]); n != maxUnfetched {
			t.Errorf("%d are kept", n)
		}
		b.pending(t, owner("prod", "0"), rsa4096) // it asks again
		if _, err := b.Key(owner("prod", "1"), rsa4096); err != nil {
			t.Error(err)
		}
	})
}

// TestErrorIsTold gives an error of the source to whoever asked, once.
func TestErrorIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(func(pki.KeySpec) (pki.PrivateKey, error) { return pki.PrivateKey{}, errors.New("no entropy") })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = p.Start(ctx) }()
		o := owner("prod", "a")
		if _, err := p.Key(o, rsa4096); err == nil || !strings.Contains(err.Error(), "an RSA-4096 key is being made") {
			t.Error(err)
		}
		synctest.Wait()
		if _, err := p.Key(o, rsa4096); err == nil || err.Error() != "no entropy" {
			t.Error(err)
		}
		if _, err := p.Key(o, rsa4096); !errors.As(err, new(*PendingError)) {
			t.Error(err)
		}
	})
}

// empty says that the pool keeps nothing.
func (b *bench) empty(t *testing.T) {
	t.Helper()
	b.Pool.mu.Lock()
	defer b.Pool.mu.Unlock()
	if len(b.asked)+len(b.waiting)+len(b.turn)+len(b.making)+len(b.Pool.made) > 0 {
		t.Errorf("it keeps %v, %v, %v, %v, %v", b.asked, b.waiting, b.turn, b.making, b.Pool.made)
	}
}
