package consumers_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

var now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

// sealed is a Sealer whose key is a text.
type sealed string

func (s sealed) Of(texts ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s%q", s, texts))
	return hex.EncodeToString(sum[:])
}

func (s sealed) Fits(seal string, texts ...string) bool { return seal == s.Of(texts...) }

const seal = sealed("key")

func spec(name string) pki.CertificateSpec {
	return pki.CertificateSpec{Subject: pki.Subject{CommonName: name}, Key: pki.KeySpec{Algorithm: pki.Ed25519}, Validity: 1000 * time.Hour}
}

// accepting is a delivery of which what is assumed is accepted.
func accepting(d v1alpha1.DeliverySpec) v1alpha1.DeliverySpec {
	d.AcceptAssumed = v1alpha1.AcceptAssumedAlways
	return d
}

func root(name string) pki.CA { return must(pki.SelfSign(now, spec(name))) }

func below(name string, parent pki.CA) pki.CA {
	return must(pki.SignCA(pki.GenerateKey, now, spec(name), parent))
}

// leaf is a certificate that a CA signed.
func leaf(ca pki.CA) pki.Leaf {
	s := spec("leaf")
	s.Usages = []pki.Usage{pki.ClientAuth}
	s.Validity = 100 * time.Hour
	return must(pki.Issue(now, s, ca))
}

func must[T any](p T, err error) T {
	if err != nil {
		panic(err)
	}
	return p
}

// authorityOf has generations 1, 2, ... of some CAs, each in a state.
func authorityOf(states []plan.State, cas ...pki.CA) consumers.Authority {
	a := consumers.Authority{Ledger: plan.Ledger{Revision: 5, BundleRevision: 5, Last: int32(len(cas))}, CAs: map[int32]pki.CA{}}
	for i, ca := range cas {
		a.Ledger.Generations = append(a.Ledger.Generations, plan.Generation{Number: int32(i + 1), State: states[i]})
		a.CAs[int32(i+1)] = ca
	}
	return a
}

func active(ca pki.CA) consumers.Authority { return authorityOf([]plan.State{plan.Active}, ca) }

// product is a Secret that was made for the object of a UID an hour ago.
func product(name string, owner types.UID, certificate pki.Leaf, bundles map[string][]*x509.Certificate) consumers.Product {
	return consumers.Product{
		Name: name, Created: now.Add(-2 * time.Hour), Claimed: true, Claim: consumers.Claim{UID: owner, Changed: now.Add(-time.Hour)},
		Leaf: certificate, Bundles: bundles,
	}
}

func anchors(cas ...pki.CA) (out []*x509.Certificate) {
	for _, ca := range cas {
		out = append(out, ca.Cert)
	}
	return out
}

func ref(name string) v1alpha1.CAReference { return v1alpha1.CAReference{Name: name} }

var (
	mounted = v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryMounted, PropagationDelay: metav1.Duration{Duration: 10 * time.Minute}}
	byAgent = v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryAgent}
)

func manual(serial string, trust ...v1alpha1.AcknowledgedTrust) v1alpha1.DeliverySpec {
	return v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryManual, Acknowledged: &v1alpha1.AcknowledgedDelivery{SerialNumber: serial, Trust: trust}}
}

func credential(name, ca string, d v1alpha1.DeliverySpec) v1alpha1.NodeCredential {
	return v1alpha1.NodeCredential{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "prod", UID: types.UID(name)},
		Spec:       v1alpha1.NodeCredentialSpec{CARef: ref(ca), HostName: "node1", Delivery: d},
	}
}

func server(name, ca string, d v1alpha1.DeliverySpec) v1alpha1.APIServerCertificate {
	return v1alpha1.APIServerCertificate{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "prod", UID: types.UID(name)},
		Spec:       v1alpha1.APIServerCertificateSpec{CARef: ref(ca), HostName: "master1", Delivery: d},
	}
}

func clusterCA(name, parent string) v1alpha1.ClusterCA {
	c := v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "prod", UID: types.UID(name)}}
	if parent != "" {
		c.Spec.Source = &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: ref(parent)}}
	}
	return c
}

// lease is that of an agent which renewed it so long ago, and signed what it has verified by the key of that certificate.
func lease(holder string, ago time.Duration, report ack.Report) consumers.Reported {
	report.Host, report.Time = holder, now.Add(-ago)
	if report.Verified != nil {
		report.SignedBy = report.Verified.SerialNumber
	}
	return consumers.Reported{Proof: ack.Signed, Report: report, Lease: &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now.Add(-24 * time.Hour))},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, RenewTime: &metav1.MicroTime{Time: now.Add(-ago)}},
	}}
}

// stateOf is what an agent says that has all of some products.
func stateOf(ps ...consumers.Product) *ack.State {
	s := &ack.State{Contents: map[string]string{}}
	for _, p := range ps {
		if p.Leaf.Cert != nil {
			s.Contents[ack.ContentKey(p.Name, corev1.TLSCertKey)] = pki.FingerprintOf(p.Leaf.Cert)
			s.SerialNumber = pki.SerialOf(p.Leaf.Cert)
		}
		for key, bundle := range p.Bundles {
			s.Contents[ack.ContentKey(p.Name, key)] = pki.BundleDigest(bundle)
		}
	}
	return s
}

// ask is what is known of the consumers of one CA, by kind and name.
func ask(t *testing.T, in consumers.Inputs, ca string) map[string]plan.Consumer {
	t.Helper()
	in.Now = now
	in.Seed = func(o v1alpha1.Object) uint32 {
		h := fnv.New32a()
		h.Write([]byte(o.GetName()))
		return h.Sum32()
	}
	out := map[string]plan.Consumer{}
	for _, c := range in.Of(ca) {
		key := c.Kind + "/" + c.Name
		if _, twice := out[key]; twice {
			t.Errorf("%s is there twice", key)
		}
		out[key] = c
	}
	return out
}

type certificate = *x509.Certificate

func serialOf(p consumers.Product) string { return pki.SerialOf(p.Leaf.Cert) }
