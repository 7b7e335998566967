package ack_test

import (
	"crypto"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/files"
)

func newKey(t *testing.T, spec pki.KeySpec) pki.PrivateKey {
	t.Helper()
	key, err := pki.GenerateKey(spec)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signed is a Lease with a report that a key has signed.
func signed(t *testing.T, r ack.Report, key pki.PrivateKey) *coordinationv1.Lease {
	t.Helper()
	text, err := r.Text()
	if err != nil {
		t.Fatal(err)
	}
	signature, err := ack.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		v1alpha1.ReportAnnotation: text, v1alpha1.ReportSignatureAnnotation: signature,
	}}}
}

// TestProofOf believes the holder of a recorded key alone, about the object that the key was recorded for.
func TestProofOf(t *testing.T) {
	for _, spec := range []pki.KeySpec{{Algorithm: pki.ECDSA, Size: 256}, {Algorithm: pki.RSA, Size: 2048}, {Algorithm: pki.Ed25519}} {
		key, other := newKey(t, spec), newKey(t, spec)
		recorded := func(serial string) crypto.PublicKey {
			return map[string]crypto.PublicKey{"0A": key.Public(), "09": other.Public()}[serial]
		}
		state := &ack.State{SerialNumber: "0A", Contents: map[string]string{"a/ca.crt": "aa"}}
		good := ack.Report{UID: "u", Host: "node1", Time: now, SignedBy: "0A", Installed: state, Verified: state}
		with := func(change func(*ack.Report)) ack.Report {
			r := good
			change(&r)
			return r
		}
		edited := func(change func(map[string]string)) *coordinationv1.Lease {
			l := signed(t, good, key)
			change(l.Annotations)
			return l
		}
		for name, c := range map[string]struct {
			lease *coordinationv1.Lease
			want  ack.Proof
		}{
			"signed":                     {signed(t, good, key), ack.Signed},
			"by the previous key":        {signed(t, with(func(r *ack.Report) { r.SignedBy = "09" }), other), ack.Signed},
			"a problem":                  {signed(t, with(func(r *ack.Report) { r.Installed, r.Verified, r.Problem = nil, nil, "disk full" }), key), ack.Signed},
			"no Lease":                   {nil, ack.Unsigned},
			"nothing":                    {&coordinationv1.Lease{}, ack.Unsigned},
			"a problem, by nobody":       {lease(`{"problem":"disk full"}`), ack.Unsigned},
			"damage":                     {lease(`{"verified":`), ack.Unsigned},
			"a state, by nobody":         {edited(func(a map[string]string) { delete(a, v1alpha1.ReportSignatureAnnotation) }), ack.Forged},
			"by another recorded key":    {signed(t, good, other), ack.Forged},
			"by a key of his own":        {signed(t, good, newKey(t, spec)), ack.Forged},
			"of no recorded certificate": {signed(t, with(func(r *ack.Report) { r.SignedBy = "08" }), key), ack.Forged},
			"of no certificate":          {signed(t, with(func(r *ack.Report) { r.SignedBy = "" }), key), ack.Forged},
			"about another object":       {signed(t, with(func(r *ack.Report) { r.UID = "v" }), key), ack.Forged},
			"about no object":            {signed(t, with(func(r *ack.Report) { r.UID = "" }), key), ack.Forged},
			"at no time":                 {signed(t, with(func(r *ack.Report) { r.Time = time.Time{} }), key), ack.Forged},
			"changed afterwards": {edited(func(a map[string]string) {
				a[v1alpha1.ReportAnnotation] = strings.Replace(a[v1alpha1.ReportAnnotation], "aa", "bb", 1)
			}), ack.Forged},
			"another time": {edited(func(a map[string]string) {
				a[v1alpha1.ReportAnnotation] = strings.Replace(a[v1alpha1.ReportAnnotation], "12:00", "13:00", 1)
			}), ack.Forged},
			"a signature of nothing":    {edited(func(a map[string]string) { delete(a, v1alpha1.ReportAnnotation) }), ack.Forged},
			"a signature that is none":  {edited(func(a map[string]string) { a[v1alpha1.ReportSignatureAnnotation] = "%" }), ack.Forged},
			"a signature without end":   {edited(func(a map[string]string) { a[v1alpha1.ReportSignatureAnnotation] += strings.Repeat("A", 8<<10) }), ack.Forged},
			"spaces, which say nothing": {edited(func(a map[string]string) { a[v1alpha1.ReportAnnotation] += " " }), ack.Forged},
		} {
			if got := ack.ProofOf(c.lease, "u", recorded); got != c.want {
				t.Errorf("%s, %s: %d instead of %d", spec, name, got, c.want)
			}
		}
		if got := ack.ProofOf(signed(t, with(func(r *ack.Report) { r.UID = "" }), key), "", recorded); got != ack.Forged {
			t.Errorf("%s: for an object without a UID: %d", spec, got)
		}
	}
}

