package inspect

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/status"
)

func trustName(ca string) string { return v1alpha1.TrustConfigMapName(ca) }

func secretsOf(sources []*source) []*corev1.Secret {
	var out []*corev1.Secret
	for _, s := range sources {
		out = append(out, s.secret)
	}
	return out
}

// object says what spec and status of the object say, as `clusterpki status` does, and more.
func (b *builder) object() {
	all := status.Build(b.now, b.Objects, "")
	for _, p := range all.Problems {
		if p.Kind == b.Kind && p.Name == b.Name {
			b.report.Problems = append(b.report.Problems, p)
		}
	}
	o := &Object{Kind: b.Kind, Name: b.Name, Unread: b.unread}
	b.report.Object = o
	for _, ca := range slices.Sorted(maps.Keys(b.bundles)) {
		if text := b.bundles[ca].unread; text != "" {
			o.Unread = append(o.Unread, "ConfigMap/"+trustName(ca)+": "+text)
		}
	}
	switch c, k, s, n := b.ca(), b.accountKey(), b.server(), b.credential(); {
	case c != nil:
		a := authorityOf(all.ClusterCAs, c.Name)
		o.Namespace, o.State, o.CA, o.IssuerGeneration = c.Namespace, a.State, a.Parent, a.Generation
		o.Generations, o.Rotation, o.LastRotation, o.Trust = a.Generations, a.Rotation, a.LastRotation, a.Trust
		o.certificate(c.Status.Certificate)
		o.Conditions = conditions(c.Status.Conditions, c.Generation)
	case k != nil:
		o.accountKey(all.ServiceAccountKeys, k)
	case s != nil:
		o.ServiceAccountKeyName = s.ServiceAccountKeyName()
		o.leaf(leafOf(all.ClusterCAs, b.Kind, b.Name), s.Namespace, s.Spec.CARef.Name)
		o.certificate(s.Status.Certificate)
		o.Conditions = conditions(s.Status.Conditions, s.Generation)
		o.Delivery = b.delivery(s, s.Spec.Delivery, s.Spec.HostName, consumers.UsesOfServer(s))
	case n != nil:
		o.leaf(leafOf(all.ClusterCAs, b.Kind, b.Name), n.Namespace, n.Spec.CARef.Name)
		o.Role = string(n.Spec.Role)
		o.certificate(n.Status.Certificate)
		o.Conditions = conditions(n.Status.Conditions, n.Generation)
		o.Delivery = b.delivery(n, n.Spec.Delivery, n.Spec.HostName, consumers.UsesOfCredential(n, b.Objects.Specs().ServedBy()))
	}
	for i := range b.events {
		e := &b.events[i]
		count := e.Count
		if e.Series != nil {
			count = e.Series.Count
		}
		o.Events = append(o.Events, Event{timeOf(e).UTC().Truncate(time.Second), e.Type, status.Printable(e.Reason), status.Printable(e.Message), count})
	}
}

// authorityOf finds a ClusterCA in the trees of a report.
func authorityOf(trees []status.Authority, name string) status.Authority {
	for _, a := range trees {
		if a.Name == name {
			return a
		}
		if found := authorityOf(a.ClusterCAs, name); found.Name != "" {
			return found
		}
	}
	return status.Authority{}
}

// leafOf finds what a CA issued.
func leafOf(trees []status.Authority, kind, name string) status.Certificate {
	for _, a := range trees {
		for _, c := range a.Certificates {
			if c.Kind == kind && c.Name == name {
				return c
			}
		}
		if found := leafOf(a.ClusterCAs, kind, name); found.Name != "" {
			return found
		}
	}
	return status.Certificate{}
}

// accountKey says what a ServiceAccountKey is.
func (o *Object) accountKey(all []status.ServiceAccountKey, k *v1alpha1.ServiceAccountKey) {
	i := slices.IndexFunc(all, func(s status.ServiceAccountKey) bool { return s.Name == k.Name })
	if i < 0 {
		return
	}
	o.Namespace, o.State, o.ServiceAccountKey = k.Namespace, all[i].State, &all[i]
	o.Conditions = conditions(k.Status.Conditions, k.Generation)
}

