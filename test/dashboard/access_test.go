package dashboard_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/dashboard"
	"clusterpki.io/operator/test/testenv"
)

// TestWho says who sees what, by a token in the header.
func TestWho(t *testing.T) {
	all, prod, nobody := user(t, "all", ""), user(t, "prod-only", "prod"), user(t, "nobody")
	listen(t, all).sees("staging-kubelet") // what changed a moment ago has been looked at
	for name, c := range map[string]struct {
		token string
		code  int
		has   []string
		lacks []string
	}{
		"no token":           {"", 401, []string{`<input id="token"`}, []string{"prod"}},
		"no token of anyone": {"forged", 401, []string{`<input id="token"`}, []string{"prod"}},
		"a changed token":    {all[:len(all)-4] + "AAAA", 401, []string{`<input id="token"`}, []string{"prod"}},
		"no rights":          {nobody, 403, []string{"system:serviceaccount:default:nobody", "not allowed to list and watch"}, []string{"prod-ca", "staging"}},
		"one namespace":      {prod, 200, []string{"prod-ca", "prod-kubelet", "namespace prod"}, []string{"staging"}},
		"everything":         {all, 200, []string{"prod-ca", "staging-ca", "staging-kubelet"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/", "/events"} {
				if path == "/events" && c.code == 200 {
					continue // it does not end
				}
				a := ask(t, "GET", path, c.token)
				if a.StatusCode != c.code {
					t.Errorf("%s: %s instead of %d", path, a.Status, c.code)
				}
				for _, text := range c.has {
					if !strings.Contains(a.body, text) {
						t.Errorf("%s lacks %q:\n%s", path, text, a.body)
					}
				}
				for _, text := range c.lacks {
					if strings.Contains(a.body, text) {
						t.Errorf("%s has %q", path, text)
					}
				}
			}
		})
	}
	s := listen(t, prod)
	if _, data, _ := s.next(); !strings.Contains(data, "prod-ca") || strings.Contains(data, "staging") {
		t.Errorf("the stream of one namespace:\n%s", data)
	}
}

// TestForm signs in by the form, and out again.
func TestForm(t *testing.T) {
	token := user(t, "form", "")
	if a := ask(t, "POST", "/login", "", form("forged")); a.StatusCode != 401 || len(a.Cookies()) > 0 || !strings.Contains(a.body, `role="alert"`) {
		t.Errorf("a forged token: %s, %v", a.Status, a.Cookies())
	}
	if a := ask(t, "POST", "/login", "", form(strings.Repeat("x", 20<<10))); a.StatusCode != 400 || len(a.Cookies()) > 0 {
		t.Errorf("a form that is too large: %s", a.Status)
	}
	a := ask(t, "POST", "/login", "", form(" "+token+"\n"))
	if a.StatusCode != 303 || len(a.Cookies()) != 1 || strings.Contains(a.body, token) || a.Header.Get("Location") != "/" {
		t.Fatalf("sign in: %s, %v", a.Status, a.Cookies())
	}
	c := a.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.MaxAge != 0 || c.Path != "/" {
		t.Errorf("the cookie is HttpOnly %v, SameSite %v, MaxAge %v, Path %v", c.HttpOnly, c.SameSite, c.MaxAge, c.Path)
	}
	other := ask(t, "POST", "/login", "", form(token), func(r *http.Request) { r.Host = "localhost:8445" })
	if name := other.Cookies()[0].Name; name != "clusterpki-8445" || name == c.Name {
		t.Errorf("the dashboards of two ports have the cookies %s and %s", c.Name, name)
	}
	with := func(r *http.Request) { r.AddCookie(c) }
	if a := ask(t, "GET", "/", "", with); a.StatusCode != 200 || strings.Contains(a.body, token) {
		t.Errorf("with the cookie: %s", a.Status)
	}
	if a := ask(t, "POST", "/logout", "", with); a.StatusCode != 303 || a.Cookies()[0].MaxAge >= 0 {
		t.Errorf("sign out: %s, %v", a.Status, a.Cookies())
	}
}

