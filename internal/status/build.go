package status

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/timeline"
)

// emptyReport is a report as of a moment.
func emptyReport(now time.Time) Report {
	return Report{
		Header: HeaderOf("StatusReport"), Time: now.UTC().Truncate(time.Second),
		ClusterPKIs: []Cluster{}, ClusterCAs: []Authority{}, ServiceAccountKeys: []ServiceAccountKey{}, Problems: []Problem{},
	}
}

// Build makes the report of the ClusterCAs of a name, "" for all, with what hangs below them, and of the service account keys of their API servers. One of
// all begins with the ClusterPKIs.
func Build(now time.Time, objects Objects, name string) Report {
	r := emptyReport(now)
	for _, namespace := range objects.Namespaces() {
		b := builder{now: now, namespace: namespace, objects: objects.In(namespace), seen: map[string]bool{}}
		b.index()
		if name == "" {
			r.ClusterPKIs = append(r.ClusterPKIs, b.clusters()...)
		}
		for _, top := range b.roots(name) {
			r.ClusterCAs = append(r.ClusterCAs, b.authority(top))
		}
		r.ServiceAccountKeys = append(r.ServiceAccountKeys, b.keys(name == "")...)
		r.Problems = append(r.Problems, b.problems...)
	}
	slices.SortStableFunc(r.Problems, func(x, y Problem) int {
		return cmp.Or(cmp.Compare(x.Severity, y.Severity), cmp.Compare(x.Namespace, y.Namespace), rank(x.Kind)-rank(y.Kind), cmp.Compare(x.Name, y.Name))
	})
	return r
}

// rank orders the kinds as they depend on one another.
func rank(kind string) int {
	return slices.Index(v1alpha1.KindNames(), kind)
}

// Namespaces are those that hold an object, in order.
func (o Objects) Namespaces() []string {
	set := map[string]bool{}
	for i := range o.Clusters {
		set[o.Clusters[i].Namespace] = true
	}
	for i := range o.CAs {
		set[o.CAs[i].Namespace] = true
	}
	for i := range o.Keys {
		set[o.Keys[i].Namespace] = true
	}
	for i := range o.Servers {
		set[o.Servers[i].Namespace] = true
	}
	for i := range o.Credentials {
		set[o.Credentials[i].Namespace] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// builder makes the trees of one namespace.
type builder struct {
	now       time.Time
	namespace string
	objects   Objects
	cas       map[string]*v1alpha1.ClusterCA
	children  map[string][]string // by the parent CA
	issued    map[string][]leaf
	seen      map[string]bool // a circle of CAs ends
	problems  []Problem
}

// leaf is one APIServerCertificate or NodeCredential.
type leaf struct {
	subject
	host, identity string
}

func (b *builder) index() {
	b.cas, b.children, b.issued = map[string]*v1alpha1.ClusterCA{}, map[string][]string{}, map[string][]leaf{}
	for i := range b.objects.CAs {
		c := &b.objects.CAs[i]
		b.cas[c.Name] = c
		if parent := c.ParentName(); parent != "" {
			b.children[parent] = append(b.children[parent], c.Name)
		}
	}
	for i := range b.objects.Servers {
		c := &b.objects.Servers[i]
		b.issued[c.Spec.CARef.Name] = append(b.issued[c.Spec.CARef.Name], leaf{ofServer(c), c.Spec.HostName, c.Spec.HostName})
	}
	for i := range b.objects.Credentials {
		c := &b.objects.Credentials[i]
		b.issued[c.Spec.CARef.Name] = append(b.issued[c.Spec.CARef.Name], leaf{ofCredential(c), c.Spec.HostName, identityOf(c)})
	}
}

// roots are where the trees begin: the CA of the name, else those that no other one signs and those that are named and
// do not exist; and one of each circle.
func (b *builder) roots(name string) []string {
	if name != "" {
		if b.cas[name] == nil {
			return nil
		}
		return []string{name}
	}
	set, reached := map[string]bool{}, map[string]bool{}
	begin := func(ca string) {
		set[ca] = true
		maps.Copy(reached, b.objects.descendants(ca))
	}
	for _, ca := range slices.Concat(slices.Collect(maps.Keys(b.children)), slices.Collect(maps.Keys(b.issued)), slices.Collect(maps.Keys(b.cas))) {
		if c := b.cas[ca]; c == nil || c.ParentName() == "" {
			begin(ca)
		}
	}
	for _, ca := range slices.Sorted(maps.Keys(b.cas)) {
		if !reached[ca] {
			begin(ca)
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// authority makes the tree of one CA, and notes what is wrong in it.
func (b *builder) authority(name string) Authority {
	b.seen[name] = true
	a := Authority{Namespace: b.namespace, Name: name, State: State{State: stateNotFound}}
	if c := b.cas[name]; c != nil {
		b.describe(&a, c)
	} else {
		b.problems = append(b.problems, Problem{Error, b.namespace, KindClusterCA, name, stateNotFound, "it does not exist, and other objects name it"})
	}
	slices.Sort(b.children[name])
	for _, child := range b.children[name] {
		if !b.seen[child] {
			a.ClusterCAs = append(a.ClusterCAs, b.authority(child))
		}
	}
	slices.SortFunc(b.issued[name], func(x, y leaf) int { return cmp.Or(cmp.Compare(x.kind, y.kind), cmp.Compare(x.name, y.name)) })
	for _, l := range b.issued[name] {
		b.problems = append(b.problems, l.problems(b.now)...)
		a.Certificates = append(a.Certificates, l.certificate(b.now, a))
	}
	a.TrustedBy = b.objects.relyingPartiesOf(name)
	return a
}

func (b *builder) describe(a *Authority, c *v1alpha1.ClusterCA) {
	s := ofCA(c)
	a.State, a.Parent, a.Generation = s.state(b.now), c.ParentName(), c.Status.Certificate.IssuerGeneration
	a.Trust, a.Generations = c.Status.Trust, c.Status.Generations
	a.Rotation = rotationOf(b.now, c, b.objects)
	if c.Status.LastRotation.Result != "" {
		a.LastRotation = &c.Status.LastRotation
	}
	b.problems = append(b.problems, s.problems(b.now)...)
}

// rotationOf describes the rotation that is under way; nil while there is none.
func rotationOf(now time.Time, c *v1alpha1.ClusterCA, objects Objects) *Rotation {
	r, ok := timeline.UnderWay(now, c, objects.ConsumersOf(c.Name))
	if !ok {
		return nil
	}
	active, _ := r.Active()
	return &Rotation{
		RotationStatus: c.Status.Rotation, Blocked: r.Blocked, Timeline: r, ExpectedTime: r.Expected.At,
		ExpectedPhaseTime: active.Expected.At, ExpectedUnknown: cmp.Or(active.Expected.Unknown, r.Expected.Unknown),
	}
}

// certificate describes a leaf of a CA.
func (l leaf) certificate(now time.Time, by Authority) Certificate {
	c := Certificate{
		Kind: l.kind, Name: l.name, State: l.state(now), Host: l.host, Identity: l.identity,
		IssuerGeneration: l.subject.certificate.IssuerGeneration,
	}
	c.OldGeneration = c.IssuerGeneration != 0 && by.Generation != 0 && c.IssuerGeneration != by.Generation
	c.Pending = by.Rotation != nil && by.Rotation.Timeline.Waits(l.kind, l.name)
	return c
}
