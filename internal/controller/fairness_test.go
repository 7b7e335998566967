package controller_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/testenv"
)

// landlord is an operator for all namespaces, on a control plane of its own, that can be held up.
type landlord struct {
	t      *testing.T
	api    client.Client
	keys   atomic.Int64  // RSA keys that were made
	oneKey chan struct{} // each lets one be made

	mu       sync.Mutex
	written  []string      // the namespaces in which a certificate was issued or a copy of a key asked for, in order
	released chan struct{} // nil: nothing is held up
}

func newLandlord(t *testing.T) *landlord {
	env, err := testenv.StartEmpty()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	installed, err := env.Install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	api, err := testenv.Client(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	l := &landlord{t: t, api: api, oneKey: make(chan struct{})}
	installed.Config.Wrap(func(next http.RoundTripper) http.RoundTripper { return tolled{next, l} })
	installed.Options.Poll, installed.Options.RSAKeys = time.Second, l.rsa()
	_, stop := testenv.RunOperator(t, installed.Config, installed.Options)
	t.Cleanup(func() {
		l.release()
		close(l.oneKey)
		stop()
	})
	return l
}

// rsa makes RSA keys when the test lets them, one by one. Which key it is makes no difference.
func (l *landlord) rsa() pki.KeySource {
	var once sync.Once
	var key pki.PrivateKey
	var err error
	return func(spec pki.KeySpec) (pki.PrivateKey, error) {
		once.Do(func() { key, err = pki.GenerateKey(spec) })
		<-l.oneKey
		l.keys.Add(1)
		return key, err
	}
}

// tolled holds up, while that is asked for, what each reconciliation that issues begins with: the look at the CA.
type tolled struct {
	next http.RoundTripper
	l    *landlord
}

func (t tolled) RoundTrip(r *http.Request) (*http.Response, error) {
	t.l.mu.Lock()
	held := t.l.released
	path := r.URL.Path
	if namespace, of, ok := strings.Cut(strings.TrimPrefix(path, "/api/v1/namespaces/"), "/"); ok && strings.HasPrefix(of, "secrets") &&
		(r.Method == http.MethodPost || r.Method == http.MethodPatch) {
		t.l.written = append(t.l.written, namespace)
	}
	t.l.mu.Unlock()
	if held != nil && r.Method == http.MethodGet && strings.Contains(path, "/secrets/ca.") {
		<-held
	}
	return t.next.RoundTrip(r)
}

func (l *landlord) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released, l.written = make(chan struct{}), nil
}

func (l *landlord) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released != nil {
		close(l.released)
		l.released = nil
	}
}

// ahead is how many writes into another namespace came before the first into this one.
func (l *landlord) ahead(namespace string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Index(l.written, namespace)
}

// eventually waits for something.
func (l *landlord) eventually(what string, check func() bool) {
	l.t.Helper()
	testenv.EventuallyEvery(l.t, 20*time.Millisecond, what, func() error {
		if !check() {
			return errors.New("not yet")
		}
		return nil
	})
}

func (l *landlord) create(o client.Object) {
	l.t.Helper()
	if err := l.api.Create(l.t.Context(), o); err != nil {
		l.t.Fatal(err)
	}
}

// tenant makes a namespace with a CA.
func (l *landlord) tenant(name string) {
	l.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	ca := newCA("k8s")
	ca.Namespace = name
	l.create(ca)
	l.ready(ca)
}

func (l *landlord) isReady(o v1alpha1.Object) bool {
	if err := l.api.Get(l.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		l.t.Fatal(err)
	}
	return slices.ContainsFunc(*o.StatusConditions(), func(c metav1.Condition) bool {
		return c.Type == v1alpha1.ReadyCondition && c.Status == metav1.ConditionTrue && c.ObservedGeneration == o.GetGeneration()
	})
}

func (l *landlord) ready(o v1alpha1.Object) {
	l.t.Helper()
	l.eventually(o.GetName()+" is ready", func() bool { return l.isReady(o) })
}

