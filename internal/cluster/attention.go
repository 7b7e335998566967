package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/shell"
)

// Fault is what keeps a ClusterPKI itself from being as its spec says, until a person changes something. Its message says what.
type Fault struct {
	Reason, Message string
	Since           time.Time
}

// Standing is how a cluster stands: what its attention follows from.
type Standing struct {
	Name     string
	Children Children // in their order
	There    map[Key]v1alpha1.Object
	Faults   []Fault // of the ClusterPKI itself
	Removals Removals
	// Confirmed are the hosts that spec.removal.confirmed names already.
	Confirmed []string
}

// How grave something is. What does not work goes before what will not for long, that before what waits for a person, and a single host last.
const (
	broken = iota
	endangered
	waiting
	behind
)

// attention collects what a person should see to.
type attention struct {
	Standing
	now   time.Time
	items []graded
	next  time.Time
	// notStarted are the hosts whose agents have never reported, and since when that is amiss.
	notStarted map[string]time.Time
}

type graded struct {
	v1alpha1.ClusterAttention
	grade int
}

// Attention is everything about a cluster that does not go on by itself, the gravest first, and when time alone adds something. It depends on nothing but
// its arguments, so equal ones make equal lists.
func Attention(s Standing, now time.Time) (items []v1alpha1.ClusterAttention, next time.Time) {
	a := attention{Standing: s, now: now, notStarted: map[string]time.Time{}}
	for _, f := range s.Faults {
		a.add(endangered, nil, "", f.Reason, f.Since, f.Message)
	}
	a.removals()
	for _, c := range s.Children {
		if o := s.There[c.Key()]; o != nil {
			a.child(c.Host, o)
		}
	}
	a.agents()
	slices.SortStableFunc(a.items, func(x, y graded) int { return cmp.Compare(x.grade, y.grade) })
	for _, i := range a.items {
		items = append(items, i.ClusterAttention)
	}
	return items, a.next
}

// add adds something. Of one host and reason, or of one object and reason, there is one item.
func (a *attention) add(grade int, o v1alpha1.Object, host, reason string, since time.Time, edit string) {
	item := v1alpha1.ClusterAttention{Host: host, Reason: reason, Edit: edit}
	if !since.IsZero() {
		item.Since = metav1.NewTime(since.UTC().Truncate(time.Second))
	}
	if o != nil {
		item.Object = o.Kind() + "/" + o.GetName()
	}
	for i := range a.items {
		old := &a.items[i]
		if old.Reason != reason || old.Host != host || (host == "" && (old.Object != item.Object || old.Edit != edit)) {
			continue
		}
		old.grade = min(old.grade, grade)
		if !item.Since.IsZero() && item.Since.Before(&old.Since) {
			old.Since = item.Since
		}
		return
	}
	a.items = append(a.items, graded{item, grade})
}

// child is what is to be said of one object. What explains the rest stands for it.
func (a *attention) child(host string, o v1alpha1.Object) {
	isReady := meta.IsStatusConditionTrue(*o.StatusConditions(), v1alpha1.ReadyCondition)
	stalled := is(o, v1alpha1.StalledCondition)
	switch ready := meta.FindStatusCondition(*o.StatusConditions(), v1alpha1.ReadyCondition); {
	case stalled != nil && !isReady:
		a.add(broken, o, host, stalled.Reason, stalled.LastTransitionTime.Time, stalled.Message)
		return
	case stalled != nil:
		a.add(endangered, o, host, stalled.Reason, stalled.LastTransitionTime.Time, stalled.Message)
		return
	case ready != nil && !isReady && slices.Contains(needPeople, ready.Reason):
		a.add(broken, o, host, ready.Reason, ready.LastTransitionTime.Time, ready.Message)
		return
	}
	a.lateness(host, o)
	switch o := o.(type) {
	case *v1alpha1.ClusterCA:
		a.authority(o)
	case *v1alpha1.ServiceAccountKey:
		a.key(o)
	}
	a.host(host, o)
}

// needPeople are the reasons of Ready for which an object waits for a person without being Stalled.
var needPeople = []string{
	v1alpha1.ReasonRestoreIncomplete, v1alpha1.ReasonRequestMissing, v1alpha1.ReasonHostKeyNotApproved, v1alpha1.ReasonRepairDelayed,
}

func is(o v1alpha1.Object, kind string) *metav1.Condition {
	if c := meta.FindStatusCondition(*o.StatusConditions(), kind); c != nil && c.Status == metav1.ConditionTrue {
		return c
	}
	return nil
}

