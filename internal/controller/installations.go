package controller

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

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

// concludeHere is the end of a reconciliation whose answer holds for this installation: of the status, only the conditions are written, and
// each answer once an hour for a generation of the object and an installation that is named. A restart of the operator begins anew.
func (b *base) concludeHere(ctx context.Context, before v1alpha1.Object, rep report, o outcome) (ctrl.Result, error) {
	after, ok := before.DeepCopyObject().(v1alpha1.Object)
	if !ok || owned.LostRace(rep.err) {
		return b.result(rep.err, zeroTime)
	}
	conds := after.StatusConditions()
	old := *conds
	*conds = settle(b.clock.Now(), after.GetGeneration(), old, conditions(rep))
	*after.ObservedGeneration() = after.GetGeneration()
	text := sha256.Sum256([]byte(rep.named + " " + summaryOf(*conds)))
	if b.announced.knows(after, text, b.clock.Now()) {
		return b.result(rep.err, o.nextCheck)
	}
	if err := b.patchStatus(ctx, before, after); err != nil {
		return b.result(err, zeroTime)
	}
	b.announced.note(after, text, b.clock.Now())
	b.announceStalled(after, old, *conds)
	return b.result(rep.err, o.nextCheck)
}

// summaryOf is what conditions say, without messages that may differ from one time to the next.
func summaryOf(conds []metav1.Condition) string {
	var b strings.Builder
	for _, c := range conds {
		fmt.Fprintf(&b, "%s=%s/%s ", c.Type, c.Status, c.Reason)
		if c.Type == v1alpha1.StalledCondition {
			b.WriteString(c.Message)
		}
	}
	return b.String()
}

// announced is what this operator has said of objects that another installation may serve.
type announced struct {
	mu sync.Mutex
	of map[object]announcements
}

type object struct {
	kind string
	types.NamespacedName
}

func objectOf(o v1alpha1.Object) object { return object{o.Kind(), client.ObjectKeyFromObject(o)} }

// announcements are what was said of one generation of an object, and when.
type announcements struct {
	uid        types.UID
	generation int64
	at         map[[sha256.Size]byte]time.Time
}

const (
	// announcedAgain is after what time the same is said again: somebody may have written over it who does not serve the object.
	announcedAgain = time.Hour
	// maxAnnouncements bounds how much is said of one generation of an object in that time.
	maxAnnouncements = 8
)

func (s *announced) knows(o v1alpha1.Object, text [sha256.Size]byte, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.of[objectOf(o)]
	if was.uid != o.GetUID() || was.generation != o.GetGeneration() {
		return false
	}
	maps.DeleteFunc(was.at, func(_ [sha256.Size]byte, at time.Time) bool { return now.Sub(at) >= announcedAgain })
	_, known := was.at[text]
	return known || len(was.at) >= maxAnnouncements
}

func (s *announced) note(o v1alpha1.Object, text [sha256.Size]byte, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[object]announcements{}
	}
	was := s.of[objectOf(o)]
	if was.uid != o.GetUID() || was.generation != o.GetGeneration() {
		was = announcements{o.GetUID(), o.GetGeneration(), map[[sha256.Size]byte]time.Time{}}
	}
	was.at[text] = now
	s.of[objectOf(o)] = was
}

// forget begins anew for an object that this installation serves, or that is gone.
func (s *announced) forget(kind string, name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, object{kind, name})
}
