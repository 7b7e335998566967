package agent

import (
	"crypto/ed25519"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
)

// operatorKey signs what the agents of tests install.
var operatorKey = ed25519.NewKeyFromSeed([]byte("the delivery key of the tests..."))

// operatorPublic is its public half, as a configuration has it.
func operatorPublic() string {
	text, err := delivery.EncodePublic(operatorKey.Public().(ed25519.PublicKey))
	if err != nil {
		panic(err) // a key of Ed25519 can be encoded
	}
	return string(text)
}

// signings counts what was signed: each is later than the one before.
var signings atomic.Int64

// signed puts what the operator says of a Secret into it.
func signed(t testing.TB, s *corev1.Secret, mods ...func(*delivery.Document)) {
	t.Helper()
	signedBy(t, operatorKey, s, mods...)
}

// signedBy is signed, by another key.
func signedBy(t testing.TB, key ed25519.PrivateKey, s *corev1.Secret, mods ...func(*delivery.Document)) {
	t.Helper()
	d := delivery.Document{
		Statement: delivery.Statement{
			Kind: "NodeCredential", Namespace: "prod", Name: strings.TrimSuffix(s.Name, "-tls"), UID: "uid", Host: "k8s-node1", Contents: map[string]string{},
		},
		Time: at().Add(-24 * time.Hour).Add(time.Duration(signings.Add(1)) * time.Second),
	}
	for _, key := range consumers.PublicKeys {
		if value, there := s.Data[key]; there {
			d.Contents[key] = delivery.DigestOf(value)
		}
	}
	for _, mod := range mods {
		mod(&d)
	}
	text, err := delivery.Sign(key, d)
	if err != nil {
		t.Fatal(err)
	}
	s.Data[consumers.DeliveryKey] = text
}

// trusting says which revisions the bundles are of.
func trusting(trust map[string]map[string]int64) func(*delivery.Document) {
	return func(d *delivery.Document) { d.Trust = trust }
}

// reaching says how the API server is reached.
func reaching(server string) func(*delivery.Document) {
	return func(d *delivery.Document) {
		d.Kubeconfig = &delivery.Kubeconfig{Server: server, ClusterName: "k8s", ContextName: "default", UserName: "kubelet"}
	}
}
