package probe_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"clusterpki.io/operator/internal/probe"
)

// TestAnswers: an API server is known by what it says, and by nothing else. TestAnswersOfTheRealOne has a real one.
func TestAnswers(t *testing.T) {
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for name, c := range map[string]struct {
		status int
		text   string
		allow  []netip.Prefix
		want   bool
	}{
		"a version":          {http.StatusOK, `{"major":"1","gitVersion":"v1.37.2"}`, local, true},
		"a refusal":          {http.StatusUnauthorized, `{"kind":"Status","apiVersion":"v1","reason":"Unauthorized","code":401}`, local, true},
		"a page":             {http.StatusOK, "<html>It works</html>", local, false},
		"some JSON":          {http.StatusOK, `{"version":"3.7.3"}`, local, false},
		"nothing":            {http.StatusNotFound, "", local, false},
		"it may not be seen": {http.StatusOK, `{"gitVersion":"v1.37.2"}`, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/version" || r.Header.Get("Authorization") != "" {
					t.Errorf("it asks for %s", r.URL)
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.text)
			}))
			defer s.Close()
			if got := (probe.Dialer{Allow: c.allow}).Answers(t.Context(), s.URL); got != c.want {
				t.Errorf("it is %v", got)
			}
		})
	}
	if (probe.Dialer{Allow: local}).Answers(t.Context(), "https://127.0.0.1:1") {
		t.Error("nobody is taken for an API server")
	}
}
