package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/timeline"
)

const (
	// newValidity is nine years, where the samples have ten.
	newValidity = "78840h"
	// rotationTimeout bounds a rotation in phases: in each of three, client-go takes five minutes to look at its files.
	rotationTimeout = 30 * time.Minute
	// recoveryTimeout bounds the wait of the naive run.
	recoveryTimeout = 7 * time.Minute
	// recovered is how long nothing may have failed until every client counts as working again.
	recovered = time.Minute
	// reportEvery is how often a line is printed where nothing else changes.
	reportEvery = 30 * time.Second
)

// replaceCA edits one field and follows the phases to their end.
func (d *demo) replaceCA(ctx context.Context) error {
	if err := d.edit(ctx, fmt.Sprintf(`{"spec":{"validity":%q}}`, newValidity)); err != nil {
		return err
	}
	f := &follower{demo: d}
	err := d.each(ctx, func() (bool, error) {
		if d.Clock.Since(d.rotation.began) > rotationTimeout {
			return false, fmt.Errorf("the rotation is not over after %v", rotationTimeout)
		}
		return f.look(ctx)
	})
	if err != nil {
		return errors.Join(err, d.printCounts())
	}
	return d.wait(ctx, calm)
}

// swapCA asks for an emergency rotation with the same edit, and waits until all clients work again.
func (d *demo) swapCA(ctx context.Context) error {
	if err := d.edit(ctx, fmt.Sprintf(`{"spec":{"validity":%q,"rotation":{"trigger":"swap","emergencyTrigger":"swap"}}}`, newValidity)); err != nil {
		return err
	}
	f := &follower{demo: d}
	return d.each(ctx, func() (bool, error) {
		if _, err := f.look(ctx); err != nil {
			return false, err
		}
		since := d.Clock.Since(d.rotation.began)
		last := d.rotation.began
		for _, row := range d.rotation.load.Rows() {
			if row.Last.After(last) {
				last = row.Last
			}
		}
		return since > recoveryTimeout || d.Clock.Since(last) > recovered, nil
	})
}

// edit changes the ClusterCA as a person would.
func (d *demo) edit(ctx context.Context, patch string) error {
	d.rotation.began = d.Clock.Now()
	return d.kubectl(ctx, d.management.kubeconfig(), "patch", "clusterca", d.rotation.ca, "-n", namespace, "--type=merge", "--patch="+patch)
}

// follower tells of a rotation's progress.
type follower struct {
	*demo
	line    string // what was said last
	said    time.Time
	nodesAt time.Time // when the nodes were last looked at
}

// look says what has changed, and whether the rotation is over.
func (f *follower) look(ctx context.Context) (done bool, err error) {
	r := f.rotation
	var ca v1alpha1.ClusterCA
	err = f.management.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: r.ca}, &ca)
	now := f.Clock.Now()
	line := describe(now, &ca)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err() //nolint:wrapcheck // it is said that the run was interrupted
	case err != nil: // asked again in a second
		line = fmt.Sprintf("the management cluster does not answer: %v", err)
	}
	if err == nil {
		r.look(now, &ca)
		if err := f.miss(r.progress, now); err != nil {
			return false, err
		}
	}
	if now.Sub(f.nodesAt) >= 5*time.Second {
		f.nodesAt = now
		unready, err := f.unreadyNodes(ctx)
		r.nodes.note(now, unready, err)
	}
	if line != f.line || now.Sub(f.said) >= reportEvery {
		f.line, f.said = line, now
		t := r.load.Total()
		f.say("%7s  %s | %d requests, %d failed, %d cut off", "+"+now.Sub(r.began).Round(time.Second).String(), line, t.Requests, t.Failures(), t.CutOff)
	}
	return rotated(&ca), nil
}

// look takes in how far the rotation is.
func (r *rotation) look(now time.Time, ca *v1alpha1.ClusterCA) {
	progress, ok := timeline.UnderWay(now, ca, nil)
	if !ok {
		progress, ok = timeline.Last(ca)
	}
	if !ok {
		return
	}
	r.progress = progress
	if r.required == nil {
		r.required = map[v1alpha1.Phase]int32{}
	}
	if phase := progress.Phase(); phase != "" {
		r.required[phase] = max(r.required[phase], progress.Required)
	}
}

// rotated says whether a rotation of a ClusterCA is completed, and no other under way.
func rotated(ca *v1alpha1.ClusterCA) bool {
	return ca.Status.Rotation.Phase == "" && ca.Status.LastRotation.Result == v1alpha1.RotationCompleted
}

// describe tells where a rotation stands in one line.
func describe(now time.Time, ca *v1alpha1.ClusterCA) string {
	var generations []string
	for _, g := range ca.Status.Generations {
		generations = append(generations, fmt.Sprintf("g%d %s", g.Number, g.State))
	}
	r, ok := timeline.UnderWay(now, ca, nil)
	phase := "no rotation"
	if ok {
		phase = string(r.Phase())
	}
	text := fmt.Sprintf("%-17s (%s)", phase, strings.Join(generations, ", "))
	if tally := r.Tally(); tally != "" {
		text += " " + tally
	}
	if len(r.Pending) > 0 {
		text += ", waits for " + r.Describe(r.Pending[0])
		if more := r.PendingCount - 1; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
	}
	return text
}

// unreadiness is for how long how many nodes were not Ready.
type unreadiness struct {
	most       int
	since      time.Time // zero while all are Ready
	total      time.Duration
	last       string // why
	looks      int
	unanswered int // looks without an answer, which say nothing
}

// note takes down which nodes are not Ready now.
func (u *unreadiness) note(now time.Time, unready []string, err error) {
	u.looks++
	if err != nil {
		u.unanswered++
		return
	}
	u.most = max(u.most, len(unready))
	if !u.since.IsZero() {
		u.total += now.Sub(u.since)
		u.since = time.Time{}
	}
	if len(unready) > 0 {
		u.since, u.last = now, strings.Join(unready, "; ")
	}
}
