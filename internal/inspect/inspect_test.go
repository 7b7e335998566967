package inspect

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/status"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func request(name string, usages ...pki.Usage) pki.CertificateSpec {
	r := pki.CertificateSpec{Subject: pki.Subject{CommonName: name}, Usages: usages, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: 100 * day}
	if len(usages) > 0 {
		r.Validity = 10 * day
		r.SANs.DNSNames = []string{name}
	}
	return r
}

// pairs are a CA, a certificate that it signed, and another CA.
func pairs(t *testing.T) (ca pki.CA, leaf pki.Leaf, other pki.CA) {
	t.Helper()
	ca, err := pki.SelfSign(now.Add(-day), request("k8s"))
	if err == nil {
		other, err = pki.SelfSign(now, request("other"))
	}
	if err == nil {
		leaf, err = pki.Issue(now, request("k8s-master", pki.ServerAuth), ca)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ca, leaf, other
}

func keyPEM(t *testing.T, key pki.PrivateKey) []byte {
	t.Helper()
	text, err := key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// inputs is an APIServerCertificate whose agent has reported, with its Secret and the bundle of its CA.
func inputs(t *testing.T, ca pki.CA, leaf pki.Leaf, data map[string][]byte) Inputs {
	t.Helper()
	c := v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s-master", UID: "server", Generation: 2}}
	c.Spec.CARef.Name, c.Spec.HostName, c.Spec.Delivery = "k8s", "k8s-master", v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryAgent}
	c.Status.ObservedGeneration = 2
	c.Status.Certificate = v1alpha1.CertificateStatus{
		SecretName: "k8s-master-tls", SerialNumber: pki.SerialOf(leaf.Cert), SHA256Fingerprint: pki.FingerprintOf(leaf.Cert), IssuerGeneration: 1,
		NotBefore: metav1.NewTime(leaf.Cert.NotBefore), NotAfter: metav1.NewTime(leaf.Cert.NotAfter), RenewalTime: metav1.NewTime(now.Add(7 * day)),
	}
	c.Status.Conditions = []metav1.Condition{
		{Type: "TrustAcknowledged", Status: "False", Reason: "AgentProblem", Message: "no space left", LastTransitionTime: metav1.NewTime(now.Add(-time.Hour)), ObservedGeneration: 1},
		{Type: "Ready", Status: "True", Reason: "Issued", Message: "it is there", LastTransitionTime: metav1.NewTime(now.Add(-day)), ObservedGeneration: 2},
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s-master-tls", Annotations: map[string]string{
		v1alpha1.OwnerAnnotation: "APIServerCertificate/k8s-master",
		v1alpha1.ClaimAnnotation: `seal {"uid":"server","trust":{"ca.crt":{"k8s":3}},"issuer":"k8s","generation":1}`,
	}}, Data: data}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		v1alpha1.ReportAnnotation: `{"installed":{"serialNumber":"0A","contents":{"k8s-master-tls/ca.crt":"0a0b0c0d0e0f"}},"problem":"no \u001b[31mspace"}`,
	}}}
	renewed, length := metav1.NewMicroTime(now.Add(-time.Minute)), int32(900)
	lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds, lease.Spec.HolderIdentity = &renewed, &length, new("k8s-master")
	b := bundle{
		material: read("ca.crt", pki.EncodeCertificates(ca.Cert)), generations: generationsOf(ca.Cert, 1), digest: pki.BundleDigest([]*x509.Certificate{ca.Cert}),
	}
	return Inputs{
		Objects: status.Objects{Servers: []v1alpha1.APIServerCertificate{c}}, Kind: status.KindAPIServerCertificate, Name: "k8s-master",
		sources: []source{sourceOf(secret)}, bundles: map[string]bundle{"k8s": b}, lease: lease, unread: []string{"the events: you may not read it"},
		events: []corev1.Event{{Type: "Warning", Reason: "AgentProblem", Message: "no space left", LastTimestamp: metav1.NewTime(now.Add(-time.Hour)), Count: 3}},
	}
}

func generationsOf(cert *x509.Certificate, n int32) []v1alpha1.GenerationStatus {
	return []v1alpha1.GenerationStatus{{Number: n, State: v1alpha1.GenerationActive, SHA256Fingerprint: pki.FingerprintOf(cert)}}
}

func wellData(t *testing.T, ca pki.CA, leaf pki.Leaf) map[string][]byte {
	t.Helper()
	return map[string][]byte{"tls.crt": leaf.CertPEM(), "tls.key": keyPEM(t, leaf.Key), "ca.crt": pki.EncodeCertificates(ca.Cert), "note": []byte("hello")}
}

