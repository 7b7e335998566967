package inspect

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/status"
)

// Build makes the report of what was read.
func Build(now time.Time, s Inputs) Report {
	b := builder{now: now.UTC().Truncate(time.Second), Inputs: &s}
	b.report = Report{Header: status.HeaderOf("Inspection"), Time: b.now, Sources: []Source{}, Problems: []status.Problem{}}
	if s.Kind != "" {
		b.object()
	}
	for _, ca := range slices.Sorted(maps.Keys(s.bundles)) {
		b.compare(ca, s.bundles[ca])
	}
	if known, ok := s.bundles[s.Name]; ok && s.Kind == status.KindClusterCA {
		b.published(s.Name, known)
	}
	for _, src := range s.sources {
		b.source(src)
	}
	slices.SortStableFunc(b.report.Problems, func(x, y status.Problem) int { return cmp.Compare(x.Severity, y.Severity) })
	return b.report
}

type builder struct {
	*Inputs
	now    time.Time
	report Report
}

func (b *builder) problem(severity status.Severity, of, reason, format string, args ...any) {
	p := status.Problem{Severity: severity, Kind: b.Kind, Name: b.Name, Reason: reason, Message: of + ": " + fmt.Sprintf(format, args...)}
	if b.report.Object != nil {
		p.Namespace = b.report.Object.Namespace
	}
	b.report.Problems = append(b.report.Problems, p)
}

// published shows the bundle of the ClusterCA that is inspected.
func (b *builder) published(ca string, known bundle) {
	name := "ConfigMap/" + trustName(ca)
	src := Source{Name: name, Owner: status.KindClusterCA + "/" + ca, Unread: known.unread}
	if len(known.certs) > 0 || known.Damage != "" {
		known.number(known.generations)
		src.Items = []Item{known.Item}
		b.dates(name, known.material)
	}
	b.report.Sources = append(b.report.Sources, src)
}

// compare notes a bundle that is not what the operator has published: users can write the ConfigMap, and until it is repaired
// nothing that was verified with it is worth anything.
func (b *builder) compare(ca string, known bundle) {
	if known.digest != "" && len(known.certs) > 0 && pki.BundleDigest(known.certs) != known.digest {
		b.problem(status.Error, "ConfigMap/"+trustName(ca), "BundleDiffers", "it is not the bundle that the status of ClusterCA/%s describes: "+
			"somebody has changed it, or the operator is at it; it is repaired while the operator runs", ca)
	}
}

// number says of each certificate which generation of the ClusterCA it is.
func (m *material) number(generations []v1alpha1.GenerationStatus) {
	for i := range m.Certificates {
		m.Certificates[i].Generation = generationOf(generations, m.Certificates[i].SHA256Fingerprint)
	}
}

// generationOf is the generation whose certificate has a fingerprint, 0 for none.
func generationOf(generations []v1alpha1.GenerationStatus, fingerprint string) int32 {
	for _, g := range generations {
		if g.SHA256Fingerprint == fingerprint {
			return g.Number
		}
	}
	return 0
}

// source shows a Secret or files, and judges them.
func (b *builder) source(src source) {
	out := Source{Name: src.name, Owner: status.Printable(src.owner), Unread: src.unread}
	if src.absent {
		b.problem(status.Error, src.name, "SecretNotFound", "it does not exist")
	}
	for i := range src.items {
		m := &src.items[i]
		m.number(b.bundles[src.ca].generations)
		if src.secret != nil && m.Name == corev1.TLSCertKey || src.secret == nil && len(m.certs) > 0 && !pki.SelfSigned(m.certs[0]) {
			m.Chain = b.chain(src, *m)
		}
		b.judge(src, *m)
		out.Items = append(out.Items, m.Item)
	}
	b.report.Sources = append(b.report.Sources, out)
}

// judge notes what is wrong with one item.
func (b *builder) judge(src source, m material) {
	where := m.Name
	if src.secret != nil {
		where = src.name + " " + m.Name
	}
	b.damaged(where, m)
	b.dates(where, m)
	for _, k := range m.PrivateKeys {
		if k.Mismatch {
			b.problem(status.Error, where, "KeyMismatch", "the private key fits no certificate that stands beside it")
		}
	}
	if c := m.Chain; c != nil && !c.Valid && c.Problem != "" {
		severity := status.Error
		if src.secret == nil {
			severity = status.Warning // the roots that stand beside it need not be its own
		}
		b.problem(severity, where, "ChainInvalid", "%s", c.Problem)
	}
	if m.Kubeconfig != nil {
		b.kubeconfig(where, *m.Kubeconfig)
	}
	if o := b.report.Object; o != nil && m.Name == corev1.TLSCertKey && len(m.certs) > 0 && o.SHA256Fingerprint != "" &&
		m.Certificates[0].SHA256Fingerprint != o.SHA256Fingerprint {
		b.problem(status.Warning, where, "StatusOutdated", "the certificate is not the one that the status describes: "+
			"the operator is at it, or has not seen it")
	}
}

