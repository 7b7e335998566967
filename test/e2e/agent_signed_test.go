package e2e_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/testenv"
)

// TestAgentInstallsOnlyWhatIsSigned lets somebody who may update the Secret of a host edit each value in turn, put an older state back, and copy
// another object's over. Nothing of that reaches the host, and the agent says why.
func TestAgentInstallsOnlyWhatIsSigned(t *testing.T) {
	t.Parallel()
	h := byHand(t)
	first := good(t)
	h.put(first)
	h.run(agent.Options{})
	h.has(first)
	older := h.stored().Data
	second := good(t)
	h.put(second)
	h.has(second)
	current := h.stored().Data
	evil, err := pki.SelfSign(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "evil"}, Key: pki.KeySpec{Algorithm: pki.Ed25519}, Validity: 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	copied, err := second.signed(h.config.Namespace, "another", h.config.Host)
	if err != nil {
		t.Fatal(err)
	}
	edits := map[string]struct {
		data map[string][]byte
		says string
	}{
		"an older state": {older, "DeliveryOutdated"}, "another object's": {copied, "SignatureInvalid"},
	}
	for _, key := range []string{"tls.crt", "ca.crt", "apiserver-ca.crt", consumers.DeliveryKey} {
		data := maps.Clone(current)
		data[key] = slices.Concat(data[key], evil.CertPEM())
		edits[key] = struct {
			data map[string][]byte
			says string
		}{data, "SignatureInvalid"}
	}
	for name, edit := range edits {
		h.putSecret(handLease, edit.data)
		testenv.Eventually(t, name+" is refused", func() error {
			if r := h.report(handLease); !strings.HasPrefix(r.Problem, edit.says) {
				return fmt.Errorf("the agent says %q", r.Problem)
			}
			return nil
		})
		h.shows(second)
		for _, file := range kubeletFiles {
			if bytes.Contains(h.read(file), evil.CertPEM()) {
				t.Errorf("%s: %s holds it", name, file)
			}
		}
		h.putSecret(handLease, current)
		h.has(second)
	}
}

// stored is the Secret of the host.
func (h *host) stored() *corev1.Secret {
	h.t.Helper()
	var s corev1.Secret
	if err := shared.management.Get(h.t.Context(), client.ObjectKey{Namespace: h.config.Namespace, Name: handLease}, &s); err != nil {
		h.t.Fatal(err)
	}
	return &s
}