// TestGolden holds the names of fields that programs read, and what people see. What is made anew each time reads 'hex'.
func TestGolden(t *testing.T) {
	ca, leaf, _ := pairs(t)
	r := Build(now, inputs(t, ca, leaf, wellData(t, ca, leaf)))
	coded, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	random := regexp.MustCompile(`\b[0-9A-F]{28,40}\b|\b[0-9a-f]{40,64}\b|\b[0-9a-f]{12}\b`)
	for name, text := range map[string]string{
		"object.json": string(coded) + "\n", "object.txt": r.Text(status.Style{}), "object-wide.txt": r.Text(status.Style{Wide: true, Width: 80}),
	} {
		path := filepath.Join("testdata", name)
		got := random.ReplaceAllString(text, "hex")
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s: %s\nUPDATE=1 writes it anew", name, diff)
		}
	}
}

// TestProblems finds what does not fit, and nothing else.
func TestProblems(t *testing.T) {
	ca, leaf, other := pairs(t)
	second, err := pki.Issue(now, request("k8s-master", pki.ServerAuth), ca)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(map[string][]byte)
		at     time.Time
		want   []string
	}{
		"well":                {func(map[string][]byte) {}, now, nil},
		"another key":         {func(d map[string][]byte) { d["tls.key"] = keyPEM(t, other.Key) }, now, []string{"error KeyMismatch"}},
		"another certificate": {func(d map[string][]byte) { d["tls.crt"], d["tls.key"] = second.CertPEM(), keyPEM(t, second.Key) }, now, []string{"warning StatusOutdated"}},
		"of another CA":       {func(d map[string][]byte) { d["tls.crt"], d["tls.key"] = other.CertPEM(), keyPEM(t, other.Key) }, now, []string{"error ChainInvalid", "warning StatusOutdated"}},
		"empty":               {func(d map[string][]byte) { d["tls.crt"] = nil }, now, []string{"error Damaged", "error KeyMismatch"}},
		"malformed": {func(d map[string][]byte) {
			d["ca.crt"] = []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		}, now, []string{"error Damaged"}},
		"the last second":      {func(map[string][]byte) {}, leaf.Cert.NotAfter.Add(-time.Second), []string{"error Overdue"}},
		"expired":              {func(map[string][]byte) {}, leaf.Cert.NotAfter, []string{"error Expired", "error NotValid"}},
		"before its time":      {func(map[string][]byte) {}, leaf.Cert.NotBefore.Add(-time.Second), []string{"error NotValid", "error ChainInvalid"}},
		"the CA, too, expired": {func(d map[string][]byte) { delete(d, "tls.crt") }, ca.Cert.NotAfter, []string{"error Expired", "error KeyMismatch", "warning NotValid"}},
	} {
		t.Run(name, func(t *testing.T) {
			data := wellData(t, ca, leaf)
			c.change(data)
			r := Build(c.at, inputs(t, ca, leaf, data))
			var got []string
			for _, p := range r.Problems {
				if p.Reason != "AgentProblem" { // of the condition
					got = append(got, string(p.Severity)+" "+p.Reason)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff, r.Text(status.Style{}))
			}
		})
	}
}

// TestBundleDiffers notes a ConfigMap that somebody has changed, unless the status does not tell what it should hold.
func TestBundleDiffers(t *testing.T) {
	ca, leaf, other := pairs(t)
	for name, c := range map[string]struct {
		published []*x509.Certificate
		forget    bool
		want      bool
	}{
		"as published":         {published: []*x509.Certificate{ca.Cert}},
		"one more":             {published: []*x509.Certificate{ca.Cert, other.Cert}, want: true},
		"another":              {published: []*x509.Certificate{other.Cert}, want: true},
		"an older status":      {published: []*x509.Certificate{other.Cert}, forget: true},
		"it could not be read": {},
	} {
		t.Run(name, func(t *testing.T) {
			s := inputs(t, ca, leaf, wellData(t, ca, leaf))
			b := s.bundles["k8s"]
			b.material = read("ca.crt", pki.EncodeCertificates(c.published...))
			if c.forget {
				b.digest = ""
			}
			s.bundles["k8s"] = b
			found := slices.ContainsFunc(Build(now, s).Problems, func(p status.Problem) bool { return p.Reason == "BundleDiffers" })
			if found != c.want {
				t.Errorf("it is noted: %v", found)
			}
		})
	}
}

