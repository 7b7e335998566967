package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/shell"
	"clusterpki.io/operator/internal/stall"
)

// attended is how what is issued for an object reaches its host.
type attended struct {
	owner  v1alpha1.Object
	keeper *owned.Keeper
	lease  string // of the agent
	host   string // whose agent that is
	spec   v1alpha1.DeliverySpec
}

// reported is what is known of what was delivered.
type reported struct {
	consumers.Reported // in the Lease of the agent

	delivery       attended
	acknowledgment consumers.Acknowledgment
}

// state says whether what the agent has reported counts.
func (r reported) state(now time.Time) consumers.LeaseState {
	return consumers.LeaseStateOf(r.Reported, r.delivery.spec, r.delivery.host, now)
}

// reportOf resolves what a Lease says of a delivery. What cannot be read of the records leaves it without worth.
func (b *base) reportOf(ctx context.Context, d attended, lease *coordinationv1.Lease) (reported, error) {
	owner := recordedOwner(d.owner)
	said, err := b.reports.of(ctx, lease, owner)
	out := reported{said, d, consumers.AcknowledgmentOf(d.spec, said, d.host, b.clock.Now())}
	if by := out.acknowledgment.SignedBy; by != "" && out.acknowledgment.Agent.SerialNumber == by {
		err = stall.First(err, b.recorder.Acknowledged(ctx, d.owner.GetNamespace(), owner, by))
	}
	return out, err
}

// without is what is known of a delivery where no Lease says anything.
func (b *base) without(d attended) reported {
	return reported{delivery: d, acknowledgment: consumers.AcknowledgmentOf(d.spec, consumers.Reported{}, d.host, b.clock.Now())}
}

// attendLease makes sure that there is a Lease in which the agent of a leaf's host can report, and resolves what it has
// reported there. Where no agent delivers, there is none. An error keeps nothing from being issued: what is returned with
// one holds.
func (b *base) attendLease(ctx context.Context, d attended) (reported, error) {
	existing, err := readLease(ctx, b.client, d.owner.GetNamespace(), d.lease)
	if err == nil && existing != nil && owned.IsCut(existing) {
		existing, err = readLease(ctx, b.live, d.owner.GetNamespace(), d.lease)
	}
	if err != nil {
		return b.without(d), err
	}
	mine := existing != nil && d.keeper.Mine(d.owner, existing)
	if d.spec.Mode != v1alpha1.DeliveryAgent {
		if mine {
			err = b.deleteLease(ctx, existing)
		}
		return b.without(d), err
	}
	if existing != nil && !mine {
		if err := d.keeper.Check(ctx, d.owner, existing); err != nil {
			return b.without(d), leaf.Conflict(err)
		}
		if err := b.deleteLease(ctx, existing); err != nil { // what the agent of another object reported is of another certificate
			return b.without(d), err
		}
		existing = nil
	}
	ensured, err := b.ensureLease(ctx, d, existing)
	if err != nil {
		ensured = existing
	}
	out, reportErr := b.reportOf(ctx, d, ensured)
	return out, stall.First(err, reportErr)
}

// ensureLease writes a leaf's Lease if its marks or its length differ. What the agent writes there is left alone. If the agent
// writes at the same time, one of the two fails.
func (b *base) ensureLease(ctx context.Context, d attended, existing *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	seconds := int32(consumers.LeaseDuration(d.spec) / time.Second) //nolint:gosec // admission bounds it to a week
	marks := owned.Marks{Controlled: true}
	if existing != nil {
		next := existing.DeepCopy()
		next.Spec.LeaseDurationSeconds = &seconds
		err := owned.Update(ctx, d.keeper, d.owner, existing, next, marks)
		if err == nil && next.ResourceVersion != existing.ResourceVersion { // it differed, and was written
			b.wrote.Updated(owned.LeaseKind, next)
		}
		return next, err
	}
	next := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.owner.GetNamespace(), Name: d.lease},
		Spec:       coordinationv1.LeaseSpec{LeaseDurationSeconds: &seconds},
	}
	if err := owned.Create(ctx, d.keeper, d.owner, next, marks); err != nil {
		return nil, b.unexpectedLease(ctx, d, err)
	}
	b.wrote.Created(owned.LeaseKind, next)
	return next, nil
}

