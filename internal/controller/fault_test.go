package controller_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// faulty lets requests of the operator fail.
type faulty struct {
	next http.RoundTripper
	w    *env
}

func (f faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		f.w.writes.line(r.Method, r.URL.Path)
	}
	if fault := f.w.fault.Load(); fault != nil {
		if code := (*fault)(r); code != 0 {
			return &http.Response{
				StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
				Header: http.Header{}, Body: io.NopCloser(strings.NewReader("injected")), Request: r,
			}, nil
		}
	}
	sent := r
	if r.Method != http.MethodGet { // it is carried out even if the operator ends, and hosts must see it
		sent = r.WithContext(context.WithoutCancel(r.Context()))
	}
	resp, err := f.next.RoundTrip(sent)
	if h := f.w.hosts.Load(); err == nil && h != nil {
		err = h.saw(r, resp)
	}
	if late := f.w.late.Load(); late != nil {
		(*late)(r)
	}
	if err == nil && r.URL.Query().Get("watch") == "true" {
		resp.Body = watched{resp.Body, r, f.w}
	}
	return resp, err
}

// failing lets every request of a method whose path ends in a suffix fail, until the returned function is called. No
// method: every write, and of statuses too.
func (w *env) failing(method, suffix string, code int) (heal func()) {
	f := func(r *http.Request) int {
		switch {
		case method == "" && r.Method != http.MethodGet && (strings.HasSuffix(r.URL.Path, suffix) || strings.HasSuffix(r.URL.Path, "/status")):
			return code
		case r.Method == method && strings.HasSuffix(r.URL.Path, suffix):
			return code
		default:
			return 0
		}
	}
	w.fault.Store(&f)
	return func() { w.fault.Store(nil) }
}

// TestFailingWrites lets one kind of write fail while another certificate is wanted: what is there stays in
// place and Ready, the status says what is retried, and one new certificate follows when the fault ends.
func TestFailingWrites(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, suffix string
		code                 int
		says                 bool // the fault leaves the status writable
	}{
		{"the certificate's Secret is refused", http.MethodPatch, "/secrets/node1-tls", http.StatusForbidden, true},
		{"the certificate's Secret conflicts", http.MethodPatch, "/secrets/node1-tls", http.StatusConflict, false},
		{"the kubeconfig's Secret fails", http.MethodPatch, "/secrets/node1-kubeconfig", http.StatusInternalServerError, true},
		{"the status fails", http.MethodPatch, "/nodecredentials/node1/status", http.StatusInternalServerError, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := standard(t)
			before := w.secret("node1-tls")
			heal := w.failing(c.method, c.suffix, c.code)
			edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Validity = hours(48) })
			if c.says {
				w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonRetrying)
				w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
			}
			if strings.HasSuffix(c.suffix, "-tls") && !bytes.Equal(w.secret("node1-tls").Data["tls.key"], before.Data["tls.key"]) {
				t.Error("the key changed although the write failed")
			}
			heal()
			var now v1alpha1.NodeCredential
			w.eventually("it is issued and its status is whole", func() error {
				w.get("node1", &now)
				if now.Status.ObservedGeneration != now.Generation || now.Status.Revision != 2 || len(now.Status.Conditions) != 2 {
					return errors.New("it is not yet")
				}
				return differs(w.secret("node1-kubeconfig").Data["tls.crt"], w.secret("node1-tls").Data["tls.crt"])
			})
			w.ready("node1", &now)
		})
	}
}

// TestServersCAComesLast has an API server of another CA than the client's, which appears after everything else.
func TestServersCAComesLast(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("clients"), newServer("k8s-master", func(c *v1alpha1.APIServerCertificate) {
		c.Spec.ClientCARefs = []v1alpha1.CAReference{{Name: "clients"}}
	}), newKubelet("node1", func(c *v1alpha1.NodeCredential) { c.Spec.CARef.Name = "clients" }))
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	w.create(newCA("k8s"))
	w.ready("node1", &v1alpha1.NodeCredential{})
	if err := differs(w.secret("node1-kubeconfig").Data["ca.crt"], w.secret("k8s-master-tls").Data["ca.crt"]); err != nil {
		t.Error(err)
	}
}

// TestOutdatedKubeconfigShows re-issues a certificate while its kubeconfig cannot be rendered, and lets the
// certificate in there expire.
func TestOutdatedKubeconfigShows(t *testing.T) {
	t.Parallel()
	w := standard(t)
	var server v1alpha1.APIServerCertificate
	w.get("k8s-master", &server)
	w.delete(&server)
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	old := w.pair("node1-tls").Cert
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Validity = hours(20000) })
	got := w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, "")
	if !strings.Contains(got.Message, "still holds the previous certificate") {
		t.Errorf("the message is %q", got.Message)
	}
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.restartAt(old.NotAfter)
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionFalse, "")
}

// TestDeletedWhileReconciling creates and deletes objects: nothing may be logged as an error.
func TestDeletedWhileReconciling(t *testing.T) {
	t.Parallel()
	w := standard(t)
	for range 5 {
		c := newKubelet("brief")
		w.create(c)
		w.delete(c)
		w.eventually("its Secrets are out of the way", func() error {
			for _, name := range []string{"brief-tls", "brief-kubeconfig"} {
				if !w.missing(name, &corev1.Secret{}) {
					w.delete(w.secret(name)) // there is no garbage collector here
				}
			}
			return nil
		})
	}
	w.settled()
	if strings.Contains(logs.String(), "%!w") {
		t.Error("an error that is none was logged")
	}
}
