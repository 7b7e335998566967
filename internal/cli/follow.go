package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/rotate"
	"clusterpki.io/operator/internal/status"
)

// follow shows the progress of a rotation until it ends, the timeout runs out, or the context does.
func (f *follower) follow(ctx context.Context, api client.WithWatch, timeout time.Duration) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	all := make(chan news)
	go tail(watching, api, f.list, f.key, sendTo(watching, all))
	var late <-chan time.Time
	if timeout > 0 {
		late = time.After(timeout)
	}
	var tick <-chan time.Time
	if f.screen != nil {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		var done bool
		var err error
		select {
		case n := <-all:
			done, err = f.object(n)
		case <-tick:
			f.show()
		case <-late:
			return &exit{exitTimeout, fmt.Sprintf(
				"rotate: %s %q: not completed after %s; what is under way in the cluster goes on", f.kind, f.key.Name, status.HumanDuration(timeout))}
		case <-ctx.Done():
			return &exit{exitInterrupted, fmt.Sprintf("rotate: stopped looking on; what is under way for %s %q goes on", f.kind, f.key.Name)}
		}
		if done || err != nil {
			return err
		}
	}
}

// sendTo hands news on until the context ends.
func sendTo(ctx context.Context, to chan<- news) func(news) {
	return func(n news) {
		select {
		case to <- n:
		case <-ctx.Done():
		}
	}
}

// progress is how far a rotation is: as a terminal shows it, and as it is logged.
type progress interface {
	Frame(now time.Time, s status.Style) []string
	Lines() []string
}

// follower keeps what was seen last and shows it.
type follower struct {
	kind   string
	list   client.ObjectList // of that kind
	key    client.ObjectKey
	out    io.Writer
	clock  clock.PassiveClock
	style  status.Style
	screen *screen // nil: what changes is logged

	// look takes in what is known of the object.
	look    func(client.Object) (progress, rotate.Outcome, error)
	seen    progress // nil: nothing yet
	offline error
	logged  []string
}

func followerOf(o v1alpha1.Object, list client.ObjectList, out io.Writer) *follower {
	f := &follower{kind: o.Kind(), list: list, key: client.ObjectKeyFromObject(o), out: out, clock: clock.RealClock{}}
	var redraws bool
	if f.style, redraws = styleFor(out); redraws {
		f.screen = &screen{w: raw(out)}
	}
	return f
}

// newFollower follows the rotation of a CA, whose consumers are those of the begin.
func newFollower(ca *v1alpha1.ClusterCA, objects status.Objects, trigger string, out io.Writer) *follower {
	f := followerOf(ca, &v1alpha1.ClusterCAList{}, out)
	dependents := objects.ConsumersOf(ca.Name)
	var watch *rotate.Watch
	f.look = func(o client.Object) (progress, rotate.Outcome, error) {
		ca, ok := o.(*v1alpha1.ClusterCA)
		if !ok {
			return nil, rotate.Going, fmt.Errorf("rotate: a ClusterCA is a %T", o)
		}
		snapshot := rotate.Snapshot{CA: ca, Consumers: dependents}
		if watch == nil {
			watch = rotate.Begin(trigger, snapshot)
		}
		return watch, watch.Observe(snapshot), nil
	}
	return f
}

// object takes in what is known of the object.
func (f *follower) object(n news) (done bool, err error) {
	if n.err != nil {
		return f.lost(n)
	}
	if n.object == nil {
		return true, fmt.Errorf("rotate: %s %q was deleted", f.kind, f.key.Name)
	}
	return f.observe(n.object)
}

// lost shows that the cluster does not answer, and ends where it never will.
func (f *follower) lost(n news) (done bool, err error) {
	if n.final {
		return true, fmt.Errorf("rotate: %w", n.err)
	}
	f.offline = n.err
	f.show()
	return false, nil
}

// observe judges what there is.
func (f *follower) observe(o client.Object) (done bool, err error) {
	f.offline = nil
	seen, outcome, err := f.look(o)
	if err != nil {
		return true, err
	}
	f.seen = seen
	f.show()
	switch outcome {
	case rotate.Completed:
		return true, nil
	case rotate.RolledBack:
		return true, &exit{exitUnwell, "rotate: the rotation was rolled back"}
	case rotate.Stalled:
		return true, &exit{exitUnwell, "rotate: the rotation cannot begin before something is changed"}
	default:
		return false, nil
	}
}

// show draws the progress, or logs what of it is new.
func (f *follower) show() {
	now := f.clock.Now()
	var offline []string
	if f.offline != nil {
		offline = []string{"no answer, trying again: " + f.offline.Error()}
	}
	if f.screen != nil {
		lines := offline
		if f.seen != nil {
			lines = append(f.seen.Frame(now, f.style), offline...)
		}
		f.screen.draw(lines)
		return
	}
	lines := offline
	if f.seen != nil {
		lines = append(f.seen.Lines(), offline...)
	}
	for _, line := range lines {
		if !slices.Contains(f.logged, line) {
			fmt.Fprintf(f.out, "%s  %s\n", now.UTC().Format(time.RFC3339), line)
		}
	}
	f.logged = lines
}
