package controller_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

// scraper is a ServiceAccount with a token, which may get the metrics if it is allowed.
func (w *world) scraper(name string, allowed bool) string {
	w.t.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}
	w.create(sa)
	if allowed {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: w.ns + "-metrics"}}
		role.Rules = []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}}
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: w.ns + "-metrics"}}
		binding.RoleRef = rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}
		binding.Subjects = []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.ns, Name: name}}
		w.create(role)
		w.create(binding)
	}
	request := &authenticationv1.TokenRequest{}
	if err := w.api.SubResource("token").Create(w.t.Context(), sa, request); err != nil {
		w.t.Fatal(err)
	}
	return request.Status.Token
}

func scrape(t *testing.T, address, token string) (int, string) {
	t.Helper()
	// The certificate is the server's own: there is nothing to verify it with.
	c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := testenv.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// TestMetricsAreServed tells those who may know, and nobody else, of what the operator did. As in the tests below, one manager
// of the process can tell at a time.
func TestMetricsAreServed(t *testing.T) {
	w := newWorld(t)
	w.stop()
	address := freeAddress(t)
	o := w.installed.Options
	o.MetricsAddress, o.MetricsSecure = address, true
	testenv.RunOperator(t, w.installed.Config, o)
	w.create(newCA("k8s"))
	w.ready("k8s", &v1alpha1.ClusterCA{})
	may, mayNot := w.scraper("prometheus", true), w.scraper("nobody", false)
	want := fmt.Sprintf(`clusterpki_certificate_expiration_timestamp_seconds{kind="ClusterCA",name="k8s",namespace=%q}`, w.ns)
	var body string
	w.eventually("the metrics are served", func() error {
		var code int
		if code, body = scrape(t, address, may); code != http.StatusOK || !strings.Contains(body, want) {
			return fmt.Errorf("%d, without %s", code, want)
		}
		return nil
	})
	for _, line := range []string{
		`clusterpki_issuances_total{kind="ClusterCA",reason="SecretMissing"} 1`,
		`clusterpki_issuances_total{kind="NodeCredential",reason="RenewalDue"} 0`,
		`controller_runtime_reconcile_time_seconds_count{controller="clusterca"}`,
		`clusterpki_build_info{`,
		"\nclusterpki_leader 1\n",
		`clusterpki_api_requests_total{code="2xx",resource="clustercas/status",verb="patch"}`,
		`clusterpki_api_requests_total{code="2xx",resource="tokenreviews",verb="create"}`,
	} {
		if !strings.Contains(body, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	if strings.Contains(body, "PRIVATE KEY") {
		t.Error("the metrics hold a key")
	}
	for token, code := range map[string]int{
		"": http.StatusUnauthorized, mayNot: http.StatusForbidden,
		"nonsense": http.StatusInternalServerError, // it is controller-runtime that answers
	} {
		if got, text := scrape(t, address, token); got != code || strings.Contains(text, "clusterpki_") {
			t.Errorf("with token %.10q it answers %d, not %d: %.200s", token, got, code, text)
		}
	}
}

// TestMetricsCertificate serves with the certificate that is given, and does not begin without one.
func TestMetricsCertificate(t *testing.T) {
	dir := t.TempDir()
	o := controller.Options{MetricsAddress: freeAddress(t), MetricsSecure: true, MetricsCertDir: dir}
	if _, err := controller.New(t.Context(), cfg, o); err == nil || !strings.Contains(err.Error(), "tls.crt") {
		t.Errorf("without a certificate it says %v", err)
	}
	w := newWorld(t)
	w.create(newCA("k8s"), newServer("k8s-master"))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.stop()
	s := w.secret("k8s-master-tls")
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.WriteFile(filepath.Join(dir, name), s.Data[name], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.Namespace, o.AuthorityNamespace, o.OwnNamespace = w.ns, w.authority, w.installed.Options.OwnNamespace
	testenv.RunOperator(t, w.installed.Config, o)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.Data["ca.crt"])
	w.eventually("it shows that certificate", func() error {
		conn, err := tls.Dial("tcp", o.MetricsAddress, &tls.Config{RootCAs: roots, ServerName: "k8s-master", Time: w.clock.Now})
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// TestMetricsOnce refuses to tell of everything twice, and can tell again after a stop.
func TestMetricsOnce(t *testing.T) {
	w := newWorld(t)
	w.stop()
	w.create(newCA("k8s"))
	start := func() (stop func()) {
		o := w.installed.Options
		o.MetricsAddress = freeAddress(t)
		_, stop = testenv.RunOperator(t, w.installed.Config, o)
		return stop
	}
	told := func() {
		w.eventually("the metrics are told of", func() error {
			families, err := metrics.Registry.Gather()
			if slices.ContainsFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "clusterpki_condition" }) {
				return err
			}
			return fmt.Errorf("they are not: %w", err)
		})
	}
	stop := start()
	told()
	o := w.installed.Options
	o.MetricsAddress = freeAddress(t)
	second, err := testenv.StartOperator(w.installed.Config, o)
	if err != nil {
		t.Fatal(err)
	}
	<-second.Ended()
	if err := second.Stop(); err == nil || !strings.Contains(err.Error(), "another manager of this process") {
		t.Errorf("the second ends with %v", err)
	}
	stop()
	stop = start()
	told()
	stop()
}