// TestSame compares what is said, not when.
func TestSame(t *testing.T) {
	a := ack.Report{UID: "u", Time: now, Installed: &ack.State{SerialNumber: "0A"}}
	b := a
	b.Time = now.Add(time.Hour)
	if !a.Same(b) {
		t.Error("a later one says something else")
	}
	if b.Problem = "disk full"; a.Same(b) {
		t.Error("a problem is the same as none")
	}
}

// written is the Lease that an agent has written, and the certificate that the operator had issued for it.
func written(t testing.TB) (l *coordinationv1.Lease, issued *x509.Certificate) {
	t.Helper()
	certs, err := pki.ParseCertificates(files.Object[corev1.Secret](t, "credential.yaml").Data[corev1.TLSCertKey])
	if err != nil {
		t.Fatal(err)
	}
	return files.Object[coordinationv1.Lease](t, "lease.yaml"), certs[0]
}

// FuzzProofOf reads whatever somebody may write into a Lease who has seen what its agent wrote there, and has not got the key: nothing but that is signed.
func FuzzProofOf(f *testing.F) {
	l, issued := written(f)
	said, signature, uid := l.Annotations[v1alpha1.ReportAnnotation], l.Annotations[v1alpha1.ReportSignatureAnnotation], ack.Of(l).UID
	changed := strings.NewReplacer
	for _, seed := range [][2]string{
		{said, signature}, {said, ""}, {said, signature[:4]}, {said, signature + signature}, {said, "\n" + signature}, {said + " ", signature}, {"", signature}, {"", ""},
		{changed(`"time":"2026`, `"time":"2027`).Replace(said), signature}, {changed(uid, "u").Replace(said), signature},
		{changed(`"verified":`, `"VERIFIED":`).Replace(said), signature}, {changed(`{"uid"`, `{"problem":"disk full","uid"`).Replace(said), signature},
		{changed(pki.SerialOf(issued), "0A").Replace(said), signature}, {`{"verified":{}}`, ""}, {`{"problem":"disk full"}`, ""},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, report, proof string) {
		l := lease(report)
		if proof != "" {
			l.Annotations[v1alpha1.ReportSignatureAnnotation] = proof
		}
		got := ack.ProofOf(l, uid, func(serial string) crypto.PublicKey {
			if serial != pki.SerialOf(issued) {
				return nil
			}
			return issued.PublicKey
		})
		r := ack.Of(l)
		switch states := r.Installed != nil || r.Verified != nil; {
		case got == ack.Signed && report != said:
			t.Errorf("%q is signed by %q", report, proof)
		case got != ack.Signed && report == said && proof == signature:
			t.Errorf("what the agent wrote is worth %d", got)
		case (got == ack.Unsigned) != (proof == "" && !states):
			t.Errorf("%q with the signature %q is worth %d", report, proof, got)
		}
	})
}
