// Package dashboard_test asks the dashboard of a running operator on a real API server, as browsers and others would.
package dashboard_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/dashboard"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// recheck is how long an answer of the API server counts here.
const recheck = time.Second

// shared is what every test uses: a cluster whose namespaces 'prod' and 'staging' hold a CA with a certificate each.
var shared struct {
	config  *rest.Config
	api     client.Client
	counter *counter
	page    *httptest.Server
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testenv.Main(m, testenv.StartEmpty, start))
}

func start(ctx context.Context, c *testenv.ControlPlane) (err error) {
	shared.config = c.Config
	if shared.api, err = testenv.Client(c.Config); err != nil {
		return err
	}
	installed, err := c.Install(ctx)
	if err != nil {
		return err
	}
	shared.counter = &counter{}
	installed.Config.Wrap(func(next http.RoundTripper) http.RoundTripper { return shared.counter.on(next) })
	operator, err := testenv.StartOperator(installed.Config, installed.Options, addDashboard)
	if err != nil {
		return err
	}
	c.Finally(operator.Stop)
	if err := fill(ctx); err != nil {
		return err
	}
	return testenv.Wait(ctx, func() error {
		var all v1alpha1.NodeCredentialList
		if err := shared.api.List(ctx, &all); err != nil {
			return err
		}
		for _, c := range all.Items {
			if c.Status.Certificate.SerialNumber == "" {
				return fmt.Errorf("%s has no certificate", c.Name)
			}
		}
		return nil
	})
}

// addDashboard has an operator serve the dashboard; the tests ask its handler over a server of their own.
func addDashboard(mgr manager.Manager) error {
	access, err := dashboard.NewReviews(mgr.GetConfig(), mgr.GetHTTPClient(), clock.RealClock{}, recheck)
	if err != nil {
		return err
	}
	server, err := dashboard.New(mgr.GetCache(), dashboard.Options{
		Address: "127.0.0.1:0", Access: access, Recheck: recheck,
		Clock: clock.RealClock{}, Log: logr.Discard(),
	})
	if err != nil {
		return err
	}
	shared.page = httptest.NewServer(server.Handler())
	return mgr.Add(server)
}

