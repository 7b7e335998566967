package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
)

// Pool lends control planes to tests, each to one test at a time. Whoever borrows one finds it as Prepare left it: what the
// test before made is gone, and where that changed or removed what was there, it is wiped and prepared anew.
type Pool struct {
	// Prepare brings about what every test takes for granted; nil leaves the control plane empty. What it starts, it
	// hands to Plane.OnStop.
	Prepare func(context.Context, *Plane) error

	mu     sync.Mutex
	free   []*Plane
	failed []error
}

// Plane is a control plane of a pool.
type Plane struct {
	*ControlPlane
	objects           *objects
	started, prepared snapshot
	stop              []func() error
}

// OnStop hands over what ends something that Prepare has started.
func (p *Plane) OnStop(stop func() error) { p.stop = append(p.stop, stop) }

// Borrow lends a control plane until the test ends.
func (p *Pool) Borrow(t *testing.T) *Plane {
	t.Helper()
	plane, err := p.borrow(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free = append(p.free, plane)
	})
	return plane
}

func (p *Pool) borrow(t *testing.T) (*Plane, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if plane := p.take(); plane != nil {
		err := p.restore(ctx, plane)
		if err == nil {
			return plane, nil
		}
		t.Logf("a control plane is replaced: %v", err)
		p.end(plane)
	}
	return p.start(ctx)
}

func (p *Pool) take() *Plane {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return nil
	}
	last := len(p.free) - 1
	plane := p.free[last]
	p.free = p.free[:last]
	return plane
}

func (p *Pool) start(ctx context.Context) (*Plane, error) {
	empty, err := StartEmpty()
	if err != nil {
		return nil, err
	}
	plane := &Plane{ControlPlane: empty}
	if plane.objects, err = newObjects(empty.Config); err == nil {
		plane.started, err = plane.objects.settled(ctx)
	}
	if err == nil {
		err = plane.prepare(ctx, p.Prepare)
	}
	if err != nil {
		p.end(plane)
		return nil, err
	}
	return plane, nil
}

func (p *Plane) prepare(ctx context.Context, prepare func(context.Context, *Plane) error) (err error) {
	p.prepared = p.started
	if prepare == nil {
		return nil
	}
	if err := prepare(ctx, p); err != nil {
		return fmt.Errorf("prepare a control plane: %w", err)
	}
	p.prepared, err = p.objects.settled(ctx)
	return err
}

// restore brings back what Prepare left.
func (p *Pool) restore(ctx context.Context, plane *Plane) error {
	err := plane.objects.restore(ctx, plane.prepared)
	if !errors.Is(err, errChanged) || p.Prepare == nil {
		return err
	}
	p.release(plane)
	if err := plane.objects.restore(ctx, plane.started); err != nil {
		return err
	}
	return plane.prepare(ctx, p.Prepare)
}

// release ends what Prepare has started, the last first.
func (p *Pool) release(plane *Plane) {
	for _, v := range slices.Backward(plane.stop) {
		p.keep(v())
	}
	plane.stop = nil
}

func (p *Pool) end(plane *Plane) {
	p.release(plane)
	p.keep(plane.Stop())
}

// keep remembers an error of something that was shared, which no test is to blame for.
func (p *Pool) keep(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = append(p.failed, err)
}

// Run runs the tests of a package, and closes pools; for its TestMain.
func Run(m *testing.M, pools ...*Pool) int {
	code := m.Run()
	for _, p := range pools {
		if err := p.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// Close stops every control plane that no test holds any more, and says what has failed besides the tests.
func (p *Pool) Close() error {
	for plane := p.take(); plane != nil; plane = p.take() {
		p.end(plane)
	}
	return errors.Join(p.failed...)
}
