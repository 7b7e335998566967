package controller

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/stall"
)

// Two installations of the operator may serve one namespace, each with an authority namespace of its own. A ClusterCA belongs to
// the one that its status names, and what is made from it too. What the other one, or one of two of which none is named, has to say
// against an object is said once, and the status is left alone then: else the two would write it in turns, without an end.

// issuer reads the ClusterCA that signs for a leaf; nil where there is none.
func (b *base) issuer(ctx context.Context, namespace, name string) (*v1alpha1.ClusterCA, error) {
	var ca v1alpha1.ClusterCA
	err := b.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &ca)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // absence is an answer
	case err != nil:
		return nil, fmt.Errorf("read ClusterCA %q: %w", name, err)
	default:
		return &ca, nil
	}
}

// servedElsewhere says, as a stall, where another installation serves the ClusterCA that signs for a leaf.
func (b *base) servedElsewhere(ctx context.Context, namespace, name string) error {
	ca, err := b.issuer(ctx, namespace, name)
	if ca == nil || b.home.Serves(ca) == nil {
		return err // none is told as what is wrong with the issuer
	}
	return stall.Here(v1alpha1.ReasonAuthorityMissing, "another installation of the operator serves ClusterCA %q: see its condition Stalled", name)
}

// sayHere is the end of a reconciliation whose answer holds for this installation: of the status, only the conditions are written, and
// each answer once for a generation of the object and an installation that is named. A restart of the operator begins anew.
func (b *base) sayHere(ctx context.Context, before v1alpha1.Object, rep report, o outcome) (ctrl.Result, error) {
	after, ok := before.DeepCopyObject().(v1alpha1.Object)
	if !ok || owned.LostRace(rep.err) {
		return b.result(rep.err, zeroTime)
	}
	conds := after.StatusConditions()
	old := *conds
	*conds = settle(b.clock.Now(), after.GetGeneration(), old, conditions(rep))
	*after.ObservedGeneration() = after.GetGeneration()
	text := rep.named + " " + answerOf(*conds)
	if b.said.knows(after, text) {
		return b.result(rep.err, o.nextCheck)
	}
	if err := b.patchStatus(ctx, before, after); err != nil {
		return b.result(err, zeroTime)
	}
	b.said.note(after, text)
	b.announceStalled(after, old, *conds)
	return b.result(rep.err, o.nextCheck)
}

// answerOf is what conditions say, without messages that may differ from one time to the next.
func answerOf(conds []metav1.Condition) string {
	var b strings.Builder
	for _, c := range conds {
		fmt.Fprintf(&b, "%s=%s/%s ", c.Type, c.Status, c.Reason)
		if c.Type == v1alpha1.StalledCondition {
			b.WriteString(c.Message)
		}
	}
	return b.String()
}

// said is what this operator has said of objects that another installation may serve.
type said struct {
	mu sync.Mutex
	of map[types.UID]answers
}

type answers struct {
	generation int64
	texts      map[string]bool
}

const (
	// maxSaid bounds of how many objects is remembered what was said. Beyond that it begins anew.
	maxSaid = 100_000
	// maxAnswers bounds how much is said of one generation of an object. Beyond that it is left alone.
	maxAnswers = 8
)

func (s *said) knows(o client.Object, text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.of[o.GetUID()]
	return was.generation == o.GetGeneration() && (was.texts[text] || len(was.texts) >= maxAnswers)
}

func (s *said) note(o client.Object, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil || len(s.of) >= maxSaid {
		s.of = map[types.UID]answers{}
	}
	now := answers{o.GetGeneration(), map[string]bool{text: true}}
	if was := s.of[o.GetUID()]; was.generation == now.generation {
		maps.Copy(now.texts, was.texts)
	}
	s.of[o.GetUID()] = now
}

// forget begins anew for an object that this installation serves.
func (s *said) forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, uid)
}