// fill makes what the dashboard shows.
func fill(ctx context.Context) error {
	for _, name := range []string{"prod", "staging", "empty"} {
		if err := shared.api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	for _, namespace := range []string{"prod", "staging"} {
		ca := given.CA(namespace + "-ca")
		credential := given.Kubelet(namespace+"-kubelet", func(c *v1alpha1.NodeCredential) {
			c.Spec.CARef.Name, c.Spec.Role, c.Spec.Delivery = ca.Name, "EtcdClient", given.Soon(v1alpha1.DeliveryMounted)
			c.Spec.APIServerRef, c.Spec.Kubeconfig = nil, nil
		})
		for _, o := range []client.Object{ca, credential} {
			o.SetNamespace(namespace)
			if err := shared.api.Create(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// counter counts the requests to the API server, by method and the last part of the path.
type counter struct {
	mu   sync.Mutex
	seen []string
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (c *counter) on(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		c.mu.Lock()
		c.seen = append(c.seen, r.Method+" "+r.URL.Path)
		c.mu.Unlock()
		return next.RoundTrip(r)
	})
}

// count is how many requests so far concern a path.
func (c *counter) count(part string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, s := range c.seen {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

// user is a ServiceAccount that may look into some namespaces, "" for all, and its token.
func user(t *testing.T, name string, namespaces ...string) string {
	t.Helper()
	ctx := t.Context()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	if err := shared.api.Create(ctx, account); err != nil {
		t.Fatal(err)
	}
	rules := []rbacv1.PolicyRule{{
		APIGroups: []string{"clusterpki.io"}, Resources: []string{"clusterpkis", "clustercas", "serviceaccountkeys", "apiservercertificates", "nodecredentials"}, Verbs: []string{"get", "list", "watch"},
	}}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	if err := shared.api.Create(ctx, role); err != nil {
		t.Fatal(err)
	}
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: name}}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
	for _, namespace := range namespaces {
		var o client.Object = &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Subjects: subjects, RoleRef: ref}
		if namespace == "" {
			o = &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: subjects, RoleRef: ref}
		}
		if err := shared.api.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	request := &authenticationv1.TokenRequest{}
	if err := shared.api.SubResource("token").Create(ctx, account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// revoke ends a user's token.
func revoke(t *testing.T, name string) {
	t.Helper()
	if err := shared.api.Delete(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}); err != nil {
		t.Fatal(err)
	}
}

// answer is a response and its body.
type answer struct {
	*http.Response
	body string
}

// ask makes a request, and checks what holds for every answer.
func ask(t *testing.T, method, path, token string, mods ...func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, shared.page.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, m := range mods {
		m(r)
	}
	direct := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := direct.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{response, string(body)}
	a.check(t)
	return a
}

// form is the body of a form.
func form(token string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Body = io.NopCloser(strings.NewReader(url.Values{"token": {token}}.Encode()))
	}
}

// check looks for the headers that every answer has, and for keys, which none has.
func (a answer) check(t *testing.T) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
	} {
		if got := a.Header.Get(name); !strings.HasPrefix(got, want) {
			t.Errorf("%s %s: header %s is %q", a.Request.Method, a.Request.URL.Path, name, got)
		}
	}
	if strings.Contains(a.Header.Get("Content-Security-Policy"), "unsafe") {
		t.Error("the policy allows something that is unsafe")
	}
	holdsNoKey(t, a.body)
}

// holdsNoKey looks for PEM and for the private keys that there are: those of leaves and, in the authority namespace, of CAs.
func holdsNoKey(t *testing.T, text string) {
	t.Helper()
	var secrets corev1.SecretList
	if err := shared.api.List(t.Context(), &secrets); err != nil {
		t.Fatal(err)
	}
	keys := 0
	bad := []string{"PRIVATE KEY", "-----BEGIN", base64.StdEncoding.EncodeToString([]byte("-----BEGIN"))}
	for _, s := range secrets.Items {
		for _, key := range s.Data {
			if strings.Contains(string(key), "PRIVATE KEY-----") {
				keys++
				bad = append(bad, strings.Split(string(key), "\n")[1], base64.StdEncoding.EncodeToString(key)[40:80])
			}
		}
	}
	if keys < 4 {
		t.Fatalf("there are %d keys to look for", keys)
	}
	for _, b := range bad {
		if strings.Contains(text, b) {
			t.Fatalf("an answer holds %q", b)
		}
	}
}

// stream is an open stream of events.
type stream struct {
	t      *testing.T
	lines  *bufio.Scanner
	closer io.Closer
}

func listen(t *testing.T, token string) *stream {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, shared.page.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if kind := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("the stream: %s, %s", response.Status, kind)
	}
	t.Cleanup(func() { response.Body.Close() })
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	return &stream{t, lines, response.Body}
}

// next is the next event; ok is false where the stream has ended.
func (s *stream) next() (event, data string, ok bool) {
	s.t.Helper()
	watchdog := time.AfterFunc(time.Minute, func() { s.closer.Close() })
	defer watchdog.Stop()
	for s.lines.Scan() {
		line := s.lines.Text()
		switch {
		case line == "":
			holdsNoKey(s.t, data)
			return event, data, true
		case strings.HasPrefix(line, "event: "):
			event = line[len("event: "):]
		default:
			data += strings.TrimPrefix(line, "data: ") + "\n"
		}
	}
	return "", "", false
}

// sees waits for a view that holds a text.
func (s *stream) sees(text string) {
	s.t.Helper()
	for {
		event, data, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ended before it had %q", text)
		}
		if event == "view" && strings.Contains(data, text) {
			return
		}
	}
}
