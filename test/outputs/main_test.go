// Package outputs_test shows what other programs make of the Secrets in their forms, by the code with which they read them.
package outputs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

var shared *testenv.ControlPlane

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testenv.Main(m, testenv.StartEmpty, func(ctx context.Context, c *testenv.ControlPlane) error {
		shared = c
		return c.Operate(ctx)
	}))
}

// env is a ClusterPKI in a namespace of its own, and the API server of its only control plane host.
type env struct {
	*testing.T
	api client.Client
	ns  string
	url string
}

// newEnv makes a ClusterPKI "prod", and waits until it is Ready. What is issued counts as in use after a second, so that its CAs are rotated in real time.
func newEnv(t *testing.T, mods ...func(*v1alpha1.ClusterPKI)) *env {
	t.Helper()
	api, err := testenv.Client(shared.Config)
	if err != nil {
		t.Fatal(err)
	}
	e := &env{T: t, api: api, ns: testenv.Namespace(t, api, "outputs")}
	e.serve()
	c := &v1alpha1.ClusterPKI{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "prod"}, Spec: v1alpha1.ClusterPKISpec{
		Endpoint: e.url, ServiceCIDRs: []string{"10.96.0.0/12"},
		ControlPlane: v1alpha1.ControlPlaneSpec{Kubelet: new(false), Hosts: []v1alpha1.ControlPlaneHost{{Name: "k8s-master"}}},
		Certificates: v1alpha1.CertificatesSpec{
			Delivery: v1alpha1.HostDelivery{
				Mode: v1alpha1.DeliveryMounted, AcceptAssumed: v1alpha1.AcceptAssumedAlways, PropagationDelay: metav1.Duration{Duration: time.Second},
			},
		},
	}}
	for _, mod := range mods {
		mod(c)
	}
	if err := api.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the ClusterPKI is Ready", func() error {
		e.get("prod", c)
		for _, condition := range c.Status.Conditions {
			if condition.Type == v1alpha1.ReadyCondition && condition.Status == metav1.ConditionTrue && c.Status.ObservedGeneration == c.Generation {
				return nil
			}
		}
		return fmt.Errorf("%+v", c.Status.Conditions)
	})
	return e
}

func (e *env) key(name string) client.ObjectKey { return client.ObjectKey{Namespace: e.ns, Name: name} }

func (e *env) get(name string, o client.Object) {
	e.Helper()
	if err := e.api.Get(e.Context(), e.key(name), o); err != nil {
		e.Fatal(err)
	}
}

func (e *env) secret(name string) *corev1.Secret {
	e.Helper()
	var s corev1.Secret
	e.get(name, &s)
	return &s
}

// serve is the shared control plane's API server behind the certificate of this cluster's, which takes this cluster's clients for whom their certificates
// name. What it serves, and which clients it takes, is in the Secret of its certificate at each connection.
func (e *env) serve() {
	e.Helper()
	behind, err := url.Parse(shared.Config.Host)
	if err != nil {
		e.Fatal(err)
	}
	if behind.Scheme == "" {
		behind = &url.URL{Scheme: "https", Host: shared.Config.Host}
	}
	transport, err := rest.TransportFor(shared.Config)
	if err != nil {
		e.Fatal(err)
	}
	s := httptest.NewUnstartedServer(&httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(behind)
		as := r.In.TLS.PeerCertificates[0].Subject
		r.Out.Header.Set("Impersonate-User", as.CommonName)
		r.Out.Header["Impersonate-Group"] = append(as.Organization, "system:authenticated")
	}})
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		var files corev1.Secret
		if err := e.api.Get(context.Background(), e.key("prod-k8s-master-apiserver-tls"), &files); err != nil {
			return nil, fmt.Errorf("read what is mounted: %w", err)
		}
		pair, err := tls.X509KeyPair(files.Data["tls.crt"], files.Data["tls.key"])
		if err != nil {
			return nil, fmt.Errorf("read the serving certificate: %w", err)
		}
		clients := x509.NewCertPool()
		if !clients.AppendCertsFromPEM(files.Data["client-ca.crt"]) {
			return nil, errors.New("client-ca.crt holds no certificate")
		}
		return &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
		}, nil
	}}
	s.StartTLS()
	e.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		e.Fatal(err)
	}
	e.url = "https://127.0.0.1:" + port
}

// seenAs is as whom the API server sees a client.
func (e *env) seenAs(c *rest.Config) (string, error) {
	to, err := rest.HTTPClientFor(c)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer to.CloseIdleConnections()
	api, err := client.New(c, client.Options{HTTPClient: to})
	if err != nil {
		return "", fmt.Errorf("connect to %s: %w", c.Host, err)
	}
	return e.reviewed(api)
}

// reviewed is as whom the API server sees a client.
func (e *env) reviewed(api client.Client) (string, error) {
	var review authenticationv1.SelfSubjectReview
	if err := api.Create(e.Context(), &review); err != nil {
		return "", fmt.Errorf("ask as whom it is seen: %w", err)
	}
	return fmt.Sprintf("%s %v", review.Status.UserInfo.Username, review.Status.UserInfo.Groups[:1]), nil
}

const administrator = "kubernetes-admin [kubeadm:cluster-admins]"

// rotate rotates the cluster's CA, and calls a function again and again meanwhile.
func (e *env) rotate(meanwhile func()) {
	e.Helper()
	testenv.Edit(e.T, e.api, &v1alpha1.ClusterPKI{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "prod"}}, func(c *v1alpha1.ClusterPKI) {
		c.Spec.CertificateAuthorities.Cluster.Rotation = &v1alpha1.RotationSpec{Trigger: "2026-11"}
	})
	testenv.Eventually(e.T, "the CA is rotated", func() error {
		meanwhile()
		var ca v1alpha1.ClusterCA
		e.get("prod-ca", &ca)
		if len(ca.Status.Generations) != 1 || ca.Status.Generations[0].Number != 2 {
			return fmt.Errorf("%+v", ca.Status.Rotation)
		}
		return nil
	})
}