// TestRefused is what no browser of ours asks.
func TestRefused(t *testing.T) {
	token := user(t, "refused", "")
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	header := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	for name, c := range map[string]struct {
		method, path string
		mod          func(*http.Request)
		code         int
	}{
		"another host":              {"GET", "/", host("evil.example:8444"), 421},
		"another host, signing in":  {"GET", "/login", host("evil.example"), 421},
		"a name that begins right":  {"GET", "/", host("localhost.evil.example"), 421},
		"a name that ends right":    {"GET", "/", host("evilsvc"), 421},
		"localhost":                 {"GET", "/", host("localhost:8444"), 200},
		"IPv6":                      {"GET", "/", host("[::1]:8444"), 200},
		"the Service":               {"GET", "/", host("clusterpki-dashboard.clusterpki-system.svc:8444"), 200},
		"a form of another site":    {"POST", "/login", header("Sec-Fetch-Site", "cross-site"), 403},
		"a form of another origin":  {"POST", "/logout", header("Origin", "https://evil.example"), 403},
		"writing":                   {"POST", "/", header("X", ""), 405},
		"deleting":                  {"DELETE", "/events", header("X", ""), 405},
		"changing":                  {"PUT", "/login", header("X", ""), 405},
		"a page that there is not":  {"GET", "/secrets", header("X", ""), 404},
		"the list of files":         {"GET", "/assets/", header("X", ""), 404},
		"a template":                {"GET", "/assets/page.html", header("X", ""), 404},
		"the script":                {"GET", "/assets/live.js", header("X", ""), 200},
		"a folder":                  {"GET", "/assets/../dashboard.go", header("X", ""), 307},
		"the style, without rights": {"GET", "/assets/style.css", header("Authorization", ""), 200},
	} {
		t.Run(name, func(t *testing.T) {
			if a := ask(t, c.method, c.path, token, c.mod); a.StatusCode != c.code {
				t.Errorf("%s instead of %d", a.Status, c.code)
			}
		})
	}
}

// TestRevoked: whoever may no longer look is shown no more, in the middle of a stream.
func TestRevoked(t *testing.T) {
	token := user(t, "revoked", "")
	s := listen(t, token)
	s.sees("prod-ca")
	revoke(t, "revoked")
	for {
		event, _, ok := s.next()
		if !ok {
			t.Fatal("the stream ended without a word")
		}
		if event == "end" {
			break
		}
	}
	if _, _, ok := s.next(); ok {
		t.Error("the stream goes on after its end")
	}
	if a := ask(t, "GET", "/", token); a.StatusCode != 401 {
		t.Errorf("afterwards: %s", a.Status)
	}
}

// TestHosts: names that were allowed are known however they are written.
func TestHosts(t *testing.T) {
	server, err := dashboard.New(nil, dashboard.Options{
		Address: "127.0.0.1:0", Hosts: []string{"PKI.Example.com", " other.example.com. "}, Clock: clock.RealClock{}, Log: logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for host, code := range map[string]int{
		"pki.example.com": 200, "PKI.example.com:8444": 200, "pki.example.com.": 200, "other.example.com": 200, "example.com": 421, "": 421,
	} {
		r := httptest.NewRequest(http.MethodGet, "/login", nil)
		r.Host = host
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, r)
		if w.Code != code {
			t.Errorf("host %q: %d instead of %d", host, w.Code, code)
		}
	}
}

// TestLive: a change of an object reaches every viewer, and costs the API server nothing for each.
func TestLive(t *testing.T) {
	token := user(t, "live", "")
	var streams []*stream
	for range 10 {
		s := listen(t, token)
		s.sees("prod-ca")
		streams = append(streams, s)
	}
	reads := func() (n int) { // of all objects of a kind; single ones the operator reads
		for _, kind := range []string{"clustercas", "apiservercertificates", "nodecredentials"} {
			n += shared.counter.count("GET /apis/clusterpki.io/v1alpha1/" + kind)
		}
		return n
	}
	before := reads()
	ca := &v1alpha1.ClusterCA{}
	ca.Namespace, ca.Name = "prod", "late-ca"
	if err := shared.api.Create(t.Context(), ca); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shared.api.Delete(t.Context(), ca) })
	for _, s := range streams {
		s.sees("late-ca")
	}
	if n := reads() - before; n > 0 || before == 0 {
		t.Errorf("ten viewers cost %d reads of the objects, after %d", n, before)
	}
	if n := shared.counter.count("tokenreviews"); n > 60 {
		t.Errorf("the API server was asked %d times about tokens", n)
	}
}

