package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
	"clusterpki.io/operator/internal/limits"
	"clusterpki.io/operator/internal/stall"
)

// maxTold is how many objects, hosts or problems a message names.
const maxTold = 3

// problem are the errors of a visit: its own, and what keeps single children from being as they should.
func (v clusterView) problem(err error) []error {
	out := []error{err}
	if len(v.result.Problems) == 0 {
		return out
	}
	of := slices.Clone(v.result.Problems)
	var texts []string
	for _, p := range of[:min(len(of), maxTold)] {
		texts = append(texts, p.Message)
	}
	if more := len(of) - maxTold; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return append(out, stall.Because(of[0].Reason, "%s", strings.Join(texts, "; ")))
}

// finish writes the status and says when to look again.
func (r *clusterPKIs) finish(ctx context.Context, c *v1alpha1.ClusterPKI, v clusterView, err error) (ctrl.Result, error) {
	before := c.DeepCopy()
	rep := report{
		err: err, here: r.home.Serves(c) != nil || stall.Is(err) && !v.known && !r.home.Owns(c), named: c.Status.Authority.NamespaceUID,
	}
	out := outcome{nextCheck: sooner(v.removals.Next, v.reach.Next)}
	if stall.Is(err) && !v.known {
		rep.known, rep.unusable = true, errors.New("what it has made is not known")
	}
	if v.known {
		c.Status.Authority.NamespaceUID = r.home.UID()
		rep.known = true
		sum := summarize(v)
		sum.report(c, v, &rep)
		if v.wanted != nil && v.kept {
			sum.status(c, v, r.clock.Now())
			c.Status.Endpoint, c.Status.RetainedSANs = v.reach.Endpoint, v.reach.Retained
			rep.warnings = append(rep.warnings, endpointPending(c, v.reach)...)
		}
		rep.warnings = append(rep.warnings, removalPending(c, v)...)
		c.Status.Removals = removalStatuses(v.removals)
	}
	if v.known || stall.Is(err) {
		out.nextCheck = sooner(out.nextCheck, r.attend(c, v, err))
	}
	result, failed := r.conclude(ctx, before, c, rep, out)
	r.announceRemoval(c, before.Status.Conditions, v)
	return result, failed
}

// announceRemoval says when hosts have left the lists and wait for a person, and when children were removed.
func (r *clusterPKIs) announceRemoval(c *v1alpha1.ClusterPKI, old []metav1.Condition, v clusterView) {
	now := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.RemovalPendingCondition)
	if now != nil && meta.FindStatusCondition(old, v1alpha1.RemovalPendingCondition) == nil {
		r.events.Eventf(c, nil, corev1.EventTypeWarning, now.Reason, "Remove", "%s", now.Message)
	}
	if v.result.Removed > 0 {
		r.events.Eventf(c, nil, corev1.EventTypeNormal, eventRemoved, "Remove", "Removed %d objects of hosts that have left the lists", v.result.Removed)
	}
}

// eventRemoved is the reason of the event that objects were removed.
const eventRemoved = "Removed"

// summary is what the children of a cluster are, taken together.
type summary struct {
	unready      []cluster.Child // in the order in which they depend on one another
	stalled      bool            // one of those waits for a person
	behind       []v1alpha1.HostBehind
	certificates int
	nextExpiry   time.Time
	oldestAgent  string
}

func summarize(v clusterView) summary {
	var s summary
	for _, c := range v.wanted {
		o := v.view.Children[c.Key()]
		reason, since := cluster.Lags(o)
		if reason != "" && c.Host != "" && (len(s.behind) == 0 || s.behind[len(s.behind)-1].Host != c.Host) {
			s.behind = append(s.behind, v1alpha1.HostBehind{Host: c.Host, Object: c.Key().String(), Reason: reason, Since: since})
		}
		if !cluster.IsReady(o) {
			s.unready = append(s.unready, c)
			s.stalled = s.stalled || o != nil && meta.IsStatusConditionTrue(*o.StatusConditions(), v1alpha1.StalledCondition)
		}
		if o == nil {
			continue
		}
		s.oldestAgent = cluster.OlderVersion(s.oldestAgent, cluster.AgentVersion(o))
		if cert := o.IssuedCertificate(); cert.SerialNumber != "" {
			s.certificates++
			s.nextExpiry = sooner(s.nextExpiry, cert.NotAfter.Time)
		}
	}
	return s
}