// TestAcknowledgedByHand: what a person acknowledges counts, for a person who looks as for a rotation, if it is the
// certificate and the bundles that are published now, in every Secret.
func TestAcknowledgedByHand(t *testing.T) {
	ca, leaf, other := pairs(t)
	digest, former := pki.BundleDigest([]*x509.Certificate{ca.Cert}), strings.Repeat("cd", 32)
	serial := pki.SerialOf(leaf.Cert)
	acknowledged := func(serial, digest string) *v1alpha1.AcknowledgedDelivery {
		return &v1alpha1.AcknowledgedDelivery{SerialNumber: serial, Trust: []v1alpha1.AcknowledgedTrust{{Name: "k8s", BundleSHA256: digest}}}
	}
	for name, c := range map[string]struct {
		acknowledged *v1alpha1.AcknowledgedDelivery
		kubeconfig   *x509.Certificate
		want         bool
	}{
		"all of it":                             {acknowledged(serial, digest), leaf.Cert, true},
		"in lower case":                         {acknowledged(strings.ToLower(serial), digest), leaf.Cert, true},
		"nothing":                               {nil, leaf.Cert, false},
		"another certificate":                   {acknowledged("0B", digest), leaf.Cert, false},
		"a former bundle":                       {acknowledged(serial, former), leaf.Cert, false},
		"no bundle":                             {&v1alpha1.AcknowledgedDelivery{SerialNumber: serial}, leaf.Cert, false},
		"another certificate in the kubeconfig": {acknowledged(serial, digest), other.Cert, false},
	} {
		n := v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "node1", UID: "server"}}
		n.Spec.CARef.Name, n.Spec.Kubeconfig = "k8s", &v1alpha1.KubeconfigSpec{}
		n.Spec.Delivery = v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryManual, Acknowledged: c.acknowledged}
		published := v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s"}}
		published.Status.Trust.BundleSHA256 = digest
		s := inputs(t, ca, leaf, wellData(t, ca, leaf))
		s.Objects = status.Objects{CAs: []v1alpha1.ClusterCA{published}, Credentials: []v1alpha1.NodeCredential{n}}
		s.Kind, s.Name, s.lease = status.KindNodeCredential, "node1", nil
		tls := s.sources[0].secret
		tls.Name = "node1-tls"
		kubeconfig := tls.DeepCopy()
		kubeconfig.Name, kubeconfig.Data = "node1-kubeconfig", map[string][]byte{"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.kubeconfig.Raw})}
		s.sources = []source{sourceOf(tls), sourceOf(kubeconfig)}
		if got := Build(now, s).Object.Delivery.InUse; got == nil || *got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		in := consumers.Inputs{
			Credentials: s.Objects.Credentials, Now: now, Seed: func(v1alpha1.Object) uint32 { return 0 },
			Products: (&builder{Inputs: &s}).products(), Authorities: consumers.Authorities{"k8s": {
				Ledger: plan.Ledger{Generations: []plan.Generation{{Number: 1, State: plan.Active}}}, CAs: map[int32]pki.CA{1: ca},
			}},
		}
		if gate := in.Of("k8s")[0]; (gate.Trusts && gate.Leaf == 1) != c.want {
			t.Errorf("%s: a rotation counts it as %+v", name, gate)
		}
	}
}

// TestAgentSaysWhatGatesSay: what an agent reports counts for a person who looks as it counts for a rotation.
func TestAgentSaysWhatGatesSay(t *testing.T) {
	ca, leaf, _ := pairs(t)
	for name, c := range map[string]struct {
		change  func(*Inputs)
		expired bool
		inUse   *bool
	}{
		"all is in use":         {func(*Inputs) {}, false, new(true)},
		"another host's agent":  {saying(func(r *ack.Report) { r.Host = "k8s-node1" }), true, new(false)},
		"nobody's":              {saying(func(r *ack.Report) { r.Host = "" }), true, new(false)},
		"an agent that is gone": {saying(func(r *ack.Report) { r.Time = now.Add(-15 * time.Minute) }), true, new(false)},
		"a clock that is wrong": {saying(func(r *ack.Report) { r.Time = now.Add(time.Hour) }), true, new(false)},
		"somebody else's words": {func(s *Inputs) {
			s.Objects.Servers[0].Status.Conditions[0].Status, s.Objects.Servers[0].Status.Conditions[0].Reason = "False", v1alpha1.ReasonAcknowledgmentInvalid
		}, false, new(false)},
		"words that the operator has not read yet": {func(s *Inputs) { s.Objects.Servers[0].Status.Conditions = nil }, false, new(false)},
		"a bundle is missing":                      {func(s *Inputs) { delete(s.sources[0].secret.Data, "client-ca.crt") }, false, new(false)},
		"something else is in use":                 {func(s *Inputs) { s.sources[0].secret.Data["ca.crt"] = leaf.CertPEM() }, false, new(false)},
		"a Secret of another object": {func(s *Inputs) {
			s.sources[0] = claimed(s.sources[0].secret, `seal {"uid":"another","trust":{"ca.crt":{"k8s":3}},"issuer":"k8s"}`)
		}, false, nil},
		"a damaged claim":    {func(s *Inputs) { s.sources[0] = claimed(s.sources[0].secret, `seal {"uid":"server","trust":`) }, false, nil},
		"a claim that lacks": {func(s *Inputs) { s.sources[0] = claimed(s.sources[0].secret, "") }, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			data := wellData(t, ca, leaf)
			data["client-ca.crt"] = data["ca.crt"]
			s := inputs(t, ca, leaf, data)
			state, err := ack.StateOf(s.sources[0].secret)
			if err != nil {
				t.Fatal(err)
			}
			report := ack.Report{Host: "k8s-master", Time: now, SignedBy: state.SerialNumber, Installed: &state, Verified: &state}
			text, err := report.Text()
			if err != nil {
				t.Fatal(err)
			}
			s.lease.Annotations[v1alpha1.ReportAnnotation] = text
			s.Objects.Servers[0].Status.Conditions = []metav1.Condition{{Type: v1alpha1.TrustAcknowledgedCondition, Status: "True", Reason: v1alpha1.ReasonInUse}}
			c.change(&s)
			d := Build(now, s).Object.Delivery
			if diff := cmp.Diff(c.inUse, d.InUse); diff != "" || d.Agent.LeaseExpired != c.expired {
				t.Errorf("the Lease has expired: %v; in use: %s", d.Agent.LeaseExpired, diff)
			}
			gates := consumers.AcknowledgmentOf(v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryAgent}, (&builder{Inputs: &s}).claimed(), "k8s-master", now)
			if (gates.Reason == v1alpha1.ReasonLeaseExpired) != c.expired {
				t.Errorf("the gates say %q", gates.Reason)
			}
		})
	}
}