// unexpectedLease looks at a Lease that is there although the cache does not know it, as the maker of leaves does at a Secret.
func (b *base) unexpectedLease(ctx context.Context, d attended, lost error) error {
	if !apierrors.IsAlreadyExists(lost) {
		return lost
	}
	there, err := readLease(ctx, b.live, d.owner.GetNamespace(), d.lease)
	if err != nil {
		return err
	}
	if there == nil {
		return lost
	}
	if err := leaf.Conflict(d.keeper.Check(ctx, d.owner, there)); err != nil {
		return err
	}
	if _, err := b.ensureLease(ctx, d, there); err != nil {
		return err
	}
	return lost
}

func (b *base) deleteLease(ctx context.Context, l *coordinationv1.Lease) error {
	err := b.client.Delete(ctx, l, client.Preconditions{UID: &l.UID})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Lease %q: %w", l.Name, err)
	}
	return nil
}

func readLease(ctx context.Context, from client.Reader, namespace, name string) (*coordinationv1.Lease, error) {
	var l coordinationv1.Lease
	err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &l)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read Lease %q: %w", name, err)
	}
	return &l, nil
}

// acknowledged says, as conditions, whether the agent of a host has seen in use what some Secrets hold, and whether its own credential ends soon; nil
// where no agent is to say it. An empty name is of no Secret.
func (b *base) acknowledged(ctx context.Context, namespace string, h reported, secrets ...string) ([]metav1.Condition, error) {
	out, err := b.inUse(ctx, namespace, h, secrets...)
	if len(out) == 0 {
		return nil, err
	}
	return append(out, h.credentialExpiring()...), err
}

// version is that of the agent, as far as it has signed that.
func (r reported) version() string {
	if r.Lease == nil || r.Proof != ack.Signed {
		return ""
	}
	return r.Report.Version
}

// credentialExpiring says, as a condition, that the agent of a host has not renewed its own credential. Only what it has signed counts.
func (r reported) credentialExpiring() []metav1.Condition {
	c := r.Report.Credential
	if r.Lease == nil || r.Proof != ack.Signed || c == nil {
		return nil
	}
	message := fmt.Sprintf("the agent of host %q has not renewed its token for the management cluster, which was granted for %s and ends at %s; from then on "+
		"nothing is delivered there", r.delivery.host, time.Duration(c.GrantedSeconds)*time.Second, c.Expires.UTC().Format(time.RFC3339))
	if c.Problem != "" {
		message += ": " + shell.Quote(c.Problem)
	}
	return []metav1.Condition{{
		Type: v1alpha1.AgentCredentialExpiringCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCredentialNotRenewed, Message: message,
	}}
}

// inUse says, as a condition, whether the agent of a host has seen in use what some Secrets hold.
func (b *base) inUse(ctx context.Context, namespace string, h reported, secrets ...string) ([]metav1.Condition, error) {
	if h.Lease == nil {
		return nil, nil
	}
	c := metav1.Condition{Type: v1alpha1.TrustAcknowledgedCondition, Status: metav1.ConditionFalse, Reason: h.acknowledgment.Reason}
	switch h.acknowledgment.Reason {
	case v1alpha1.ReasonLeaseExpired, v1alpha1.ReasonAcknowledgmentInvalid:
		now := b.clock.Now()
		state := h.state(now)
		if c.Message = h.whyNothingCounts(now); state == consumers.LeaseUnused {
			c.Reason = v1alpha1.ReasonAgentNotStarted
		}
		why := b.noAccess.of(agents.Host{Namespace: namespace, Name: h.delivery.host})
		if why != "" && (state == consumers.LeaseUnused || state == consumers.LeaseNotRenewed) {
			c.Message += "; it gets no access: " + why
		}
		return []metav1.Condition{c}, nil
	case v1alpha1.ReasonAgentProblem:
		c.Message = h.problem()
		return []metav1.Condition{c}, nil
	}
	contents, names, err := b.contents(ctx, namespace, secrets)
	switch {
	case err != nil:
		return nil, err
	case contents == nil:
		c.Reason, c.Message = v1alpha1.ReasonNotInstalled, "not everything is issued that the agent is to install"
	case h.acknowledgment.Covers(*contents):
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonInUse, "the agent has seen in use what is in "+names
	case h.Proof == ack.Signed && h.Report.Installed.Covers(*contents):
		c.Reason, c.Message = v1alpha1.ReasonNotInUse, "the agent has installed what is in "+names+", and has not seen it in use yet"
	default:
		c.Reason, c.Message = v1alpha1.ReasonNotInstalled, "the agent has not installed yet what is in "+names
	}
	return []metav1.Condition{c}, nil
}

