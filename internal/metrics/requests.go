package metrics

import (
	"net/http"
	"strconv"
	"strings"

	"clusterpki.io/operator/api/v1alpha1"
)

// Requests counts what goes through a transport to the API server: it is for rest.Config.Wrap.
func (c *Counts) Requests(next http.RoundTripper) http.RoundTripper { return counting{next, c} }

type counting struct {
	next   http.RoundTripper
	counts *Counts
}

// RoundTrip implements http.RoundTripper.
func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	code := "error" // no answer
	if err == nil {
		code = strconv.Itoa(resp.StatusCode/100) + "xx"
	}
	verb, resource := asked(r)
	c.counts.requests.WithLabelValues(verb, resource, code).Inc()
	return resp, err //nolint:wrapcheck // a transport hands through what it gets
}

// counted are the resources that are told apart.
var counted = func() map[string]bool {
	out := map[string]bool{"secrets": true, "configmaps": true, "leases": true, "events": true, "tokenreviews": true, "subjectaccessreviews": true}
	for _, k := range v1alpha1.Kinds() {
		out[k.Plural] = true
	}
	return out
}()

var verbs = map[string]string{
	http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete", http.MethodHead: "get",
}

// asked is what a request to the API server is about, in the words of RBAC; a resource that is not known is 'other'.
func asked(r *http.Request) (verb, resource string) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch { // the path of what belongs to an API group: /api/v1/…, /apis/group/version/…
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		parts = nil
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	resource = "other"
	if len(parts) > 0 && counted[parts[0]] {
		resource = parts[0]
		if len(parts) == 3 && parts[2] == "status" {
			resource += "/status"
		}
	}
	if verb = verbs[r.Method]; verb != "" {
		return verb, resource
	}
	switch {
	case r.URL.Query().Get("watch") != "":
		return "watch", resource
	case len(parts) == 1:
		return "list", resource
	default:
		return "get", resource
	}
}
