package leaf

import (
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// issued is what was issued lately: by that a repair is told from what the spec's owner, the clock or the CA brings, and what could not be published
// is published later. It is in memory alone: an operator that starts anew repairs at once.
type issued struct {
	mu sync.Mutex
	of map[object]last
}

// object is one of ours, by its name: it is gone before another one has that.
type object struct {
	kind string
	types.NamespacedName
}

// last is what was issued last for an object.
type last struct {
	to   target
	pace plan.Pace
	// text and specHash are of the certificate. Of very many, which nobody may ever ask for, what is parsed would take much memory.
	text     []byte
	specHash string
	triggers []string
	// unpublished is the certificate with its key, as long as it is recorded and stands nowhere.
	unpublished *plan.Observed
}

// target is what a certificate was issued into: another one is another matter.
type target struct {
	uid               types.UID
	secret            string
	external, mounted bool
}

// manyIssued is how many are remembered before those are looked for that may go.
const manyIssued = 1024

func (r Request) object() object {
	return object{r.Owner.Kind(), types.NamespacedName{Namespace: r.Owner.GetNamespace(), Name: r.Owner.GetName()}}
}

func (r Request) target() target {
	return target{r.Owner.GetUID(), r.Secret, r.ExternalKey, r.Acknowledgment.Mounted}
}

// last is what was issued last for what a request asks for.
func (i *issued) last(r Request) last {
	i.mu.Lock()
	defer i.mu.Unlock()
	if l := i.of[r.object()]; l.to == r.target() {
		return l
	}
	return last{}
}

// observed is the certificate as it would stand in the Secret; nil where none is known.
func (l last) observed() *plan.Observed {
	if l.unpublished != nil {
		return l.unpublished
	}
	leaf, err := pki.ParseLeafCertificate(l.text)
	if err != nil {
		return nil
	}
	return &plan.Observed{Leaf: leaf, SpecHash: l.specHash, RenewalTriggers: l.triggers}
}

// signed remembers a certificate that is about to be published.
func (i *issued) signed(now time.Time, r Request, o *plan.Observed, repair bool) {
	i.remember(now, r, last{
		to: r.target(), pace: i.last(r).pace.After(now, repair), text: o.Leaf.CertPEM(), specHash: o.SpecHash, triggers: o.RenewalTriggers, unpublished: o,
	})
}

func (i *issued) remember(now time.Time, r Request, what last) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.of == nil {
		i.of = map[object]last{}
	}
	if len(i.of) >= manyIssued {
		for other, l := range i.of {
			if l.unpublished == nil && !l.pace.Recent(now) {
				delete(i.of, other)
			}
		}
	}
	i.of[r.object()] = what
}

// published forgets the key of what was published.
func (i *issued) published(r Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if l, ok := i.of[r.object()]; ok {
		l.unpublished = nil
		i.of[r.object()] = l
	}
}

// saw forgets the key of what stands there, though it was not known to be stored: whoever deletes that wants another one.
func (i *issued) saw(r Request, o *plan.Observed) {
	if l := i.last(r); l.unpublished != nil && o != nil && o.Leaf.Cert != nil && o.Leaf.Cert.Equal(l.unpublished.Leaf.Cert) {
		i.published(r)
	}
}

// Forget drops what is remembered of an object which is gone.
func (m *Maker) Forget(kind string, name types.NamespacedName) {
	m.issued.mu.Lock()
	defer m.issued.mu.Unlock()
	delete(m.issued.of, object{kind, name})
}

// paced puts off what comes too soon after others of its kind; what is signed already costs nothing more.
func (m *Maker) paced(r Request, d plan.Desired, decided plan.Decision) plan.Decision {
	if decided.Action != plan.Issue {
		return decided
	}
	now, l := m.Clock.Now(), m.issued.last(r)
	if l.unpublished != nil {
		return decided
	}
	return plan.Paced(now, decided, l.pace, plan.WouldDo(now, d, l.observed()))
}

// DelayedError says that something is not made again yet.
type DelayedError struct {
	Secret string
	Until  time.Time
}

func (e *DelayedError) Error() string {
	return fmt.Sprintf("somebody else changes or deletes Secret %q again and again: the next repair of it is made at %s; see who writes it",
		e.Secret, e.Until.UTC().Format(time.RFC3339))
}