// TestFlood: many wrong tokens do not become many questions, and keep out nobody who was let in before.
func TestFlood(t *testing.T) {
	asked := &counter{}
	config := rest.CopyConfig(shared.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return asked.on(next) })
	connection, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	stopped := clocktesting.NewFakePassiveClock(time.Now())
	access, err := dashboard.NewReviews(config, connection, stopped, 0)
	if err != nil {
		t.Fatal(err)
	}
	server, err := dashboard.New(nil, dashboard.Options{Address: "127.0.0.1:0", Access: access, Clock: stopped, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	good := user(t, "flooded", "")
	if _, err := access.Admit(t.Context(), good, nil); err != nil {
		t.Fatal(err)
	}
	codes := map[int]int{}
	for i := range 500 {
		r := httptest.NewRequest(http.MethodGet, "http://localhost/", nil).WithContext(t.Context())
		r.Header.Set("Authorization", fmt.Sprintf("Bearer wrong-%d", i))
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, r)
		codes[w.Code]++
	}
	if n := asked.count("tokenreviews") - 1; codes[429] == 0 || n != codes[401] || codes[401]+codes[429] != 500 {
		t.Errorf("500 wrong tokens were %d questions, and the answers %v", n, codes)
	}
	before := asked.count("tokenreviews")
	stopped.SetTime(stopped.Now().Add(dashboard.DefaultRecheck))
	if _, err := access.Admit(t.Context(), good, nil); err != nil || asked.count("tokenreviews") == before {
		t.Errorf("who was let in before is asked about %d times, and told %v", asked.count("tokenreviews")-before, err)
	}
	revoke(t, "flooded")
	// The API server itself goes on knowing a token for some seconds.
	if err := testenv.Wait(t.Context(), func() error {
		stopped.SetTime(stopped.Now().Add(dashboard.DefaultRecheck))
		if _, err := access.Admit(t.Context(), good, nil); err == nil {
			return errors.New("a revoked token is let in")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestListening: without TLS it is served to this machine alone; with TLS it is HTTPS, and its cookie is Secure.
func TestListening(t *testing.T) {
	o := dashboard.Options{Address: ":8444", Clock: clock.RealClock{}, Log: logr.Discard()}
	for _, bad := range []string{":8444", "0.0.0.0:8444", "[::]:8444", "example.com:8444", "8444", ""} {
		o.Address = bad
		if _, err := dashboard.New(nil, o); err == nil {
			t.Errorf("%q is listened on without TLS", bad)
		}
	}
	for _, good := range []string{"127.0.0.1:8444", "[::1]:8444", "localhost:8444", "127.7.7.7:0"} {
		o.Address = good
		if _, err := dashboard.New(nil, o); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	mgr, err := ctrl.NewManager(shared.config, ctrl.Options{Scheme: controller.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	where := make(chan net.Addr, 1)
	access, err := dashboard.NewReviews(mgr.GetConfig(), mgr.GetHTTPClient(), clock.RealClock{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	server, err := dashboard.New(mgr.GetCache(), dashboard.Options{
		Address: "127.0.0.1:0", Secure: true, Access: access,
		Clock: clock.RealClock{}, Log: logr.Discard(), Listening: func(a net.Addr) { where <- a },
	})
	if err != nil {
		t.Fatal(err)
	}
	go mgr.GetCache().Start(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(t.Context()) }()
	base := "https://" + (<-where).String()
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	token := user(t, "secure", "")
	var response *http.Response
	if err := testenv.Wait(t.Context(), func() error {
		response, err = browser.PostForm(base+"/login", map[string][]string{"token": {token}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	cookie := response.Request.Response.Header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "__Host-") || !strings.Contains(cookie, "; Secure") || !strings.Contains(cookie, "; HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") {
		t.Errorf("the cookie is %q", strings.ReplaceAll(cookie, token, "…"))
	}
	if response.TLS == nil || response.TLS.PeerCertificates[0].IsCA {
		t.Error("the serving certificate is a CA")
	}
}
