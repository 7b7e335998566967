package controller_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// replica is a process that serves what it last read from a Secret, as kube-apiserver does.
type replica struct {
	w       *env
	address string
	config  atomic.Pointer[tls.Config]
}

func (w *env) replica() *replica {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	r := &replica{w: w, address: l.Addr().String()}
	r.reload()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = tls.Server(conn, r.config.Load()).Handshake()
				_, _ = conn.Read(make([]byte, 1))
			}()
		}
	}()
	return r
}

// reload reads what the Secret holds now.
func (r *replica) reload() {
	r.w.t.Helper()
	pair := r.w.pair("k8s-master-tls")
	clients := x509.NewCertPool()
	for _, ca := range r.w.bundle("k8s-master-tls", "client-ca.crt") {
		clients.AddCert(ca)
	}
	r.config.Store(&tls.Config{
		MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert, ClientCAs: clients,
		Certificates: []tls.Certificate{{Certificate: [][]byte{pair.Cert.Raw}, PrivateKey: pair.Key.Signer()}},
	})
}

// TestTheWireMustAgree replaces the CA of an API server of two replicas that reload when the test says so: however
// long it takes, no phase ends before each of them was seen to have what the phase brings.
func TestTheWireMustAgree(t *testing.T) {
	t.Parallel()
	w := standard(t)
	replicas := []*replica{w.replica(), w.replica()}
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) {
		c.Spec.Probe = &v1alpha1.ProbeSpec{
			Addresses: []string{replicas[0].address, replicas[1].address}, Interval: metav1.Duration{Duration: time.Second},
		}
	})
	w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.ServingCondition, metav1.ConditionTrue, v1alpha1.ReasonAsExpected)
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Validity = hours(50000) })
	for _, step := range []struct{ phase, next v1alpha1.Phase }{
		{"DistributingTrust", "Reissuing"}, {"Reissuing", "WithdrawingTrust"}, {"WithdrawingTrust", ""},
	} {
		w.phase("k8s", step.phase)
		w.delivered()
		for i, r := range replicas {
			w.eventually("the API server is waited for", func() error {
				if p := pendingOf(w.phase("k8s", step.phase)); len(p) != 1 || p[0] != "APIServerCertificate/k8s-master" {
					return errors.New(strings.Join(p, ", "))
				}
				return nil
			})
			if i == 0 && step.phase == "DistributingTrust" {
				c := w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.ServingCondition, metav1.ConditionFalse, v1alpha1.ReasonMissingClientCA)
				if !strings.Contains(c.Message, `does not accept clients of the CA "CN=k8s g2"`) {
					t.Errorf("the message is %q", c.Message)
				}
			}
			r.reload()
		}
		w.phase("k8s", step.next)
	}
	w.eventually("it serves what it should", func() error {
		var c v1alpha1.APIServerCertificate
		w.get("k8s-master", &c)
		if c.Status.Certificate.SHA256Fingerprint != pki.FingerprintOf(w.pair("k8s-master-tls").Cert) {
			return errors.New("it does not")
		}
		return nil
	})
}