// pending waits until an object says that it waits for its key.
func (l *landlord) pending(o v1alpha1.Object) {
	l.t.Helper()
	l.eventually(o.GetName()+" waits for a key", func() bool {
		return !l.isReady(o) && slices.ContainsFunc(*o.StatusConditions(), func(c metav1.Condition) bool {
			return c.Type == v1alpha1.ReconcilingCondition && c.Reason == v1alpha1.ReasonKeyPending
		})
	})
}

// credential is one without a kubeconfig, which needs no API server.
func credential(namespace, name string, key v1alpha1.PrivateKeySpec) *v1alpha1.NodeCredential {
	c := newKubelet(name)
	c.Namespace, c.Spec.APIServerRef, c.Spec.Kubeconfig, c.Spec.PrivateKey = namespace, nil, nil, key
	return c
}

var rsa2048 = v1alpha1.PrivateKeySpec{Algorithm: v1alpha1.RSA, Size: 2048}

const crowd, workers = 200, 4

// TestNobodyWaitsForACrowd makes very much work in one namespace at once. What is new in another is served after a number of
// others that does not depend on how many they are.
func TestNobodyWaitsForACrowd(t *testing.T) {
	l := newLandlord(t)
	l.tenant("crowd")
	l.tenant("small")
	members := make([]*v1alpha1.NodeCredential, crowd)
	for i := range members {
		members[i] = credential("crowd", fmt.Sprint("member", i), v1alpha1.PrivateKeySpec{})
		l.create(members[i])
	}
	for _, m := range members {
		l.ready(m)
	}
	t.Run("of edited objects", func(t *testing.T) { l.edited(t, members) })
	t.Run("of RSA keys", func(t *testing.T) { l.rsaKeys(t) })
}

func (l *landlord) edited(t *testing.T, members []*v1alpha1.NodeCredential) {
	before := waiting(t)
	l.hold()
	defer l.release()
	for _, m := range members {
		m.Spec.Validity = hours(500)
		if err := l.api.Update(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	late := credential("small", "late", v1alpha1.PrivateKeySpec{})
	l.create(late)
	l.eventually("all wait", func() bool { return waiting(t) >= before+crowd+1-workers })
	l.release()
	l.ready(late)
	// Those that the workers had in hand, one for the other namespace's turn, and what the workers took beside it.
	if n := l.ahead("small"); n > 3*workers {
		t.Errorf("%d of %d were served before", n, crowd)
	}
	for _, m := range members {
		l.ready(m)
	}
}

func (l *landlord) rsaKeys(t *testing.T) {
	for i := range 40 {
		ca := newCA(fmt.Sprint("rsa", i), func(ca *v1alpha1.ClusterCA) { ca.Spec.PrivateKey = rsa2048 })
		ca.Namespace = "crowd"
		l.create(ca)
	}
	for i := range 60 {
		l.create(credential("crowd", fmt.Sprint("rsa", i), rsa2048))
	}
	l.pending(credential("crowd", "rsa59", rsa2048))
	quick := credential("small", "quick", v1alpha1.PrivateKeySpec{})
	l.create(quick)
	l.ready(quick)
	ca := newCA("another")
	ca.Namespace = "small"
	l.create(ca)
	l.ready(ca)
	if n := l.keys.Load(); n != 0 {
		t.Errorf("an ECDSA key waited for %d RSA keys", n)
	}
	slow := credential("small", "slow", rsa2048)
	l.create(slow)
	l.pending(slow)
	for range 2 { // the one that is being made for the crowd, and its own
		l.oneKey <- struct{}{}
	}
	l.ready(slow)
}

// waiting is how many credentials wait to be visited.
func waiting(t *testing.T) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, label := range m.GetLabel() {
				if f.GetName() == "workqueue_depth" && label.GetName() == "name" && label.GetValue() == "nodecredential" {
					n += m.GetGauge().GetValue()
				}
			}
		}
	}
	return n
}
