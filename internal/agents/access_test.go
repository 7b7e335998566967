package agents_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
)

// sealed is a Sealer whose key is a text.
type sealed string

func (s sealed) Of(texts ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s%q", s, texts))
	return hex.EncodeToString(sum[:])
}

func (s sealed) Fits(seal string, texts ...string) bool { return seal == s.Of(texts...) }

const seal = sealed("ours")

// certificate is one of a kubelet.
func certificate(t *testing.T, host string) []byte {
	t.Helper()
	spec := pki.CertificateSpec{Subject: pki.Subject{CommonName: "k8s"}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: hour}
	ca, err := pki.SelfSign(now, spec)
	if err != nil {
		t.Fatal(err)
	}
	spec.Subject.CommonName, spec.Usages = "system:node:"+host, []pki.Usage{pki.ClientAuth}
	leaf, err := pki.Issue(now, spec, ca)
	if err != nil {
		t.Fatal(err)
	}
	return leaf.CertPEM()
}

// TestAccessTo names what was made for the object, and holds a certificate of its host, and nothing else.
func TestAccessTo(t *testing.T) {
	t.Parallel()
	own, other := certificate(t, "k8s-node1"), certificate(t, "k8s-node2")
	for name, tc := range map[string]struct {
		uid    types.UID
		output string
		cert   []byte
		as     string // whose name the claim is for
		want   []string
	}{
		"its own":             {uid: "1", cert: own, as: "s", want: []string{"s"}},
		"of another object":   {uid: "2", cert: own, as: "s"},
		"of another Secret":   {uid: "1", cert: own, as: "x"},
		"for another program": {uid: "1", output: "Flux", cert: own, as: "s"},
		"of another host":     {uid: "1", cert: other, as: "s"},
		"no certificate":      {uid: "1", cert: []byte("x"), as: "s"},
	} {
		c := given.Kubelet("node1")
		c.UID, c.Spec.Validity.Duration, c.Spec.PrivateKey = "1", hour, v1alpha1.PrivateKeySpec{Algorithm: v1alpha1.ECDSA, Size: 256}
		claim := consumers.Claim{UID: tc.uid, Output: tc.output}
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: "prod", Name: "s", Annotations: map[string]string{v1alpha1.ClaimAnnotation: claim.Text(seal, "Secret", "prod", tc.as)},
		}, Data: map[string][]byte{corev1.TLSCertKey: tc.cert}}
		got := agents.AccessTo(seal, agents.Delivered{Object: c, Secret: s})
		if diff := cmp.Diff(agents.Access{Secrets: tc.want}, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestAccessToKeysAndLeases names the Secret of service account keys that was made for these, and the Lease that was made for the object.
func TestAccessToKeysAndLeases(t *testing.T) {
	t.Parallel()
	server, keys := given.Server("m"), given.AccountKey("sa")
	server.UID, keys.UID = "1", "2"
	meta := func(kind, name string, of types.UID) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "prod", Name: name, Annotations: map[string]string{
			v1alpha1.ClaimAnnotation: consumers.Claim{UID: of}.Text(seal, kind, "prod", name),
		}}
	}
	of := func(lease, secret types.UID) agents.Access {
		return agents.AccessTo(seal, agents.Delivered{
			Object: server, Lease: &coordinationv1.Lease{ObjectMeta: meta("Lease", "l", lease)},
			Keys: keys, KeysSecret: &corev1.Secret{ObjectMeta: meta("Secret", "sa", secret)},
		})
	}
	if diff := cmp.Diff(agents.Access{Secrets: []string{"sa"}, Leases: []string{"l"}}, of("1", "2")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(agents.Access{}, of("2", "1")); diff != "" {
		t.Error(diff)
	}
}

// TestRules: a rule without names would allow everything, so there is none.
func TestRules(t *testing.T) {
	t.Parallel()
	if got := (agents.Access{}).Rules(); len(got) > 0 {
		t.Errorf("nothing is %v", got)
	}
	got := agents.Access{Secrets: []string{"b", "a", "b"}}.Rules()
	if len(got) != 1 || cmp.Diff([]string{"a", "b"}, got[0].ResourceNames) != "" {
		t.Errorf("two Secrets are %v", got)
	}
}

// TestRecord is read from the ServiceAccount that it was written onto, and from no other one.
func TestRecord(t *testing.T) {
	t.Parallel()
	r := agents.Record{Host: agents.Host{Namespace: "prod", Name: "node1"}, NamespaceUID: "1", Grants: map[string]string{"prod": "x"}}
	a, err := agents.Account(seal, "agents", r)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := agents.RecordOf(seal, a); !ok || cmp.Diff(r, got) != "" {
		t.Errorf("read: %v, %s", ok, cmp.Diff(r, got))
	}
	if h, ok := agents.HostOf(a.Annotations); !ok || h != r.Host {
		t.Errorf("it is of %v", h)
	}
	if _, ok := agents.RecordOf(sealed("another's"), a); ok {
		t.Error("another installation takes it for its own")
	}
	a.Name = "node2.prod"
	if _, ok := agents.RecordOf(seal, a); ok {
		t.Error("it may be copied")
	}
	for name, want := range map[string]bool{"x": false, "y": true} {
		if got := r.Stray(seal, "Role", r.Role(seal, agents.Grant{Namespace: "prod", Name: name}, nil)); got != want {
			t.Errorf("Role %s is a stray: %t", name, got)
		}
	}
	planted := r.Role(sealed("another's"), agents.Grant{Namespace: "prod", Name: "z"}, nil)
	if r.Stray(seal, "Role", planted) {
		t.Error("a Role of others is taken for a stray")
	}
}

const hour = time.Hour

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
