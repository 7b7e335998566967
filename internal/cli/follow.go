package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/rotate"
	"clusterpki.io/operator/internal/status"
)

// follow shows the progress of a replacement until it ends, the timeout runs out, or the context does.
func follow(ctx context.Context, api client.WithWatch, key client.ObjectKey, want string, timeout time.Duration, out io.Writer) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	cas, trusts := make(chan news), make(chan news)
	go tail(watching, api, &v1alpha1.ClusterCAList{}, key, sendTo(watching, cas))
	trust := client.ObjectKey{Namespace: key.Namespace, Name: v1alpha1.TrustConfigMapName(key.Name)}
	go tail(watching, api, &corev1.ConfigMapList{}, trust, sendTo(watching, trusts))

	f := newFollower(key, want, out, clock.RealClock{})
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
		case n := <-trusts:
			done, err = f.trust(n)
		case <-tick:
			f.show()
		case <-late:
			return &exit{exitTimeout, fmt.Sprintf(
				"rotate: ClusterCA %q: not completed after %s; what is under way in the cluster goes on", key.Name, status.Span(timeout))}
		case <-ctx.Done():
			return &exit{exitInterrupted, fmt.Sprintf("rotate: stopped looking on; what is under way for ClusterCA %q goes on", key.Name)}
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
	key    client.ObjectKey
	want   string
	out    io.Writer
	clock  clock.PassiveClock
	style  status.Style
	screen *screen // nil: what changes is logged

	seen    rotate.Seen
	trusted bool // the trust ConfigMap was looked for
	watch   *rotate.Watch
	offline error
	logged  []string
}

func newFollower(key client.ObjectKey, want string, out io.Writer, c clock.PassiveClock) *follower {
	f := &follower{key: key, want: want, out: out, clock: c}
	var redraws bool
	if f.style, redraws = styleFor(out); redraws {
		f.screen = &screen{w: out}
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
	f.seen.CA, _ = n.object.(*v1alpha1.ClusterCA)
	return f.look()
}

// trust takes in what is known of the trust ConfigMap.
func (f *follower) trust(n news) (done bool, err error) {
	if n.err != nil {
		return f.lost(n)
	}
	f.trusted, f.seen.Ledger = true, plan.Ledger{}
	if cm, ok := n.object.(*corev1.ConfigMap); ok {
		// One that cannot be read is none; condition Stalled says so.
		if l, err := plan.ParseLedger(cm.Data[v1alpha1.LedgerKey]); err == nil {
			f.seen.Ledger = l
		}
	}
	return f.look()
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

// look judges what there is, once both objects were looked for.
func (f *follower) look() (done bool, err error) {
	f.offline = nil
	if f.seen.CA == nil || !f.trusted {
		return false, nil
	}
	if f.watch == nil {
		f.watch = rotate.Begin(f.want, f.seen)
	}
	outcome := f.watch.Look(f.seen)
	f.show()
	switch outcome {
	case rotate.Completed:
		return true, nil
	case rotate.GivenUp:
		return true, &exit{exitUnwell, "rotate: the replacement was given up"}
	case rotate.Stuck:
		return true, &exit{exitUnwell, "rotate: the replacement cannot begin before something is changed"}
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