func (o *Object) leaf(c status.Certificate, namespace, ca string) {
	o.Namespace, o.CA, o.State, o.Host, o.Identity = namespace, ca, c.State, c.Host, c.Identity
	o.IssuerGeneration, o.OldGeneration, o.Pending = c.IssuerGeneration, c.OldGeneration, c.Pending
}

func (o *Object) certificate(c v1alpha1.CertificateStatus) {
	o.NotBefore, o.SHA256Fingerprint = c.NotBefore.Time, c.SHA256Fingerprint
}

func conditions(all []metav1.Condition, generation int64) []Condition {
	var out []Condition
	for _, c := range all {
		out = append(out, Condition{
			Type: c.Type, Status: string(c.Status), Reason: c.Reason, Message: status.Printable(c.Message), Since: c.LastTransitionTime.UTC(),
			Outdated: c.ObservedGeneration != 0 && c.ObservedGeneration != generation, Next: next(c),
		})
	}
	slices.SortStableFunc(out, func(a, b Condition) int { return rank(a.Type) - rank(b.Type) })
	return out
}

// rank puts Ready and what explains it first.
func rank(kind string) int {
	i := slices.Index([]string{v1alpha1.ReadyCondition, v1alpha1.StalledCondition, v1alpha1.ReconcilingCondition}, kind)
	if i < 0 {
		return 3
	}
	return i
}

// claimed is what the Lease of an agent says, if whoever it names has signed it: that, the operator alone can tell.
func (b *builder) claimed() consumers.Reported {
	said := consumers.Reported{Lease: b.lease, Report: ack.Of(b.lease), Proof: ack.Signed}
	if said.Report.Time.IsZero() {
		said.Proof = ack.Unsigned
	}
	return said
}

// reported says what the agent of a host says, and what of that counts: what the operator has found signed, as far as it still holds.
func (b *builder) reported(d *Delivery, spec v1alpha1.DeliverySpec, host string, inUse bool, stated []metav1.Condition) {
	said := b.claimed()
	d.Agent = &Agent{Report: said.Report, LeaseExpired: !consumers.Alive(said, spec, host, b.now)}
	if t := b.lease.Spec.RenewTime; t != nil {
		d.Agent.RenewTime = t.UTC()
	}
	c := meta.FindStatusCondition(stated, v1alpha1.TrustAcknowledgedCondition)
	if d.Issued != nil {
		d.InUse = new(inUse && c != nil && c.Status == metav1.ConditionTrue)
	}
	d.Agent.Invalid = c != nil && c.Reason == v1alpha1.ReasonAcknowledgmentInvalid
}

// delivery says what is known to have arrived, as gates see it. uses are those that the object should make of its Secrets.
func (b *builder) delivery(o v1alpha1.Object, spec v1alpha1.DeliverySpec, host string, uses []consumers.Use) *Delivery {
	d := &Delivery{Mode: string(spec.Mode), Issued: b.issued(o.GetUID())}
	known := consumers.AcknowledgmentOf(spec, b.claimed(), host, b.now)
	switch {
	case known.Mounted:
		d.PropagationDelay, d.AcceptAssumed = known.Delay.String(), string(spec.AcceptAssumed)
		return d
	case spec.Mode == v1alpha1.DeliveryManual:
		d.Acknowledged = spec.Acknowledged
	case b.lease == nil:
		return d
	case spec.Mode == v1alpha1.DeliveryAgent:
		b.reported(d, spec, host, known.InUse(uses, b.products(), b.digestOf), *o.StatusConditions())
		return d
	}
	if d.Issued != nil {
		d.InUse = new(known.InUse(uses, b.products(), b.digestOf))
	}
	return d
}

// products are the Secrets that were read.
func (b *builder) products() []consumers.Product {
	var reader consumers.Reader
	var out []consumers.Product
	for i := range b.sources {
		if s := b.sources[i].secret; s != nil {
			out = append(out, reader.ReadUnsealed(s))
		}
	}
	return out
}

// digestOf is the digest of the bundle that a ClusterCA says it publishes.
func (b *builder) digestOf(name string) string {
	if ca := b.caNamed(name); ca != nil {
		return ca.Status.Trust.BundleSHA256
	}
	return ""
}
