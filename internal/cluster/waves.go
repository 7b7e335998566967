package cluster

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
)

// Wave is which hosts the changes of an edit reach now: a few at a time, so that what breaks one host breaks no other one.
type Wave struct {
	// Hosts are those whose objects may be changed now.
	Hosts map[string]bool
	// Waiting are those whose changes wait, in their order, and For those that these wait for: they do not use yet what is issued for them.
	Waiting, For []string
}

// defaultUnavailable is how many of the nodes may not use yet what is issued for them, unless spec.rotation says otherwise.
var defaultUnavailable = intstr.FromString("25%")

// Wave says which of some hosts, for which there are changes, may get them: of the control plane and of etcd one at a time, of the nodes so many as
// limit says, a percentage of them rounded down, one at least. A host that does not use yet what was issued for it counts, but for one on which no agent
// was ever started. It gets its own changes all the same: they may be what it needs.
func (cs Children) Wave(there map[Key]v1alpha1.Object, changes map[string]bool, limit *intstr.IntOrString) Wave {
	w := Wave{Hosts: map[string]bool{}}
	guarded, busy := map[string]bool{}, map[string]bool{}
	for _, c := range cs {
		guarded[c.Host] = guarded[c.Host] || Guarded(c.Object)
		busy[c.Host] = busy[c.Host] || isUnderWay(there[c.Key()])
	}
	hosts := cs.Hosts()
	for _, control := range []bool{true, false} {
		of := slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return guarded[h] != control })
		left := 1
		if !control {
			left = most(limitOr(limit), len(of))
		}
		var under []string
		for _, h := range of {
			if busy[h] {
				under, left = append(under, h), left-1
			}
		}
		waiting := len(w.Waiting)
		for _, h := range of {
			switch {
			case !changes[h]:
			case busy[h]:
				w.Hosts[h] = true
			case left > 0:
				w.Hosts[h], left = true, left-1
			default:
				w.Waiting = append(w.Waiting, h)
			}
		}
		if len(w.Waiting) > waiting {
			w.For = append(w.For, under...)
		}
	}
	return w
}

func limitOr(limit *intstr.IntOrString) *intstr.IntOrString {
	if limit == nil {
		return &defaultUnavailable
	}
	return limit
}

// isUnderWay says whether an object was changed, and its host is not seen to use that yet. One that could not be issued anew has what it had.
func isUnderWay(o v1alpha1.Object) bool {
	switch {
	case o == nil || !o.GetDeletionTimestamp().IsZero():
		return false
	case *o.ObservedGeneration() != o.GetGeneration():
		return true
	}
	reason, _ := Lags(o)
	return meta.IsStatusConditionTrue(*o.StatusConditions(), v1alpha1.ReadyCondition) && reason != "" && reason != v1alpha1.ReasonAgentNotStarted
}