// lateness is of a certificate that was not renewed in time. An imported CA is renewed by a person: RotationPending says so.
func (a *attention) lateness(host string, o v1alpha1.Object) {
	cert := o.IssuedCertificate()
	end, renewal := cert.NotAfter.Time, cert.RenewalTime.Time
	if end.IsZero() {
		return
	}
	if a.past(end) {
		a.add(broken, o, host, v1alpha1.AttentionExpired, end,
			fmt.Sprintf("see that the operator runs and can issue: the certificate of %s/%s expired, and was not renewed", o.Kind(), o.GetName()))
		return
	}
	if ca, ok := o.(*v1alpha1.ClusterCA); ok && (ca.Spec.Source.IsImport() || ca.Status.Rotation.Phase != "") {
		return
	}
	if late := renewal.Add(end.Sub(renewal) / 4); !renewal.IsZero() && a.past(late) {
		a.add(endangered, o, host, v1alpha1.AttentionOverdue, late,
			fmt.Sprintf("see that the operator runs and can issue: the certificate of %s/%s was to be renewed at %s", o.Kind(), o.GetName(),
				renewal.UTC().Format(time.RFC3339)))
	}
}

// past says whether a moment has come; if not, that changes then.
func (a *attention) past(t time.Time) bool {
	if !a.now.Before(t) {
		return true
	}
	if a.next.IsZero() || t.Before(a.next) {
		a.next = t
	}
	return false
}

// authority is what a CA waits for.
func (a *attention) authority(o *v1alpha1.ClusterCA) {
	if c := is(o, v1alpha1.RedeliveryRequiredCondition); c != nil {
		a.add(broken, o, "", c.Type, c.LastTransitionTime.Time, "deliver to them what is issued now: "+c.Message)
	}
	if c := is(o, v1alpha1.RotationPendingCondition); c != nil {
		a.add(waiting, o, "", c.Type, c.LastTransitionTime.Time, c.Message)
	}
	if c := is(o, v1alpha1.WithdrawalPendingCondition); c != nil {
		a.add(waiting, o, "", c.Type, c.LastTransitionTime.Time, fmt.Sprintf(
			"once everything uses what its Secrets hold, set spec.certificateAuthorities.%s.rotation.approved.withdrawal to %s, or "+
				"spec.certificates.delivery.acceptAssumed to 'Always': the old CA is withdrawn then. Until then both are trusted", a.fieldOf(o.Name),
			shell.Quote(o.Status.Rotation.ID)))
	}
	a.pending(o, is(o, v1alpha1.RotationBlockedCondition), o.Status.Rotation.Pending)
}

// fieldOf is where spec.certificateAuthorities has a CA.
func (a *attention) fieldOf(ca string) string {
	switch ca {
	case EtcdCAName(a.Name):
		return "etcd"
	case FrontProxyCAName(a.Name):
		return "frontProxy"
	default:
		return "cluster"
	}
}

// key is what a service account key waits for.
func (a *attention) key(o *v1alpha1.ServiceAccountKey) {
	if c := is(o, v1alpha1.KeyRemovalDueCondition); c != nil && c.Reason != v1alpha1.ReasonKeyRetained {
		a.add(waiting, o, "", c.Reason, c.LastTransitionTime.Time, c.Message)
	}
	a.pending(o, nil, o.Status.Pending)
}

// pending are the consumers that a rotation waits for, and that wait for a person. Where none does, the rotation can be overdue all the same.
func (a *attention) pending(o v1alpha1.Object, blocked *metav1.Condition, pending []v1alpha1.PendingConsumer) {
	named := false
	for _, p := range pending {
		child := a.There[Key{p.Kind, p.Name}]
		switch {
		case p.Edit == "" || p.Reason == v1alpha1.ReasonAssumed:
			continue
		case child != nil && (is(child, v1alpha1.StalledCondition) != nil || lagging(child) != nil): // it is told there
		case child != nil:
			a.add(waiting, child, p.Host, p.Reason, p.Since.Time, p.Edit)
		default:
			a.add(waiting, o, "", p.Reason, p.Since.Time, p.Edit)
		}
		named = true
	}
	if blocked != nil && !named {
		a.add(waiting, o, "", blocked.Type, blocked.LastTransitionTime.Time, "see why they are late, or raise rotation.progressDeadline: "+blocked.Message)
	}
}

// unusedFor is how long what is issued may not be in use on a host before a person should see to that: components may restart at night.
const unusedFor = 24 * time.Hour

