package attacks_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/testenv"
)

// planted is a certificate of the attacker's, with its key, which nothing may ever come to use.
type planted struct {
	cert      *x509.Certificate
	pem, keys []byte
}

// evil is a CA of the attacker's. Every check at the end looks for its key.
func (v *victim) evil() (pair pki.CA, certPEM, keyPEM []byte) {
	v.t.Helper()
	pair, certPEM, keyPEM = evil(v.t)
	v.plants(certPEM, keyPEM)
	return pair, certPEM, keyPEM
}

// plants notes what an attacker brings: a chain of certificates, and the key of the first.
func (v *victim) plants(chainPEM, keyPEM []byte) {
	v.t.Helper()
	chain, err := pki.ParseCertificates(chainPEM)
	v.must(err)
	for _, cert := range chain {
		v.planted = append(v.planted, planted{cert, pki.EncodeCertificates(cert), keyPEM})
	}
}

// usesNothingPlanted refuses a key of the attacker's in any CA of any namespace, and in what was issued and published here.
func (v *victim) usesNothingPlanted() {
	v.t.Helper()
	records, damaged, err := authority.New(controller.DefaultAuthorityNamespace, admin, nil).List(v.t.Context())
	v.must(err)
	for name, err := range damaged {
		v.t.Errorf("Secret %s of the authority namespace is damaged: %v", name, err)
	}
	for _, r := range records {
		for number, ca := range r.CAs {
			certs := slices.Concat([]*x509.Certificate{ca.Cert, ca.Root}, ca.Chain, ca.CrossSigned)
			v.refuse(fmt.Sprintf("generation %d of ClusterCA %s/%s", number, r.Namespace, r.Name), certs)
		}
	}
	objects, err := testenv.Objects(v.t.Context(), admin, v.ns)
	v.must(err)
	for _, o := range objects {
		if meta.IsStatusConditionTrue(*o.StatusConditions(), v1alpha1.StalledCondition) {
			continue // what it names may be the attacker's
		}
		for _, name := range o.SecretNames() {
			v.refuseIn(v.secret(name))
		}
		if ca, ok := o.(*v1alpha1.ClusterCA); ok {
			var cm corev1.ConfigMap
			v.must(client.IgnoreNotFound(v.get(&cm, ca.TrustConfigMapName())))
			v.refuseText("ConfigMap "+cm.Name, []byte(cm.Data["ca.crt"]))
		}
	}
}

// refuse looks at certificates: none may have a planted key, or be signed by one.
func (v *victim) refuse(where string, certs []*x509.Certificate) {
	v.t.Helper()
	for _, cert := range certs {
		if cert != nil && slices.ContainsFunc(v.planted, func(p planted) bool {
			return pki.SamePublicKey(cert.PublicKey, p.cert.PublicKey) || pki.SignedBy(cert, p.cert)
		}) {
			v.t.Errorf("%s uses a key that was planted: %s", where, cert.Subject)
		}
	}
}

// refuseIn looks at a Secret that the operator made.
func (v *victim) refuseIn(s *corev1.Secret) {
	v.t.Helper()
	if text := s.Data[corev1.TLSCertKey]; len(text) > 0 {
		certs, err := pki.ParseCertificates(text)
		v.must(err)
		v.refuse("Secret "+s.Name, certs)
	}
	for key, value := range s.Data {
		v.refuseText("Secret "+s.Name+" with its "+key, value)
	}
}

func (v *victim) refuseText(where string, value []byte) {
	v.t.Helper()
	if slices.ContainsFunc(v.planted, func(p planted) bool { return holds(value, p.pem) || holds(value, p.keys) }) {
		v.t.Errorf("%s holds what was planted", where)
	}
}

// encoded finds what may be base64 in a text.
var encoded = regexp.MustCompile(`[A-Za-z0-9+/]{64,}={0,2}`)

// holds says whether a text stands in a value: as it is, or in base64, as in a kubeconfig.
func holds(value, text []byte) bool {
	return bytes.Contains(value, text) || slices.ContainsFunc(encoded.FindAll(value, -1), func(run []byte) bool {
		plain, err := base64.StdEncoding.DecodeString(string(run))
		return err == nil && bytes.Contains(plain, text)
	})
}

// TestHolds lets a CA stand in a value alone, and behind others of any length: in base64 it looks otherwise each time.
func TestHolds(t *testing.T) {
	_, text, _ := evil(t)
	_, other, _ := evil(t)
	for _, before := range []string{"", "#", "##", "###", string(other)} {
		bundle := append([]byte(before), text...)
		for _, value := range []string{string(bundle), "  certificate-authority-data: " + base64.StdEncoding.EncodeToString(bundle) + "\n"} {
			if !holds([]byte(value), text) {
				t.Errorf("it is not found in %q", value)
			}
			if _, third, _ := evil(t); holds([]byte(value), third) {
				t.Errorf("another one is found in %q", value)
			}
		}
	}
}