// damaged notes what of an item could not be read.
func (b *builder) damaged(where string, m material) {
	switch {
	case len(m.Manifests) > 0:
		b.problem(status.Error, where, "NotRead", "%s", manifestText(m.Manifests))
	case m.unread:
		b.problem(status.Error, where, "FileUnreadable", "%s", m.Damage)
	case m.Damage != "":
		b.problem(status.Error, where, "Damaged", "%s", m.Damage)
	}
}

// dates notes certificates that are not valid now.
func (b *builder) dates(where string, m material) {
	for i, c := range m.certs {
		if text := validity(b.now, c.NotBefore, c.NotAfter); text != "" {
			severity := status.Error
			if i > 0 || c.IsCA { // others beside it may do
				severity = status.Warning
			}
			b.problem(severity, where, "NotValid", "the certificate %s %s", status.Printable(c.Subject.String()), text)
		}
	}
}

// validity says that a certificate has expired, or is not valid yet; "" where it is valid.
func validity(now, start, end time.Time) string {
	switch {
	case !now.Before(end):
		return "expired " + status.HumanDuration(now.Sub(end)) + " ago"
	case now.Before(start):
		return "is valid only " + status.Until(now, start) + ": is a clock wrong?"
	default:
		return ""
	}
}

func (b *builder) kubeconfig(where string, k Kubeconfig) {
	for _, c := range k.Clusters {
		if c.Damage != "" {
			b.problem(status.Error, where, "Damaged", "cluster %q: %s", c.Name, c.Damage)
		}
		for _, cert := range c.Certificates {
			if text := validity(b.now, cert.NotBefore, cert.NotAfter); text != "" {
				b.problem(status.Warning, where, "NotValid", "cluster %q: the certificate %s %s", c.Name, cert.Subject, text)
			}
		}
	}
	for _, u := range k.Users {
		if u.Damage != "" {
			b.problem(status.Error, where, "Damaged", "user %q: %s", u.Name, u.Damage)
		}
		if u.Key != nil && u.Key.Mismatch {
			b.problem(status.Error, where, "KeyMismatch", "user %q: the private key does not fit the certificate", u.Name)
		}
		if len(u.Certificates) > 0 {
			if text := validity(b.now, u.Certificates[0].NotBefore, u.Certificates[0].NotAfter); text != "" {
				b.problem(status.Error, where, "NotValid", "user %q: the certificate %s", u.Name, text)
			}
		}
	}
}

// chain says where the certificate of an item leads: to the bundle of the ClusterCA that signed it or, for files, to a
// root among them; nil where nothing is known that could have signed it.
func (b *builder) chain(src source, m material) *Chain {
	if len(m.certs) == 0 {
		return nil
	}
	roots, trusted := b.bundles[src.ca].certs, "ConfigMap/"+trustName(src.ca)
	if src.secret == nil {
		trusted = "the files"
		for _, other := range src.items {
			roots = append(roots, slices.DeleteFunc(slices.Clone(other.certs), func(c *x509.Certificate) bool { return !pki.SelfSigned(c) })...)
		}
	}
	if len(roots) == 0 {
		return nil
	}
	chain := &Chain{TrustedBy: trusted, CA: src.ca}
	if g := b.signer(src.ca, m); g != 0 {
		chain.Generation = g
	} else {
		chain.CA = ""
	}
	pair := pki.Leaf{Cert: m.certs[0], Chain: m.certs[1:]}
	if err := pair.Verify(b.now, roots); err != nil {
		chain.Problem = fmt.Sprintf("it leads to none of the roots in %s: %s", trusted, status.Printable(err.Error()))
		return chain
	}
	chain.Valid, chain.Root = true, status.Printable(rootOf(b.now, pair, roots))
	return chain
}

// signer is the generation of a ClusterCA that signed the certificate, 0 where that is not known.
func (b *builder) signer(ca string, m material) int32 {
	known := b.bundles[ca]
	for _, issuer := range slices.Concat(m.certs[1:], known.certs) {
		if pki.SignedBy(m.certs[0], issuer) {
			if g := generationOf(known.generations, pki.FingerprintOf(issuer)); g != 0 {
				return g
			}
		}
	}
	return 0
}

// rootOf is the subject of the root to which a chain leads.
func rootOf(now time.Time, pair pki.Leaf, roots []*x509.Certificate) string {
	for _, r := range roots {
		if pair.Verify(now, []*x509.Certificate{r}) == nil {
			return r.Subject.String()
		}
	}
	return ""
}

// issued is what the Secrets of the object hold; nil where it is not known, or one is not the object's.
func (b *builder) issued(owner types.UID) *ack.State {
	var tls *source
	var others []*source
	for i := range b.sources {
		switch src := &b.sources[i]; {
		case src.secret == nil:
			return nil
		case src.claim.UID != owner:
			return nil
		case tls == nil:
			tls = src
		default:
			others = append(others, src)
		}
	}
	if tls == nil {
		return nil
	}
	state, err := ack.StateOf(tls.secret, secretsOf(others)...)
	if err != nil {
		return nil
	}
	return &state
}
