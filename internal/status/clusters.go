package status

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
)

// Cluster is one ClusterPKI.
type Cluster struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// State is without the fields of a certificate: it has many.
	State
	// Endpoint is spec.endpoint.
	Endpoint string `json:"endpoint"`
	// HostCount is how many hosts there are, HostsBehind how many do not use what is issued for them; absent where the operator has not counted them yet.
	HostCount   *int32 `json:"hostCount,omitempty"`
	HostsBehind *int32 `json:"hostsBehind,omitempty"`
	// Certificates is how many certificates are in place.
	Certificates *int32 `json:"certificates,omitempty"`
	// NextExpiry is when the first of them expires, unless it is renewed before.
	NextExpiry time.Time `json:"nextExpiry,omitzero"`
	// Rotations are those that are under way, or queued.
	Rotations []v1alpha1.ClusterRotationStatus `json:"rotations,omitempty"`
	// Removals are the first hosts that have left the lists, and whose objects are still there.
	Removals []v1alpha1.HostRemoval `json:"removals,omitempty"`
	// Attention are the first things that a person should see to, the gravest first; AttentionCount is how many there are.
	Attention      []v1alpha1.ClusterAttention `json:"attention,omitempty"`
	AttentionCount int32                       `json:"attentionCount"`
	// Hosts are the hosts that its spec asks for; only in a report of one ClusterPKI.
	Hosts []Host `json:"hosts,omitempty"`
}

