package controller_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestRequestsPerCredential counts, by the API server's own metrics, what a NodeCredential costs from
// apply to Ready: one visit, two Secrets, one status patch and one live read, of the CA's ledger. There is no event. They count
// for all namespaces, so that this test and the next run alone.
func TestRequestsPerCredential(t *testing.T) {
	w := standard(t)
	w.settled()
	const n = 20
	f := &fleet{env: w}
	before, visits := requests(t), f.visitsOf("nodecredential")
	for i := range n {
		w.create(newKubelet(fmt.Sprintf("cost%d", i)))
	}
	for i := range n {
		w.ready(fmt.Sprintf("cost%d", i), &v1alpha1.NodeCredential{})
	}
	w.settled()
	if visits = f.visitsOf("nodecredential") - visits; visits != n {
		t.Errorf("there were %v visits to %d credentials", visits, n)
	}
	got := map[string]float64{}
	for key, count := range requests(t) {
		if d := count - before[key]; d > 0 {
			got[key] = d
		}
	}
	t.Logf("requests for %d NodeCredentials: %v", n, got)
	want := map[string]float64{
		"POST nodecredentials": n, // the test's own
		"POST secrets":         2 * n, "PATCH nodecredentials/status": n, "GET secrets": got["GET secrets"],
	}
	if reads := got["GET secrets"]; reads > n { // fewer: one read serves all that wait for it
		t.Errorf("there were %v live reads", reads)
	}
	for key := range got {
		verb, resource, _ := strings.Cut(key, " ")
		resource, _, _ = strings.Cut(resource, "/")
		switch {
		case !slices.Contains([]string{"secrets", "configmaps", "events", "clustercas", "apiservercertificates", "nodecredentials"}, resource):
			delete(got, key) // the API server's own
		case key == "GET nodecredentials", verb == "WATCH":
			delete(got, key) // the test's own polling, and the caches' watches
		case verb == "LIST" && got[key] < n:
			delete(got, key) // the test's own; one for each credential would show
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// What a rotation may cost each leaf, in requests and in writes among them.
const (
	mostRequestsPerLeaf = 11.5
	mostWritesPerLeaf   = 8.1
)

// TestRequestsPerRotation counts what the rotation of a CA costs each of its leaves, in waves: the Secrets are
// written for the bundle of both CAs, for the new certificate and for the bundle of the new CA alone, and the status
// once. A leaf whose turn has not come is left alone, so that the visits do not grow with the number of waves. What is
// written of the CA itself, and what its gates read, grows with the waves and not with the leaves.
func TestRequestsPerRotation(t *testing.T) {
	const n, waves = 20, 10
	f := newFleet(t, n, "10%")
	f.issue()
	before, visits := requests(t), f.visitsOf("nodecredential")
	f.rotate()
	visits = f.visitsOf("nodecredential") - visits
	got := requests(t)
	for key := range got {
		got[key] -= before[key]
	}
	for key, want := range map[string]float64{
		"PATCH secrets": 3 * (2*n + 1), "POST secrets": 0, "DELETE secrets": 0, "PATCH nodecredentials/status": n,
	} {
		if got[key] != want {
			t.Errorf("%s: %v instead of %v", key, got[key], want)
		}
	}
	if got["PUT secrets"] < waves {
		t.Fatalf("the ledger was written %v times: there were no waves", got["PUT secrets"])
	}
	if visits > 12*n { // each of those writes causes a few
		t.Errorf("there were %v visits to %d credentials", visits, n)
	}
	all, writes, own := rotationCost(got)
	leaves := float64(f.leaves)
	t.Logf("%.2f requests per leaf, of which %.2f write; %v of the CA's own", all/leaves, writes/leaves, own)
	if all/leaves > mostRequestsPerLeaf || writes/leaves > mostWritesPerLeaf {
		t.Errorf("there were %.2f requests per leaf, of which %.2f wrote", all/leaves, writes/leaves)
	}
	if perWave := own / waves; perWave > 20 {
		t.Errorf("there were %v requests of the CA's own in each wave", perWave)
	}
}

// rotationCost adds up what the leaves cost, and apart from it what the CA itself does: its ledger, status and bundle are
// written, and all that depends on it is listed.
func rotationCost(got map[string]float64) (all, writes, own float64) {
	for key, n := range got {
		verb, resource, _ := strings.Cut(key, " ")
		switch {
		case verb == "LIST", resource == "clustercas/status", resource == "configmaps", key == "PUT secrets":
			own += n
		case verb == "WATCH", !slices.Contains([]string{"secrets", "events", "apiservercertificates/status", "nodecredentials/status"}, resource):
			// the caches', the test's own, and the API server's own
		case verb == "GET":
			all += n
		default:
			all, writes = all+n, writes+n
		}
	}
	return all, writes, own
}

// requests reads apiserver_request_total, summed up by verb and resource.
func requests(t testing.TB) map[string]float64 {
	t.Helper()
	c, err := rest.UnversionedRESTClientFor(func() *rest.Config {
		c := rest.CopyConfig(cfg)
		c.GroupVersion = &corev1.SchemeGroupVersion
		c.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
		return c
	}())
	if err != nil {
		t.Fatal(err)
	}
	body, err := c.Get().AbsPath("/metrics").Stream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	return parseRequests(t, body)
}

func parseRequests(t testing.TB, body io.Reader) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line, ok := strings.CutPrefix(lines.Text(), "apiserver_request_total{")
		if !ok {
			continue
		}
		labels, value, _ := strings.Cut(line, "} ")
		set := map[string]string{}
		for l := range strings.SplitSeq(labels, ",") {
			name, text, _ := strings.Cut(l, "=")
			set[name] = strings.Trim(text, `"`)
		}
		count, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatal(err)
		}
		resource := set["resource"]
		if sub := set["subresource"]; sub != "" && sub != "/" {
			resource += "/" + strings.TrimPrefix(sub, "/")
		}
		out[set["verb"]+" "+resource] += count
	}
	return out
}