// contents are what Secrets hold together, nil where one is not there or cannot be read, and how they are called.
func (b *base) contents(ctx context.Context, namespace string, secrets []string) (contents *ack.State, names string, err error) {
	var all []*corev1.Secret
	var called []string
	for _, name := range secrets {
		if name == "" {
			continue
		}
		s, err := b.secrets.Cached(ctx, namespace, name)
		if s == nil {
			return nil, "", err
		}
		all, called = append(all, s), append(called, fmt.Sprintf("Secret %q", name))
	}
	state, err := ack.StateOf(all[0], all[1:]...)
	if err != nil {
		return nil, "", nil //nolint:nilerr // it is about to be repaired, or its owner says why not
	}
	return &state, strings.Join(called, " and "), nil
}

// problem is what an agent says is amiss, quoted: the host has chosen the text. What nobody has signed is not quoted: whoever may write the Lease would
// write the status too, as often as he likes.
func (r reported) problem() string {
	if r.Proof == ack.Signed {
		return fmt.Sprintf("the agent of host %q reports: %s", r.delivery.host, shell.Quote(r.Report.Problem))
	}
	return fmt.Sprintf("the agent of host %q reports a problem, and has installed no certificate yet whose key it could sign that by: see its log, or "+
		"annotation %s of Lease %q, which anybody may have written who can", r.delivery.host, v1alpha1.ReportAnnotation, r.Lease.Name)
}

// whyNothingCounts says why nothing that an agent has reported counts.
func (r reported) whyNothingCounts(now time.Time) string {
	l, host := r.Lease, r.delivery.host
	switch r.state(now) {
	case consumers.LeaseForged:
		return fmt.Sprintf("what Lease %q states is not signed by the key of a certificate that was issued for this object, so it counts for nothing: "+
			"the agent of host %q says it again once it has installed what is issued; if it stays so, somebody else writes that Lease", l.Name, host)
	case consumers.LeaseRestored:
		return fmt.Sprintf("Lease %q was restored, and the agent of host %q has not renewed it since: nothing that it reported before counts", l.Name, host)
	case consumers.LeaseOfAnother:
		return fmt.Sprintf("Lease %q is held by the agent of %s, and this object is for host %q: nothing that another host's agent reports counts; "+
			"see its configuration", l.Name, r.holder(), host)
	case consumers.LeaseAhead:
		return fmt.Sprintf("the agent of host %q has renewed Lease %q as of a time that lies far ahead: "+
			"nothing that it reports counts; is the clock of the host right?", host, l.Name)
	case consumers.LeaseNotRenewed:
		return fmt.Sprintf("the agent of host %q has not renewed Lease %q for longer than delivery.leaseDuration: "+
			"nothing that it has reported counts until it does; is it running, and is the clock of the host right?", host, l.Name)
	default:
		return fmt.Sprintf("no agent has reported through Lease %q yet", l.Name)
	}
}

// holder is the host whose agent has written the Lease, as far as it has signed that.
func (r reported) holder() string {
	if r.Proof == ack.Signed {
		return fmt.Sprintf("host %q", r.Holder())
	}
	return "another host"
}

