package dashboard

import (
	"cmp"
	"slices"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
	"clusterpki.io/operator/internal/timeline"
)

// How much of each the page shows; what is left out is counted.
const (
	maxProblems     = 20
	maxNext         = 8
	maxCertificates = 200
)

// View is what the page shows, as of a moment.
type View struct {
	Time   time.Time
	Totals Totals
	// Tiles are the clusters, those that need somebody first.
	Tiles        []Tile
	Problems     []status.Problem
	MoreProblems int
	Rotations    []timeline.Rotation
	// Publications are of service account keys that are being rotated, or of which one has left and is not forgotten everywhere.
	Publications []timeline.Publication
	// Next are the certificates that expire next.
	Next     []Expiry
	Clusters []Cluster
	// Log is what happened of late, the latest first.
	Log []Entry
}

// Totals count what there is.
type Totals struct{ Clusters, CAs, Certificates, Errors, Warnings, Rotating int }

// Expiry is one certificate, and when it ends.
type Expiry struct {
	Kind, Namespace, Name string
	status.State
}

// Cluster is the PKI in one namespace.
type Cluster struct {
	Namespace   string
	PKIs        []status.Cluster
	Servers     []APIServer
	Axis        Axis
	Authorities []Authority
	Keys        []status.ServiceAccountKey
}

// APIServer is an API server.
type APIServer struct {
	Name, Host, Endpoint string
	status.State
	// Observed is what the API server was observed to serve: 'as issued', 'something else' or 'not probed'.
	Observed string
}

// Authority is a CA with what it issued.
type Authority struct {
	Namespace, Name, Parent string
	status.State
	Rotating     bool
	Bars         []Bar
	Certificates []status.Certificate
	More         int // certificates that are not shown
	TrustedBy    int
}

// Build makes the view of the objects.
func Build(now time.Time, objects status.Objects) View {
	report := status.Build(now, objects, "")
	v := View{Time: report.Time, Problems: report.Problems, Log: logOf(now, objects)}
	v.Totals.Errors = report.Errors()
	v.Totals.Warnings = len(report.Problems) - v.Totals.Errors
	if len(v.Problems) > maxProblems {
		v.Problems, v.MoreProblems = v.Problems[:maxProblems], len(v.Problems)-maxProblems
	}
	byName := map[[2]string]*v1alpha1.ClusterCA{}
	for i := range objects.CAs {
		c := &objects.CAs[i]
		byName[[2]string{c.Namespace, c.Name}] = c
	}
	for _, top := range report.ClusterCAs {
		for _, a := range flat(top) {
			v.authority(a, byName[[2]string{a.Namespace, a.Name}])
		}
	}
	slices.SortFunc(v.Next, func(x, y Expiry) int {
		return cmp.Or(x.NotAfter.Compare(y.NotAfter), cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	v.Next = v.Next[:min(len(v.Next), maxNext)]
	for _, k := range report.ServiceAccountKeys {
		v.accountKey(k)
	}
	for _, p := range report.ClusterPKIs {
		c := v.cluster(p.Namespace)
		c.PKIs = append(c.PKIs, p)
	}
	for i := range v.Clusters {
		v.Clusters[i].finish(now, objects)
	}
	v.Rotations = rotations(now, objects)
	for _, r := range v.Rotations {
		if !r.Over() {
			v.Totals.Rotating++
		}
	}
	v.Tiles = tiles(v, report)
	v.Totals.Clusters = len(v.Tiles)
	return v
}

// flat are a CA and its subordinate CAs, the CA first.
func flat(a status.Authority) []status.Authority {
	out := []status.Authority{a}
	for _, below := range a.ClusterCAs {
		out = append(out, flat(below)...)
	}
	return out
}

// authority adds a CA to its cluster. A CA that is named and does not exist has no object.
func (v *View) authority(a status.Authority, object *v1alpha1.ClusterCA) {
	out := Authority{
		Namespace: a.Namespace, Name: a.Name, Parent: a.Parent, State: a.State, Rotating: a.Rotation != nil,
		Certificates: a.Certificates, TrustedBy: len(a.TrustedBy),
	}
	if object != nil {
		out.Bars = barsOf(object)
		v.Totals.CAs++
		v.expires(status.KindClusterCA, a.Namespace, a.Name, a.State)
	}
	for _, c := range a.Certificates {
		v.Totals.Certificates++
		v.expires(c.Kind, a.Namespace, c.Name, c.State)
	}
	if n := len(out.Certificates); n > maxCertificates {
		out.Certificates, out.More = out.Certificates[:maxCertificates], n-maxCertificates
	}
	c := v.cluster(a.Namespace)
	c.Authorities = append(c.Authorities, out)
}

// accountKey adds a ServiceAccountKey to its cluster.
func (v *View) accountKey(k status.ServiceAccountKey) {
	c := v.cluster(k.Namespace)
	c.Keys = append(c.Keys, k)
	if k.Publication.Rotating() {
		v.Totals.Rotating++
	}
	if k.Publication.Rotating() || k.Publication.PendingCount > 0 {
		v.Publications = append(v.Publications, k.Publication)
	}
}

// cluster is the cluster in a namespace, in the order of their names.
func (v *View) cluster(namespace string) *Cluster {
	i, found := slices.BinarySearchFunc(v.Clusters, namespace, func(c Cluster, name string) int { return cmp.Compare(c.Namespace, name) })
	if !found {
		v.Clusters = slices.Insert(v.Clusters, i, Cluster{Namespace: namespace})
	}
	return &v.Clusters[i]
}

func (v *View) expires(kind, namespace, name string, s status.State) {
	if !s.NotAfter.IsZero() {
		v.Next = append(v.Next, Expiry{kind, namespace, name, s})
	}
}

// finish adds the API servers, and lays the bars of all CAs out on one axis.
func (c *Cluster) finish(now time.Time, objects status.Objects) {
	states := map[string]status.State{}
	var bars []Bar
	for _, a := range c.Authorities {
		bars = append(bars, a.Bars...)
		for _, leaf := range a.Certificates {
			if leaf.Kind == status.KindAPIServerCertificate {
				states[leaf.Name] = leaf.State
			}
		}
	}
	c.Axis = axisOf(now, bars)
	for _, a := range c.Authorities {
		for i := range a.Bars {
			a.Bars[i].place(c.Axis)
		}
	}
	for i := range objects.Servers {
		s := &objects.Servers[i]
		if s.Namespace != c.Namespace {
			continue
		}
		c.Servers = append(c.Servers, APIServer{
			Name: s.Name, Host: s.Spec.HostName, Endpoint: s.Spec.Endpoint, State: states[s.Name], Observed: observed(s),
		})
	}
	slices.SortFunc(c.Servers, func(x, y APIServer) int { return cmp.Compare(x.Name, y.Name) })
}

// observed says in words what condition Serving does.
func observed(s *v1alpha1.APIServerCertificate) string {
	for _, c := range s.Status.Conditions {
		switch {
		case c.Type != v1alpha1.ServingCondition:
		case c.Status == "True":
			return "as issued"
		case c.Status == "False":
			return "something else"
		}
	}
	return "not probed"
}