// saying lets the agent say something else.
func saying(change func(*ack.Report)) func(*Inputs) {
	return func(s *Inputs) {
		r := ack.Of(s.lease)
		change(&r)
		text, err := r.Text()
		if err != nil {
			panic(err)
		}
		s.lease.Annotations[v1alpha1.ReportAnnotation] = text
	}
}

// claimed is a Secret with another claim.
func claimed(secret *corev1.Secret, claim string) source {
	secret.Annotations[v1alpha1.ClaimAnnotation] = claim
	return sourceOf(secret)
}

// TestOwner: whose a Secret is counts where its claim can be read; damage means that it is not the operator's.
func TestOwner(t *testing.T) {
	ca, leaf, _ := pairs(t)
	secret := inputs(t, ca, leaf, wellData(t, ca, leaf)).sources[0].secret
	if src := claimed(secret, `seal {"uid":"server","issuer":"k8s"}`); src.owner != "APIServerCertificate/k8s-master" || src.ca != "k8s" {
		t.Errorf("%q, of %q", src.owner, src.ca)
	}
	for _, claim := range []string{"", "seal", `seal {"issuer":"k8s"}`, `seal {"uid":"server","issuer":"k8s"`, `{"uid":"server","issuer":"k8s"}`} {
		if src := claimed(secret, claim); src.owner != "" {
			t.Errorf("%s: %q, of %q", claim, src.owner, src.ca)
		}
	}
}

// TestSigner names the generation that signed, and none where another did.
func TestSigner(t *testing.T) {
	ca, leaf, other := pairs(t)
	above, err := pki.SignCA(pki.GenerateKey, now, request("k8s-sub"), ca)
	if err != nil {
		t.Fatal(err)
	}
	below, err := pki.Issue(now, request("node", pki.ClientAuth), above)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		pair        pki.Leaf
		generations []v1alpha1.GenerationStatus
		want        Chain
	}{
		"a root's":          {leaf, generationsOf(ca.Cert, 4), Chain{Valid: true, Root: "CN=k8s", TrustedBy: "ConfigMap/k8s-trust", CA: "k8s", Generation: 4}},
		"an intermediate's": {below, generationsOf(above.Cert, 7), Chain{Valid: true, Root: "CN=k8s", TrustedBy: "ConfigMap/k8s-trust", CA: "k8s", Generation: 7}},
		"not in the status": {leaf, generationsOf(other.Cert, 1), Chain{Valid: true, Root: "CN=k8s", TrustedBy: "ConfigMap/k8s-trust"}},
	} {
		t.Run(name, func(t *testing.T) {
			src := source{secret: &corev1.Secret{}, ca: "k8s", items: []material{read("tls.crt", c.pair.CertPEM())}}
			b := builder{now: now, Inputs: &Inputs{bundles: map[string]bundle{
				"k8s": {material: read("ca.crt", pki.EncodeCertificates(ca.Cert)), generations: c.generations},
			}}}
			if diff := cmp.Diff(&c.want, b.chain(src, src.items[0])); diff != "" {
				t.Error(diff)
			}
		})
	}
}