// TestCacheHoldsOnlyOurs fills the namespace with Secrets and ConfigMaps that are nobody's: the
// operator's caches must not hold one of them.
func TestCacheHoldsOnlyOurs(t *testing.T) {
	t.Parallel()
	w := standard(t)
	for i := range 50 {
		w.create(
			&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("s%d", i)}, Data: map[string][]byte{"x": make([]byte, 1<<10)}},
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("c%d", i)}, Data: map[string]string{"x": "y"}},
		)
	}
	w.create(newKubelet("node2")) // its Secrets come after the foreign ones: when they are cached, so would those be
	w.ready("node2", &v1alpha1.NodeCredential{})
	var secrets corev1.SecretList
	var configMaps corev1.ConfigMapList
	for _, list := range []client.ObjectList{&secrets, &configMaps} {
		if err := w.mgr.GetCache().List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	if len(secrets.Items) != 5 || len(configMaps.Items) != 1 {
		t.Errorf("the cache holds %d Secrets and %d ConfigMaps instead of 5 and 1", len(secrets.Items), len(configMaps.Items))
	}
}

// TestCacheHoldsNoKey looks for the private keys that were issued in what the caches hold of Secrets.
func TestCacheHoldsNoKey(t *testing.T) {
	w := standard(t)
	w.settled()
	var cached strings.Builder
	var secrets corev1.SecretList
	if err := w.mgr.GetCache().List(t.Context(), &secrets); err != nil {
		t.Fatal(err)
	}
	for i := range secrets.Items {
		for key, value := range secrets.Items[i].Data {
			cached.WriteString(key)
			cached.Write(value)
		}
	}
	if !strings.Contains(cached.String(), "BEGIN CERTIFICATE") {
		t.Fatal("the cache holds no certificate: this test sees nothing")
	}
	for _, name := range []string{"node1-tls", "k8s-master-tls", "node1-kubeconfig"} {
		key := w.secret(name).Data["tls.key"]
		for _, form := range []string{strings.Split(string(key), "\n")[1], base64.StdEncoding.EncodeToString(key)[:60]} {
			if strings.Contains(cached.String(), form) {
				t.Errorf("the cache holds the key of Secret %s", name)
			}
		}
	}
	var credentials v1alpha1.NodeCredentialList
	if err := w.mgr.GetCache().List(t.Context(), &credentials); err != nil {
		t.Fatal(err)
	}
	if len(credentials.Items) == 0 || len(credentials.Items[0].ManagedFields) > 0 {
		t.Error("the cache holds managed fields, or no object")
	}
}

// TestKeysStayInSecrets looks for the private keys that were issued in everything else there is.
func TestKeysStayInSecrets(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.delete(w.secret("node1-tls")) // an error path or two
	edit(w, "k8s-master-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["tls.crt"] = s.Data["tls.key"] })
	w.settled()
	var elsewhere strings.Builder
	elsewhere.WriteString(logs.String())
	for _, list := range []client.ObjectList{
		&eventsv1.EventList{}, &corev1.ConfigMapList{}, &v1alpha1.ClusterCAList{}, &v1alpha1.APIServerCertificateList{}, &v1alpha1.NodeCredentialList{},
	} {
		if err := w.api.List(t.Context(), list, client.InNamespace(w.ns)); err != nil {
			t.Fatal(err)
		}
		text, err := yaml.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		elsewhere.Write(text)
	}
	if strings.Contains(elsewhere.String(), "PRIVATE KEY") {
		t.Error("a PEM private key stands outside a Secret")
	}
	for name, key := range map[string][]byte{
		"node1-tls": w.secret("node1-tls").Data["tls.key"], "k8s-master-tls": w.secret("k8s-master-tls").Data["tls.key"], "of the CA": w.authoritySecret("k8s").Data["g1.key"],
	} {
		line := strings.Split(string(key), "\n")[1]
		for _, form := range []string{line, base64.StdEncoding.EncodeToString(key)[:60]} {
			if strings.Contains(elsewhere.String(), form) {
				t.Errorf("the key of Secret %s stands outside a Secret", name)
			}
		}
	}
	if !strings.Contains(elsewhere.String(), "Issued a certificate") {
		t.Error("the log is empty: this test sees nothing")
	}
}