// report says whether everything is issued and usable, and whether the hosts use it.
func (s summary) report(c *v1alpha1.ClusterPKI, v clusterView, rep *report) {
	hosts := len(v.wanted.Hosts())
	rep.message = fmt.Sprintf("%d objects are Ready, of %d hosts", len(v.wanted), hosts)
	if v.wanted == nil { // the spec is not applied
		rep.unusable = errors.New("its spec cannot be applied")
		if ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ReadyCondition); ready != nil && ready.Status == metav1.ConditionTrue {
			rep.unusable, rep.message = nil, "the objects are as they were"
		}
		return
	}
	if len(s.unready) > 0 {
		text := fmt.Sprintf("%d of %d objects are not Ready: %s", len(s.unready), len(v.wanted), tell(s.unready, v))
		rep.unusable = errors.New(text)
		if !s.stalled {
			rep.reason, rep.waiting = v1alpha1.ReasonChildrenPending, text
		}
	}
	if v.result.Left > 0 {
		rep.reason, rep.waiting = v1alpha1.ReasonChildrenPending, fmt.Sprintf("%d objects are still to be made, changed or removed", v.result.Left)
	}
	if w := v.result.Wave; len(w.Waiting) > 0 && rep.waiting == "" {
		rep.reason = v1alpha1.ReasonAwaitingTurn
		rep.waiting = fmt.Sprintf("what was edited waits for its turn on %d hosts (%s): %s", len(w.Waiting), firstOf(w.Waiting), awaited(w.For))
	}
	up := metav1.Condition{
		Type: v1alpha1.HostsUpToDateCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonInUse,
		Message: fmt.Sprintf("all %d hosts use what is issued for them", hosts),
	}
	if len(s.behind) > 0 {
		first := s.behind[0]
		up.Status, up.Reason = metav1.ConditionFalse, first.Reason
		up.Message = fmt.Sprintf("%d of %d hosts do not use what is issued for them: %s", len(s.behind), hosts, tellHosts(s.behind))
	}
	rep.warnings = append(rep.warnings, up)
}

func firstOf(hosts []string) string {
	return andMore(slices.Clone(hosts[:min(len(hosts), maxTold)]), len(hosts))
}

// awaited says whom a wave waits for.
func awaited(hosts []string) string {
	if len(hosts) == 0 {
		return "others come first"
	}
	return fmt.Sprintf("%s has to use what is issued for it before; one that cannot is out of the way with delivery.mode 'Manual', or once it has left "+
		"the lists", firstOf(hosts))
}

func tell(unready []cluster.Child, v clusterView) string {
	var texts []string
	for _, c := range unready[:min(len(unready), maxTold)] {
		text := c.Key().String()
		if o := v.view.Children[c.Key()]; o == nil {
			text += " is not there"
		} else if ready := meta.FindStatusCondition(*o.StatusConditions(), v1alpha1.ReadyCondition); ready != nil {
			text += fmt.Sprintf(" (%s: %s)", ready.Reason, ready.Message)
		}
		texts = append(texts, text)
	}
	return andMore(texts, len(unready))
}

func tellHosts(behind []v1alpha1.HostBehind) string {
	var texts []string
	for _, h := range behind[:min(len(behind), maxTold)] {
		texts = append(texts, fmt.Sprintf("%s (%s: %s)", h.Host, h.Object, h.Reason))
	}
	return andMore(texts, len(behind))
}

func andMore(texts []string, all int) string {
	out := strings.Join(texts, ", ")
	if more := all - len(texts); more > 0 {
		out += fmt.Sprintf(", and %d more", more)
	}
	return out
}

// status describes the cluster.
func (s summary) status(c *v1alpha1.ClusterPKI, v clusterView, now time.Time) {
	hosts := len(v.wanted.Hosts())
	st := &c.Status
	st.Hosts, st.HostsBehind, st.HostsUpToDate = count32(hosts), count32(len(s.behind)), count32(hosts-len(s.behind))
	st.Behind = slices.Clone(s.behind[:min(len(s.behind), limits.Items(v1alpha1.KindClusterPKI, "behind"))])
	st.Certificates, st.Agents = count32(s.certificates), v1alpha1.AgentsStatus{OldestVersion: s.oldestAgent}
	st.NextExpiry = metav1.Time{}
	if !s.nextExpiry.IsZero() {
		st.NextExpiry = metav1.NewTime(s.nextExpiry)
	}
	st.Rotations = rotationStatuses(v, st.Rotations, now)
}

// endpointPending says that kubeconfigs name another endpoint than the spec, and what for.
func endpointPending(c *v1alpha1.ClusterPKI, r cluster.Reach) []metav1.Condition {
	if r.Unproved == "" {
		return nil
	}
	return []metav1.Condition{{
		Type: v1alpha1.EndpointPendingCondition, Status: metav1.ConditionTrue, Reason: r.Reason,
		Message: fmt.Sprintf("kubeconfigs name %s still: they are to name %s once the API server of each control plane host is seen to serve a certificate "+
			"for that, and that of host %q is not yet", r.Endpoint, c.Spec.Endpoint, r.Unproved),
	}}
}

// removalPending says which hosts a person has to confirm, and how.
func removalPending(c *v1alpha1.ClusterPKI, v clusterView) []metav1.Condition {
	hosts, edit := cluster.ConfirmRemovals(v.removals, c.Spec.Removal.Confirmed)
	if len(hosts) == 0 {
		return nil
	}
	return []metav1.Condition{{
		Type: v1alpha1.RemovalPendingCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonConfirmationRequired,
		Message: fmt.Sprintf("%d hosts are not asked for any more, and nothing of them is removed: %s", len(hosts), edit),
	}}
}

func removalStatuses(r cluster.Removals) []v1alpha1.HostRemoval {
	var out []v1alpha1.HostRemoval
	for _, h := range r.Hosts {
		if h.Reason != "" && len(out) < limits.Items(v1alpha1.KindClusterPKI, "removals") {
			out = append(out, v1alpha1.HostRemoval{Host: h.Host, Since: metav1.NewTime(h.Since), Reason: h.Reason})
		}
	}
	return out
}