// host is what keeps a host from using what is issued for it, where time alone does not help.
func (a *attention) host(host string, o v1alpha1.Object) {
	if c := is(o, v1alpha1.AgentCredentialExpiringCondition); c != nil {
		edit := fmt.Sprintf("bring a new token with `clusterpki agent install --token-only -n %s --host %s`: %s", o.GetNamespace(), host, c.Message)
		a.add(behind, o, host, c.Type, c.LastTransitionTime.Time, edit)
	}
	c := unused(o)
	if c == nil {
		return
	}
	since, edit := c.LastTransitionTime.Time, c.Message
	switch c.Reason {
	case v1alpha1.ReasonAgentNotStarted:
		late := since.Add(leaseDuration(o))
		if first, known := a.notStarted[host]; a.past(late) && (!known || late.Before(first)) {
			a.notStarted[host] = late
		}
		return
	case v1alpha1.ReasonNotInstalled, v1alpha1.ReasonNotInUse:
		if !a.past(since.Add(unusedFor)) {
			return
		}
		edit += fmt.Sprintf(", for more than a day: see the log of the agent on host %q", host)
	case v1alpha1.ReasonLeaseExpired:
		edit += fmt.Sprintf("; start the agent on host %q, or take the host out of the spec", host)
	}
	a.add(behind, o, host, c.Reason, since, edit)
}

// leaseDuration is how long an object's agent may say nothing.
func leaseDuration(o v1alpha1.Object) time.Duration {
	switch o := o.(type) {
	case *v1alpha1.APIServerCertificate:
		return o.Spec.Delivery.LeaseDuration.Duration
	case *v1alpha1.NodeCredential:
		return o.Spec.Delivery.LeaseDuration.Duration
	default:
		return 0
	}
}

// agents are the hosts on which no agent was started: one item for all of them, as long as a cluster is being set up.
func (a *attention) agents() {
	if len(a.notStarted) == 0 {
		return
	}
	hosts := slices.Sorted(maps.Keys(a.notStarted))
	since := a.notStarted[hosts[0]]
	for _, at := range a.notStarted {
		if at.Before(since) {
			since = at
		}
	}
	host, on := "", fmt.Sprintf("%d hosts", len(hosts))
	if len(hosts) == 1 {
		host, on = hosts[0], fmt.Sprintf("host %q", hosts[0])
	}
	named := strings.Join(hosts[:min(len(hosts), maxHosts)], ", ")
	if more := len(hosts) - maxHosts; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	a.add(behind, nil, host, v1alpha1.ReasonAgentNotStarted, since, fmt.Sprintf(
		"install and start the agent on %s, where none has ever reported: %s; `clusterpki agent install --host HOST` prints what brings it there", on, named))
}

// maxHosts is how many hosts are named where all would be too many.
const maxHosts = 3

// unused is the condition that says why a host does not use what is issued.
func unused(o v1alpha1.Object) *metav1.Condition {
	for _, kind := range []string{v1alpha1.TrustAcknowledgedCondition, v1alpha1.ServingCondition} {
		if c := meta.FindStatusCondition(*o.StatusConditions(), kind); c != nil && c.Status == metav1.ConditionFalse {
			return c
		}
	}
	return nil
}

// lagging is unused where a person has to do something about that.
func lagging(o v1alpha1.Object) *metav1.Condition {
	c := unused(o)
	if c == nil || c.Reason == v1alpha1.ReasonNotInstalled || c.Reason == v1alpha1.ReasonNotInUse {
		return nil
	}
	return c
}

// maxConfirm is how many hosts an edit names: it is to be copied from.
const maxConfirm = 100

// ConfirmRemovals are the hosts that a person has to confirm before they are removed, and what to write; "" for none.
func ConfirmRemovals(r Removals, confirmed []string) (hosts []Removal, edit string) {
	var names []string
	for _, h := range r.Hosts {
		if h.Reason == v1alpha1.RemovalUnconfirmed {
			hosts, names = append(hosts, h), append(names, h.Host)
		}
	}
	if len(hosts) == 0 {
		return nil, ""
	}
	all := append(slices.Clone(confirmed), names...)
	text := strings.Join(all[:min(len(all), maxConfirm)], ", ")
	if more := len(all) - maxConfirm; more > 0 {
		text += fmt.Sprintf(", … (%d more)", more)
	}
	return hosts, fmt.Sprintf("to remove them, write `spec.removal.confirmed: [%s]`; to keep them, put them back", text)
}

// removals are the hosts that have left, and whose removal a person has to confirm.
func (a *attention) removals() {
	hosts, edit := ConfirmRemovals(a.Removals, a.Confirmed)
	if len(hosts) == 0 {
		return
	}
	host, since := "", hosts[0].Since
	if len(hosts) == 1 {
		host = hosts[0].Host
	}
	for _, h := range hosts {
		if h.Since.Before(since) {
			since = h.Since
		}
	}
	a.add(waiting, nil, host, v1alpha1.ReasonConfirmationRequired, since, edit)
}
