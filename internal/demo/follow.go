package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
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

// swapCA edits the same field in mode Emergency, and waits until all clients work again.
func (d *demo) swapCA(ctx context.Context) error {
	if err := d.edit(ctx, fmt.Sprintf(`{"spec":{"validity":%q,"rotation":{"mode":"Emergency"}}}`, newValidity)); err != nil {
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
	line := describe(ca)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err() //nolint:wrapcheck // it is said that the run was interrupted
	case err != nil: // asked again in a second
		line = fmt.Sprintf("the management cluster does not answer: %v", err)
	}
	if err == nil {
		r.enter(ca.Status.Rotation, now)
		if err := f.miss(ca.Status.Rotation, now); err != nil {
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
	return replaced(ca), nil
}

// enter notes the present phase.
func (r *rotation) enter(s v1alpha1.RotationStatus, now time.Time) {
	if n := len(r.phases); n > 0 {
		last := &r.phases[n-1]
		if last.name == s.Phase {
			last.required = max(last.required, gateOf(s).required)
			return
		}
		if last.took == 0 {
			last.took = now.Sub(last.began)
		}
	}
	if s.Phase != "" {
		r.phases = append(r.phases, phase{name: s.Phase, began: now, required: gateOf(s).required})
	}
}

// replaced says whether a ClusterCA has one generation alone, another one than its first.
func replaced(ca v1alpha1.ClusterCA) bool {
	s := ca.Status
	return s.ObservedGeneration == ca.Generation && s.Rotation.Phase == "" && len(s.Generations) == 1 && s.Generations[0].Number > 1
}

// describe tells where a rotation stands in one line.
func describe(ca v1alpha1.ClusterCA) string {
	var generations []string
	for _, g := range ca.Status.Generations {
		generations = append(generations, fmt.Sprintf("g%d %s", g.Number, g.State))
	}
	phase, s := "no rotation", ca.Status.Rotation
	if s.Phase != "" {
		phase = s.Phase
	}
	text := fmt.Sprintf("%-17s (%s)", phase, strings.Join(generations, ", "))
	if s.Acked != "" {
		text += fmt.Sprintf(" %s acknowledged", s.Acked)
	}
	if g := gateOf(s); len(g.pending) > 0 {
		text += ", waits for " + g.pending[0]
		if more := g.required - g.acknowledged - 1; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
	}
	return text
}

// gate is what the present phase waits for.
type gate struct {
	acknowledged, required int32
	pending                []string
}

func gateOf(s v1alpha1.RotationStatus) gate {
	if len(s.Gates) == 0 {
		return gate{}
	}
	g := s.Gates[0]
	return gate{ptr.Deref(g.Acknowledged, 0), ptr.Deref(g.Required, 0), g.Pending}
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