// announceAgent emits one event when the Lease of an agent expires or it has a problem, and one when that is over. One that was
// never heard is no news.
func (b *base) announceAgent(on client.Object, old, next []metav1.Condition) {
	was := meta.FindStatusCondition(old, v1alpha1.TrustAcknowledgedCondition)
	now := meta.FindStatusCondition(next, v1alpha1.TrustAcknowledgedCondition)
	if was == nil || now == nil || was.Reason == now.Reason {
		return
	}
	amiss := func(c *metav1.Condition) bool {
		return slices.Contains([]string{
			v1alpha1.ReasonAgentNotStarted, v1alpha1.ReasonLeaseExpired, v1alpha1.ReasonAcknowledgmentInvalid, v1alpha1.ReasonAgentProblem,
		}, c.Reason)
	}
	switch {
	case amiss(now):
		b.events.Eventf(on, nil, corev1.EventTypeWarning, now.Reason, "Acknowledge", "%s", now.Message)
	case amiss(was):
		b.events.Eventf(on, nil, corev1.EventTypeNormal, now.Reason, "Acknowledge", "%s", now.Message)
	}
}

// leaseChanged passes the events of a Lease, but for a mere renewal: one that says the same, is worth the same, and makes no expired Lease valid, and no
// valid one expired. Thousands of them come all the time.
func (b *base) leaseChanged() builder.Predicates {
	return builder.WithPredicates(predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, ok := e.ObjectOld.(*coordinationv1.Lease)
		now, too := e.ObjectNew.(*coordinationv1.Lease)
		if !ok || !too {
			return true
		}
		before, known := b.reports.known(was, claimedOwner(was))
		after, too := b.reports.known(now, claimedOwner(now))
		return !known || !too || before.Proof != after.Proof || !before.Report.Same(after.Report) ||
			alive(before, b.clock.Now()) != alive(after, b.clock.Now()) ||
			!equality.Semantic.DeepEqual(withoutHeartbeat(was), withoutHeartbeat(now))
	}, DeleteFunc: func(e event.DeleteEvent) bool {
		b.reports.forget(client.ObjectKeyFromObject(e.Object))
		return true
	}})
}

// alive says whether a Lease is valid for whoever holds it, by its own length.
func alive(r consumers.Reported, now time.Time) bool {
	d := v1alpha1.DeliverySpec{LeaseDuration: metav1.Duration{Duration: time.Duration(ptr.Deref(r.Lease.Spec.LeaseDurationSeconds, 0)) * time.Second}}
	return consumers.Alive(r, d, r.Holder(), now)
}

// withoutHeartbeat is a Lease but for what changes with every sign of life.
func withoutHeartbeat(l *coordinationv1.Lease) coordinationv1.Lease {
	out := coordinationv1.Lease{Spec: l.Spec}
	out.UID, out.Labels, out.Annotations, out.OwnerReferences = l.UID, l.Labels, l.Annotations, l.OwnerReferences
	out.Spec.RenewTime = nil
	out.Annotations = maps.Clone(l.Annotations)
	delete(out.Annotations, v1alpha1.ReportAnnotation) // it is compared by itself: its time changes each time
	delete(out.Annotations, v1alpha1.ReportSignatureAnnotation)
	return out
}

// deliveryOf says in one word whether what is issued for a credential is in use; "" where nothing is. acknowledged is what its agent says.
func deliveryOf(c *v1alpha1.NodeCredential, acknowledged []metav1.Condition) string {
	switch by := c.Spec.Delivery; {
	case c.Status.Certificate.SerialNumber == "":
		return ""
	case by.Mode == v1alpha1.DeliveryMounted:
		return v1alpha1.ReasonAssumed
	case by.Mode == v1alpha1.DeliveryManual && by.Acknowledged != nil && by.Acknowledged.SerialNumber == c.Status.Certificate.SerialNumber:
		return v1alpha1.ReasonInUse
	case by.Mode == v1alpha1.DeliveryManual:
		return v1alpha1.PendingNotAcknowledged
	case len(acknowledged) > 0:
		return acknowledged[0].Reason
	default:
		return v1alpha1.ReasonNotInstalled
	}
}
