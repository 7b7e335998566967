package controller

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/limits"
	"clusterpki.io/operator/internal/stall"
	"clusterpki.io/operator/internal/timeline"
)

// rotationStatuses are the rotations under way, and those that wait for another one.
func rotationStatuses(v clusterView, before []v1alpha1.ClusterRotationStatus, now time.Time) []v1alpha1.ClusterRotationStatus {
	var under, queued []v1alpha1.ClusterRotationStatus
	for _, c := range v.wanted {
		s := v1alpha1.ClusterRotationStatus{Name: c.Object.GetName()}
		switch o := v.view.Children[c.Key()].(type) {
		case *v1alpha1.ClusterCA:
			s.Phase, s.StartTime, s.Pending = string(o.Status.Rotation.Phase), o.Status.Rotation.StartTime, o.Status.Rotation.Pending
			s.ExpectedTime = expectedTime(v, o, before, now)
		case *v1alpha1.ServiceAccountKey:
			s.Phase, s.StartTime, s.Pending = string(o.Status.Rotation.Phase), o.Status.Rotation.StartTime, o.Status.Pending
		}
		switch {
		case s.Phase != "":
			s.Pending = s.Pending[:min(len(s.Pending), limits.Items(v1alpha1.KindClusterPKI, "rotations", "pending"))]
			under = append(under, s)
		case v.triggers[s.Name].Queued:
			queued = append(queued, v1alpha1.ClusterRotationStatus{Name: s.Name, Phase: v1alpha1.PhaseQueued})
		}
	}
	return append(under, queued...)
}

// expectedTime is about when the rotation of a CA will have ended. One that was said before stays while it is about right: the status is not to be
// written because time passes.
func expectedTime(v clusterView, ca *v1alpha1.ClusterCA, before []v1alpha1.ClusterRotationStatus, now time.Time) metav1.Time {
	r, ok := timeline.UnderWay(now, ca, v.specs().Of(ca.Name))
	if !ok || r.Expected.At.IsZero() || r.Expected.Unknown != "" {
		return metav1.Time{}
	}
	at := r.Expected.At.UTC().Truncate(time.Minute)
	if i := slices.IndexFunc(before, func(s v1alpha1.ClusterRotationStatus) bool { return s.Name == ca.Name }); i >= 0 {
		was := before[i].ExpectedTime
		if about := max(expectedWithin, at.Sub(now)/10); !was.IsZero() && at.Sub(was.Time).Abs() < about {
			return was
		}
	}
	return metav1.NewTime(at)
}

// expectedWithin is how far an expected time may be off before another one is written.
const expectedWithin = 5 * time.Minute

// specs are the objects that say who depends on which CA.
func (v clusterView) specs() consumers.Specs {
	var out consumers.Specs
	for _, o := range v.view.Children {
		switch o := o.(type) {
		case *v1alpha1.ClusterCA:
			out.CAs = append(out.CAs, *o)
		case *v1alpha1.APIServerCertificate:
			out.Servers = append(out.Servers, *o)
		case *v1alpha1.NodeCredential:
			out.Credentials = append(out.Credentials, *o)
		}
	}
	return out
}

// attend puts into the status what a person should see to, and says when time adds something to that.
func (r *clusterPKIs) attend(c *v1alpha1.ClusterPKI, v clusterView, err error) time.Time {
	items, next := cluster.Attention(cluster.Standing{
		Name: c.Name, Children: v.standing(), There: v.view.Children, Faults: faults(c, v, err, r.clock.Now()),
		Removals: v.removals, Confirmed: c.Spec.Removal.Confirmed,
	}, r.clock.Now())
	c.Status.AttentionCount = count32(len(items))
	c.Status.Attention = slices.Clone(items[:min(len(items), limits.Items(v1alpha1.KindClusterPKI, "attention"))])
	return next
}

// standing are the children that are asked for; where the spec cannot be applied, those that there are.
func (v clusterView) standing() cluster.Children {
	if v.wanted != nil {
		return v.wanted
	}
	var out cluster.Children
	for _, o := range v.view.Children {
		out = append(out, cluster.Child{Object: o, Host: v1alpha1.HostName(o)})
	}
	slices.SortFunc(out, cluster.ByKey)
	return out
}

// faults are what keeps the ClusterPKI itself from being as its spec says. They are as old as its condition Stalled.
func faults(c *v1alpha1.ClusterPKI, v clusterView, err error, now time.Time) []cluster.Fault {
	since := now
	if was := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.StalledCondition); was != nil && was.Status == metav1.ConditionTrue {
		since = was.LastTransitionTime.Time
	}
	var out []cluster.Fault
	for _, p := range v.result.Problems {
		out = append(out, cluster.Fault{Reason: p.Reason, Message: p.Message, Since: since})
	}
	if st, ok := stall.Of(err); ok && len(out) == 0 {
		out = append(out, cluster.Fault{Reason: st.Reason, Message: st.Message, Since: since})
	}
	return out
}
