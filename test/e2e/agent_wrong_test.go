package e2e_test

import (
	"maps"
	"testing"
	"time"

	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/pki"
)

func otherCA(t *testing.T) pki.CA {
	t.Helper()
	ca, err := pki.SelfSign(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "k8s-ca"}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// TestAgentInstallsNoWrongCertificate puts one certificate into a host's Secrets that the host must not have: its files
// stay as they are, the Lease says why in words, and the right one that comes after it is installed.
func TestAgentInstallsNoWrongCertificate(t *testing.T) {
	request := func(change func(*pki.CertificateSpec)) pki.CertificateSpec {
		r := kubeletRequest()
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		issue func(*testing.T) issued
		says  []string
	}{
		"signed by another CA, which its own bundle names": {
			func(t *testing.T) issued { return issueBy(t, otherCA(t), time.Now(), kubeletRequest()) },
			[]string{"the API server refuses the certificate (401 Unauthorized)", "does not trust the CA that signed it"},
		},
		"all of another cluster": {
			func(t *testing.T) issued {
				ca := otherCA(t)
				i := issueBy(t, ca, time.Now(), kubeletRequest())
				i.server = ca.CertPEM()
				return i
			},
			[]string{"the TLS handshake with the API server", "unknown authority"},
		},
		"of another name": {
			func(t *testing.T) issued {
				return issueBy(t, signingPair(t), time.Now(), request(func(r *pki.CertificateSpec) { r.Subject.CommonName = "system:node:k8s-node1" }))
			},
			[]string{`the certificate is for "CN=system:node:k8s-node1, O=system:nodes"`, `"CN=system:node:k8s-hand, O=system:nodes" is what this host needs`},
		},
		"of another group": {
			func(t *testing.T) issued {
				return issueBy(t, signingPair(t), time.Now(), request(func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"system:masters"} }))
			},
			[]string{`O=system:masters", and`, "it is another's"},
		},
		"expired": {
			func(t *testing.T) issued {
				return issueBy(t, longLived(t), time.Now().Add(-3*time.Hour), kubeletRequest())
			},
			[]string{"the certificate expired at", "is the operator running"},
		},
		"not yet valid": {
			func(t *testing.T) issued {
				return issueBy(t, signingPair(t), time.Now().Add(3*time.Hour), kubeletRequest())
			},
			[]string{"the certificate is not valid before", "is the clock of this host right?"},
		},
		"for servers": {
			func(t *testing.T) issued {
				return issueBy(t, signingPair(t), time.Now(), request(func(r *pki.CertificateSpec) { r.Usages = []pki.Usage{pki.ServerAuth} }))
			},
			[]string{"the certificate is not for"},
		},
		"with the key of another": {
			func(t *testing.T) issued {
				i := good(t)
				i.key = good(t).key
				return i
			},
			[]string{`Secret "kubelet-tls"`, "key"},
		},
		"with a kubeconfig for another API server": {
			func(t *testing.T) issued {
				i := good(t)
				i.endpoint = shared.config.Host
				return i
			},
			[]string{"the TLS handshake with the API server", "unknown authority"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := byHand(t)
			first := good(t)
			h.put(first)
			h.run(agent.Options{})
			h.has(first)
			before, set := h.tree(), h.set()

			wrong := c.issue(t)
			h.put(wrong)
			h.complains(handLease, c.says...)
			if !maps.Equal(before, h.tree()) {
				t.Error("files have changed")
			}
			if now := h.set(); now != set {
				t.Errorf("it was installed, and taken back at best: the files are set %s, and were %s", now, set)
			}
			if r := h.report(handLease); r.Installed == nil || r.Installed.SerialNumber != first.serial {
				t.Errorf("installed is reported as %+v", r.Installed)
			}
			h.shows(first)

			right := good(t)
			h.put(right)
			h.has(right)
			for _, key := range [][]byte{first.key, wrong.key, right.key} {
				h.saysNothingOf(key)
			}
		})
	}
}
