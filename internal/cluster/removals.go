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

// Gone is a removal that was begun.
type Gone struct {
	Host string    `json:"host"`
	At   time.Time `json:"at"`
	// Named: a person had named the host.
	Named bool `json:"named,omitempty"`
}

// Removals are all hosts with children that are not asked for, by their names.
type Removals struct {
	Hosts []Removal
	Left  map[string]time.Time // since when, to be recorded
	Gone  []Gone               // removals that count still, to be recorded
	Next  time.Time            // when time alone lets the next one go; zero where none waits for that
}

// window is how long a removal that nobody has named counts for how many more may go, or the delay, if that is longer: several edits are no way around
// what one must not do.
const window = 24 * time.Hour

// History is what is recorded of earlier visits: since when hosts have had children that are not asked for, and the removals that count still.
type History struct {
	Left map[string]time.Time
	Gone []Gone
}

// Removes says which children go now, and which stay and why. One whose children are all asked for was never gone.
func Removes(spec v1alpha1.RemovalSpec, recorded []Recorded, wanted Children, before History, now time.Time) Removals {
	delay := ptr.Deref(spec.Delay, metav1.Duration{Duration: time.Hour}).Duration // absent only where no API server has set the default
	surplus := surplusOf(recorded, wanted)
	r := removing{spec: spec, delay: delay, counts: max(window, delay), now: now.Truncate(time.Second)}
	r.Left = make(map[string]time.Time, len(surplus))
	r.remember(before.Gone, now)
	for _, name := range slices.Sorted(maps.Keys(surplus)) {
		h := Removal{Host: name, Since: r.now, Children: keys(surplus[name])}
		if since, known := before.Left[name]; known {
			h.Since = since
		}
		r.Left[name] = h.Since
		guarded := slices.ContainsFunc(recorded, func(c Recorded) bool { return c.Guarded && c.Host == name })
		h.Reason = r.reason(h, guarded, now)
		if !guarded && !r.named(h) && !r.begun(h) {
			r.unnamed++
		}
		r.Hosts = append(r.Hosts, h)
	}
	r.bound(recorded)
	r.begin()
	return r.Removals
}

// removing decides about removals.
type removing struct {
	Removals
	spec    v1alpha1.RemovalSpec
	delay   time.Duration
	counts  time.Duration // how long a removal counts
	now     time.Time
	unnamed int // hosts that nobody has named, and of which it is to be decided
}

// remember keeps the removals that count still: of those that were named, as long as the name stands in the spec.
func (r *removing) remember(gone []Gone, now time.Time) {
	for _, g := range gone {
		if g.Named && slices.Contains(r.spec.Confirmed, g.Host) || !g.Named && now.Before(g.At.Add(r.counts)) {
			r.Gone = append(r.Gone, g)
		}
	}
}

// reason is why the children of a host stay, but for the bound.
func (r *removing) reason(h Removal, guarded bool, now time.Time) v1alpha1.RemovalReason {
	switch {
	case r.spec.Policy == v1alpha1.RemovalKeep:
		return v1alpha1.RemovalKept
	case guarded && !r.named(h):
		return v1alpha1.RemovalUnconfirmed
	case now.Before(h.Since.Add(r.delay)):
		return v1alpha1.RemovalDelayed
	default:
		return ""
	}
}

// begin records the removals that begin now, and when the next one may.
func (r *removing) begin() {
	for _, h := range r.Hosts {
		switch {
		case h.Reason == v1alpha1.RemovalDelayed:
			r.sooner(h.Since.Add(r.delay))
		case h.Reason == "" && !r.begun(h):
			r.Gone = append(r.Gone, Gone{Host: h.Host, At: r.now, Named: r.named(h)})
		}
	}
}

// named says whether a person has named a host for this removal. A name counts once: one that stays in the spec says nothing of a host that came back later.
func (r *removing) named(h Removal) bool {
	used := slices.ContainsFunc(r.Gone, func(g Gone) bool { return g.Named && g.Host == h.Host && g.At.Before(h.Since) })
	return slices.Contains(r.spec.Confirmed, h.Host) && !used
}

// begun says whether a removal was decided on before, and goes on.
func (r *removing) begun(h Removal) bool {
	return slices.ContainsFunc(r.Gone, func(g Gone) bool { return g.Host == h.Host && !g.At.Before(h.Since) })
}

// bound lets none of the hosts go that nobody has named, where these are too many, with those that have gone of late. How many may go is measured by the
// hosts that were there before all of that, and not by any that came with it.
func (r *removing) bound(recorded []Recorded) {
	at, gone := r.now.Add(-r.counts), map[string]bool{}
	for _, since := range r.Left {
		if since.Before(at) {
			at = since
		}
	}
	count := r.unnamed
	var frees time.Time
	for _, g := range r.Gone {
		if g.Named {
			continue
		}
		gone[g.Host] = true
		count++
		if end := g.At.Add(r.counts); frees.IsZero() || end.Before(frees) {
			frees = end
		}
	}
	if count <= most(r.spec.MaxHosts, countBefore(recorded, gone, at)) {
		return
	}
	for i, h := range r.Hosts {
		if h.Reason != v1alpha1.RemovalKept && !r.named(h) && !r.begun(h) {
			r.Hosts[i].Reason = v1alpha1.RemovalUnconfirmed
			r.sooner(frees)
		}
	}
}

func (r *removing) sooner(t time.Time) {
	if !t.IsZero() && (r.Next.IsZero() || t.Before(r.Next)) {
		r.Next = t
	}
}

// countBefore is how many hosts there were at a time, with those that have gone since.
func countBefore(recorded []Recorded, gone map[string]bool, at time.Time) int {
	hosts := maps.Clone(gone)
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