// Host is one host of a ClusterPKI.
type Host struct {
	Name string `json:"name"`
	// UpToDate says whether the host uses what is issued for it.
	UpToDate bool `json:"upToDate"`
	// Reason is why it does not, in one word, Object what shows that, as 'kind/name', and Since when that began.
	Reason string    `json:"reason,omitempty"`
	Object string    `json:"object,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	// Objects is how many objects are for it, NextExpiry when the first certificate of them expires, and NextRenewal when the first is renewed.
	Objects     int       `json:"objects"`
	NextExpiry  time.Time `json:"nextExpiry,omitzero"`
	NextRenewal time.Time `json:"nextRenewal,omitzero"`
}

func ofCluster(c *v1alpha1.ClusterPKI) subject {
	return subject{
		kind: KindClusterPKI, namespace: c.Namespace, name: c.Name, generation: c.Generation,
		observed: c.Status.ObservedGeneration, conditions: c.Status.Conditions,
	}
}

// clusterOf describes a ClusterPKI by its status.
func clusterOf(now time.Time, c *v1alpha1.ClusterPKI) Cluster {
	s := c.Status
	return Cluster{
		Namespace: c.Namespace, Name: c.Name, State: ofCluster(c).state(now), Endpoint: c.Spec.Endpoint,
		HostCount: s.Hosts, HostsBehind: s.HostsBehind, Certificates: s.Certificates, NextExpiry: s.NextExpiry.Time,
		Rotations: s.Rotations, Removals: s.Removals, Attention: s.Attention, AttentionCount: ptr.Deref(s.AttentionCount, 0),
	}
}

// clusters describes the ClusterPKIs of the namespace, by name.
func (b *builder) clusters() []Cluster {
	var out []Cluster
	for i := range b.objects.Clusters {
		c := &b.objects.Clusters[i]
		b.problems = append(b.problems, ofCluster(c).problems(b.now)...)
		out = append(out, clusterOf(b.now, c))
	}
	slices.SortFunc(out, func(x, y Cluster) int { return cmp.Compare(x.Name, y.Name) })
	return out
}

// BuildCluster makes the report of one ClusterPKI with its hosts; ok is false where there is none of the name. Of the objects that it has made there is
// what its own status says of them.
func BuildCluster(now time.Time, objects Objects, name string) (r Report, ok bool) {
	i := slices.IndexFunc(objects.Clusters, func(c v1alpha1.ClusterPKI) bool { return c.Name == name })
	if i < 0 {
		return Report{}, false
	}
	c := &objects.Clusters[i]
	r = emptyReport(now)
	one := clusterOf(now, c)
	one.Hosts = hostsOf(c, objects)
	r.ClusterPKIs = append(r.ClusterPKIs, one)
	r.Problems = append(r.Problems, ofCluster(c).problems(now)...)
	return r, true
}

// hostsOf are the hosts that the spec asks for, in their order; none where the spec cannot be applied.
func hostsOf(c *v1alpha1.ClusterPKI, objects Objects) []Host {
	children, err := cluster.Expand(c, cluster.Names{})
	if err != nil { // its condition Stalled says why
		return nil
	}
	there := objects.byKey(c.Namespace)
	var out []Host
	for _, child := range children {
		if child.Host == "" {
			continue
		}
		if len(out) == 0 || out[len(out)-1].Name != child.Host {
			out = append(out, Host{Name: child.Host, UpToDate: true})
		}
		out[len(out)-1].add(child, there[child.Key()])
	}
	return out
}

// add adds what one of its objects says of a host.
func (h *Host) add(child cluster.Child, o v1alpha1.Object) {
	if reason, since := cluster.Lags(o); reason != "" && h.UpToDate {
		h.UpToDate, h.Reason, h.Object, h.Since = false, reason, child.Key().String(), since.Time
	}
	if o == nil {
		return
	}
	h.Objects++
	cert := o.IssuedCertificate()
	h.NextExpiry, h.NextRenewal = sooner(h.NextExpiry, cert.NotAfter.Time), sooner(h.NextRenewal, cert.RenewalTime.Time)
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// byKey are the leaves of a namespace.
func (o Objects) byKey(namespace string) map[cluster.Key]v1alpha1.Object {
	out := map[cluster.Key]v1alpha1.Object{}
	for i := range o.Servers {
		if s := &o.Servers[i]; s.Namespace == namespace {
			out[cluster.Key{Kind: s.Kind(), Name: s.Name}] = s
		}
	}
	for i := range o.Credentials {
		if c := &o.Credentials[i]; c.Namespace == namespace {
			out[cluster.Key{Kind: c.Kind(), Name: c.Name}] = c
		}
	}
	return out
}

// clusterTable has a line for each ClusterPKI, with what needs a person.
func (r Report) clusterTable(s Style) string {
	if len(r.ClusterPKIs) == 0 {
		return ""
	}
	rows := []row{titles("CLUSTER", "STATE", "ROTATION", "BEHIND", "NEXT EXPIRY", "IN", "ATTENTION")}
	for _, c := range r.ClusterPKIs {
		name := KindClusterPKI + "/" + c.Name
		if s.Namespaces {
			name += " in " + c.Namespace
		}
		left := ""
		if !c.NextExpiry.IsZero() {
			left = HumanDuration(max(0, c.NextExpiry.Sub(r.Time)))
		}
		rows = append(rows, row{cells: []cell{
			{name, Bold}, stateCell(c.State), {text: c.RotationText()}, {c.BehindText(), Yellow}, {text: date(r.Time, c.NextExpiry)}, {text: left},
			{c.AttentionText(), Yellow},
		}})
	}
	return s.table(rows)
}

func titles(of ...string) row {
	var out row
	for _, title := range of {
		out.cells = append(out.cells, cell{title, Faint})
	}
	return out
}

// RotationText is the rotation that is under way, in a few words; "" for none.
func (c Cluster) RotationText() string {
	if len(c.Rotations) == 0 {
		return ""
	}
	return c.Rotations[0].Phase + " " + c.Rotations[0].Name
}

// BehindText is how many hosts of all do not use what is issued for them; "" for none.
func (c Cluster) BehindText() string {
	if c.HostCount == nil || ptr.Deref(c.HostsBehind, 0) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", *c.HostsBehind, *c.HostCount)
}

// AttentionText is the gravest thing that a person should see to, and how many more there are; "" for none.
func (c Cluster) AttentionText() string {
	if len(c.Attention) == 0 {
		return ""
	}
	text := c.Attention[0].Reason
	if on := cmp.Or(c.Attention[0].Host, c.Attention[0].Object); on != "" {
		text += " of " + on
	}
	if more := int(c.AttentionCount) - 1; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

// clusterDetails are what there is to see to, the rotations and the hosts of one ClusterPKI.
func (r Report) clusterDetails(s Style, c Cluster) string {
	var b strings.Builder
	if len(c.Attention) > 0 {
		fmt.Fprintf(&b, "\n%s\n", s.Colored(Bold, "needs a person:"))
		for _, a := range c.Attention {
			fmt.Fprintln(&b, s.Wrapped("  ", "    ", attentionLine(r.Time, a)))
		}
		if more := int(c.AttentionCount) - len(c.Attention); more > 0 {
			fmt.Fprintf(&b, "  and %d more\n", more)
		}
	}
	for i, rotation := range c.Rotations {
		if i == 0 {
			fmt.Fprintf(&b, "\n%s\n", s.Colored(Bold, "rotations:"))
		}
		fmt.Fprintln(&b, s.Wrapped("  ", "    ", rotationLine(r.Time, rotation)))
	}
	for i, h := range c.Removals {
		if i == 0 {
			fmt.Fprintf(&b, "\n%s\n", s.Colored(Bold, "no longer asked for:"))
		}
		fmt.Fprintln(&b, s.Wrapped("  ", "    ", fmt.Sprintf("%s (%s), left %s", h.Host, h.Reason, ago(r.Time, h.Since.Time))))
	}
	if len(c.Hosts) > 0 {
		b.WriteString("\n" + s.table(hostRows(r.Time, c.Hosts)))
	}
	return b.String()
}

func attentionLine(now time.Time, a v1alpha1.ClusterAttention) string {
	text := a.Reason
	if on := cmp.Or(a.Host, a.Object); on != "" {
		text = on + " " + text
	}
	if !a.Since.IsZero() {
		text += " for " + HumanDuration(max(0, now.Sub(a.Since.Time)))
	}
	return text + ": " + a.Edit
}

func rotationLine(now time.Time, r v1alpha1.ClusterRotationStatus) string {
	text := r.Name + ": " + r.Phase
	if !r.StartTime.IsZero() {
		text += ", begun " + ago(now, r.StartTime.Time)
	}
	if !r.ExpectedTime.IsZero() {
		text += ", expected to have ended " + Until(now, r.ExpectedTime.Time)
	}
	return text
}

func hostRows(now time.Time, hosts []Host) []row {
	rows := []row{titles("HOST", "STATE", "SINCE", "OBJECT", "OBJECTS", "NEXT EXPIRY", "RENEWS")}
	for _, h := range hosts {
		state, since := cell{"UpToDate", Green}, ""
		if !h.UpToDate {
			state = cell{h.Reason, Yellow}
		}
		if !h.Since.IsZero() {
			since = ago(now, h.Since)
		}
		rows = append(rows, row{cells: []cell{
			{h.Name, Bold}, state, {text: since}, {text: h.Object}, {text: strconv.Itoa(h.Objects)}, {text: date(now, h.NextExpiry)},
			{text: date(now, h.NextRenewal)},
		}})
	}
	return rows
}
