package cluster

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"clusterpki.io/operator/api/v1alpha1"
)

// Recorded is a child that was made, as the record has it.
type Recorded struct {
	Key
	Host    string    // "" for what is the whole cluster's, which never goes
	Guarded bool      // see Guarded
	Made    time.Time // when its object was made; zero where there is none
}

// Guarded says whether an object is one whose host runs an API server or a member of etcd: it goes only where a person has named the host.
func Guarded(o v1alpha1.Object) bool {
	switch o := o.(type) {
	case *v1alpha1.APIServerCertificate:
		return true
	case *v1alpha1.NodeCredential:
		return o.Spec.Role == etcdServer || o.Spec.Role == etcdPeer
	default:
		return false
	}
}

// Removal is a host for which there are children that the spec does not ask for any more: it has left the lists, or a role has.
type Removal struct {
	Host     string
	Since    time.Time
	Reason   v1alpha1.RemovalReason // why its children stay; "" where they go now
	Children []Key                  // those that are not asked for
}

// Removals are all hosts with children that are not asked for, by their names.
type Removals struct {
	Hosts []Removal
	Left  map[string]time.Time // since when, to be recorded
	Next  time.Time            // when the delay of the next one has passed; zero where none waits for that
}

// Removes says which children go now, and which stay and why. left is since when hosts have had children that are not asked for, as it was recorded.
// One whose children are all asked for was never gone.
func Removes(spec v1alpha1.RemovalSpec, recorded []Recorded, wanted Children, left map[string]time.Time, now time.Time) Removals {
	delay := ptr.Deref(spec.Delay, metav1.Duration{Duration: time.Hour}).Duration // absent only where no API server has set the default
	surplus := surplusOf(recorded, wanted)
	all := countBefore(recorded, firstLeft(surplus, left, now))
	out := Removals{Left: make(map[string]time.Time, len(surplus))}
	unnamed := 0
	for _, name := range slices.Sorted(maps.Keys(surplus)) {
		r := Removal{Host: name, Since: now.Truncate(time.Second), Children: keys(surplus[name])}
		if since, known := left[name]; known {
			r.Since = since
		}
		out.Left[name] = r.Since
		guarded := slices.ContainsFunc(recorded, func(c Recorded) bool { return c.Guarded && c.Host == name })
		switch named := slices.Contains(spec.Confirmed, name); {
		case spec.Policy == v1alpha1.RemovalKeep:
			r.Reason = v1alpha1.RemovalKept
		case guarded && !named:
			r.Reason = v1alpha1.RemovalUnconfirmed
		case now.Before(r.Since.Add(delay)):
			r.Reason = v1alpha1.RemovalDelayed
		}
		if !guarded && !slices.Contains(spec.Confirmed, name) {
			unnamed++
		}
		out.Hosts = append(out.Hosts, r)
	}
	out.bound(spec, unnamed, all)
	for _, r := range out.Hosts {
		if due := r.Since.Add(delay); r.Reason == v1alpha1.RemovalDelayed && (out.Next.IsZero() || due.Before(out.Next)) {
			out.Next = due
		}
	}
	return out
}

// bound lets none of the hosts go that nobody has named, where these are too many.
func (r *Removals) bound(spec v1alpha1.RemovalSpec, unnamed, all int) {
	if unnamed <= most(spec.MaxHosts, all) {
		return
	}
	for i, h := range r.Hosts {
		if h.Reason != v1alpha1.RemovalKept && !slices.Contains(spec.Confirmed, h.Host) {
			r.Hosts[i].Reason = v1alpha1.RemovalUnconfirmed
		}
	}
}

// firstLeft is when the first one of the hosts left that are to go.
func firstLeft(surplus map[string][]Recorded, left map[string]time.Time, now time.Time) time.Time {
	first := now
	for name := range surplus {
		if since, known := left[name]; known && since.Before(first) {
			first = since
		}
	}
	return first
}

// countBefore is how many hosts there were at a time. Those that came later, with the edit that let others go, are no measure for how many may go.
func countBefore(recorded []Recorded, at time.Time) int {
	hosts := map[string]bool{}
	for _, c := range recorded {
		if c.Host != "" && !c.Made.IsZero() && !c.Made.After(at) {
			hosts[c.Host] = true
		}
	}
	return len(hosts)
}

// surplusOf are the children that are not asked for, by host.
func surplusOf(recorded []Recorded, wanted Children) map[string][]Recorded {
	asked := make(map[Key]bool, len(wanted))
	for _, c := range wanted {
		asked[c.Key()] = true
	}
	surplus := map[string][]Recorded{}
	for _, c := range recorded {
		if c.Host != "" && !asked[c.Key] {
			surplus[c.Host] = append(surplus[c.Host], c)
		}
	}
	return surplus
}

func keys(of []Recorded) []Key {
	out := make([]Key, 0, len(of))
	for _, c := range of {
		out = append(out, c.Key)
	}
	slices.SortFunc(out, func(a, b Key) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return out
}

// most is how many hosts may go without being named: a percentage is rounded down, and is one host at least, but for none.
func most(limit *intstr.IntOrString, all int) int {
	if limit == nil {
		limit = new(intstr.FromString("10%"))
	}
	if limit.Type == intstr.Int {
		return limit.IntValue()
	}
	percent, err := strconv.Atoi(strings.TrimSuffix(limit.StrVal, "%"))
	if err != nil || percent <= 0 { // admission lets no other text in
		return 0
	}
	return max(1, all*percent/100)
}
