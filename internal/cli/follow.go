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
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/rotate"
	"clusterpki.io/operator/internal/status"
)

// follow shows the progress of a rotation until it ends, the timeout runs out, or the context does.
func (f *follower) follow(ctx context.Context, api client.WithWatch, timeout time.Duration) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	cas := make(chan news)
	go tail(watching, api, &v1alpha1.ClusterCAList{}, f.key, sendTo(watching, cas))
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
		case n := <-cas:
			done, err = f.ca(n)
		case <-tick:
			f.show()
		case <-late:
			return &exit{exitTimeout, fmt.Sprintf(
				"rotate: ClusterCA %q: not completed after %s; what is under way in the cluster goes on", f.key.Name, status.HumanDuration(timeout))}
		case <-ctx.Done():
			return &exit{exitInterrupted, fmt.Sprintf("rotate: stopped looking on; what is under way for ClusterCA %q goes on", f.key.Name)}
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

// follower keeps what was seen last and shows it.
type follower struct {
	key     client.ObjectKey
	trigger string
	out     io.Writer
	clock   clock.PassiveClock
	style   status.Style
	screen  *screen // nil: what changes is logged

	consumers []consumers.Dependent
	watch     *rotate.Watch
	offline   error
	logged    []string
}

// newFollower follows the rotation of a CA, whose consumers are those of the begin.
func newFollower(ca *v1alpha1.ClusterCA, objects status.Objects, trigger string, out io.Writer) *follower {
	f := &follower{
		key: client.ObjectKeyFromObject(ca), trigger: trigger, out: out, clock: clock.RealClock{}, consumers: objects.ConsumersOf(ca.Name),
	}
	var redraws bool
	if f.style, redraws = styleFor(out); redraws {
		f.screen = &screen{w: raw(out)}
	}
	return f
}

// ca takes in what is known of the ClusterCA.
func (f *follower) ca(n news) (done bool, err error) {
	if n.err != nil {
		return f.lost(n)
	}
	if n.object == nil {
		return true, fmt.Errorf("rotate: ClusterCA %q was deleted", f.key.Name)
	}
	ca, ok := n.object.(*v1alpha1.ClusterCA)
	if !ok {
		return true, fmt.Errorf("rotate: a ClusterCA is a %T", n.object)
	}
	return f.observe(rotate.Snapshot{CA: ca, Consumers: f.consumers})
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

// look judges what there is.
func (f *follower) observe(snapshot rotate.Snapshot) (done bool, err error) {
	f.offline = nil
	if f.watch == nil {
		f.watch = rotate.Begin(f.trigger, snapshot)
	}
	outcome := f.watch.Observe(snapshot)
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
		if f.watch != nil {
			lines = append(f.watch.Frame(now, f.style), offline...)
		}
		f.screen.draw(lines)
		return
	}
	lines := offline
	if f.watch != nil {
		lines = append(f.watch.Lines(), offline...)
	}
	for _, line := range lines {
		if !slices.Contains(f.logged, line) {
			fmt.Fprintf(f.out, "%s  %s\n", now.UTC().Format(time.RFC3339), line)
		}
	}
	f.logged = lines
}
