package metrics_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/metrics"
)

type answering int

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	if a == 0 {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: int(a), Body: http.NoBody}, nil
}

// ask lets a request be counted; status 0 is no answer.
func ask(t testing.TB, c *metrics.Counts, method, path string, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://api"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Requests(answering(status)).RoundTrip(req)
	if (err == nil) != (status != 0) {
		t.Fatalf("the answer is changed: %v", err)
	}
	if err == nil {
		resp.Body.Close()
	}
}

// TestRequestsOfEveryKind: those to a kind that is in the table are told apart.
func TestRequestsOfEveryKind(t *testing.T) {
	for _, k := range v1alpha1.Kinds() {
		c := metrics.NewCounts(nil)
		ask(t, c, http.MethodGet, "/apis/clusterpki.io/v1alpha1/namespaces/prod/"+k.Plural+"/x", http.StatusOK)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(c)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprint(families); !strings.Contains(text, `"`+k.Plural+`"`) {
			t.Errorf("a request to %s is not told apart: %s", k.Plural, text)
		}
	}
}

// TestRequests names what each request to the API server is about, in few words whatever is asked.
func TestRequests(t *testing.T) {
	for _, c := range []struct {
		method, path         string
		status               int
		verb, resource, code string
	}{
		{http.MethodGet, "/api/v1/namespaces/prod/secrets/x", 200, "get", "secrets", "2xx"},
		{http.MethodGet, "/api/v1/secrets?labelSelector=a", 200, "list", "secrets", "2xx"},
		{http.MethodGet, "/api/v1/namespaces/prod/configmaps", 403, "list", "configmaps", "4xx"},
		{http.MethodGet, "/apis/clusterpki.io/v1alpha1/clustercas?allowWatchBookmarks=true&watch=true", 200, "watch", "clustercas", "2xx"},
		{http.MethodPatch, "/apis/clusterpki.io/v1alpha1/namespaces/prod/nodecredentials/n/status", 409, "patch", "nodecredentials/status", "4xx"},
		{http.MethodPut, "/api/v1/namespaces/prod/secrets/x", 500, "update", "secrets", "5xx"},
		{http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews", 201, "create", "tokenreviews", "2xx"},
		{http.MethodDelete, "/apis/coordination.k8s.io/v1/namespaces/prod/leases/l", 0, "delete", "leases", "error"},
		{http.MethodPost, "/apis/events.k8s.io/v1/namespaces/prod/events", 201, "create", "events", "2xx"},
		{http.MethodGet, "/api/v1/namespaces/secrets", 200, "get", "other", "2xx"}, // of that name
		{http.MethodGet, "/version", 200, "get", "other", "2xx"},
		{http.MethodGet, "/apis/x/v1/namespaces/prod/whatever/there/is", 404, "get", "other", "4xx"},
	} {
		counts := metrics.NewCounts(nil)
		ask(t, counts, c.method, c.path, c.status)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(counts)
		want := fmt.Sprintf("clusterpki_api_requests_total{code=%q,resource=%q,verb=%q} 1\n", c.code, c.resource, c.verb)
		if got := string(gather(t, registry)); !strings.Contains(got, want) {
			t.Errorf("%s %s: it says\n%s, not %s", c.method, c.path, got, want)
		}
	}
}
