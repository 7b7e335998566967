package controller_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/home"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

var (
	shared *testenv.ControlPlane
	cfg    *rest.Config
	logs   syncBuffer
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(funcr.New(func(prefix, args string) { logs.line(prefix, args) }, funcr.Options{Verbosity: 1}))
	os.Exit(testenv.Main(m, testenv.Start, func(_ context.Context, c *testenv.ControlPlane) error {
		shared, cfg = c, c.Config
		return testenv.Parallel(8)
	}))
}

// syncBuffer collects what the operator logs.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) line(parts ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintln(&b.buf, strings.Join(parts, " "))
}

// errors are the last lines that tell of an error and name a namespace.
func (b *syncBuffer) errors(namespace string, n int) []string {
	var found []string
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, "error") && strings.Contains(line, `"`+namespace+`"`) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found[max(0, len(found)-n):]
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// env is one test's namespace on the real API server, and an operator for it.
type env struct {
	t  testing.TB
	ns string
	// authority is the namespace of ledgers and keys.
	authority string
	// installed is what its manifests give the operator.
	installed testenv.Installation
	api       client.Client // not cached
	clock     *testingclock.FakePassiveClock
	// operatorClock, where it is set, is the operator's instead of clock.
	operatorClock clock.PassiveClock
	mgr           *testenv.Operator
	stop          func()
	// fault, where it is set, says which of the operator's requests fail, and with what status code.
	fault atomic.Pointer[func(*http.Request) int]
	// late, where it is set, is called with each request before the operator gets the answer.
	late atomic.Pointer[func(*http.Request)]
	// hosts, where it is set, sees every write of the operator.
	hosts atomic.Pointer[hosts]
	// dead says that the operator was cut off.
	dead atomic.Bool
	// frozen, where it is set, keeps what happens from the operator's caches.
	frozen atomic.Pointer[frozenCache]
	// writes are those of its requests that are no reads.
	writes syncBuffer
	// others are further operators for the same namespace, whose clocks are ahead by so much.
	others []*env
	ahead  time.Duration
	// beside are further operators that are waited for, and go on when the others are restarted.
	beside []*env
}

// newEnv makes a namespace and starts an operator for it. Its clock stands, and ahead of the API server's: what
// is created is older than what the operator does later.
func newEnv(t testing.TB) *env {
	t.Helper()
	return newEnvOf(t, "")
}

// newEnvOf is newEnv with an authority namespace that is there already.
func newEnvOf(t testing.TB, keys string) *env {
	t.Helper()
	api, err := testenv.Client(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := api.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	w := &env{t: t, ns: ns.Name, authority: cmp.Or(keys, ns.Name+"-authority"), api: api, clock: testingclock.NewFakePassiveClock(time.Now().Add(time.Hour)), stop: func() {}}
	w.start()
	t.Cleanup(func() {
		defer w.stop()
		if t.Failed() {
			t.Logf("the last errors of the operator:\n%s", strings.Join(logs.errors(w.ns, 10), "\n"))
			t.Logf("the visits that are under way, of all tests:\n%s", strings.Join(visitsUnderWay(), "\n\n"))
		}
	})
	return w
}

// visitsUnderWay are the stacks of all goroutines that visit an object: where one of them hangs.
func visitsUnderWay() []string {
	text := make([]byte, 16<<20)
	text = text[:runtime.Stack(text, true)]
	return slices.DeleteFunc(strings.Split(string(text), "\n\n"), func(stack string) bool { return !strings.Contains(stack, "visits.timed[") })
}

// install gives the operator its rights, and its authority namespace, whatever that holds.
func (w *env) install() {
	w.t.Helper()
	var err error
	if w.installed, err = shared.InstallFor(w.t.Context(), w.ns, w.authority); err == nil {
		err = home.Init(w.t.Context(), w.api, w.installed.Options.OwnNamespace, w.authority)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// start runs the operator until stop is called.
func (w *env) start() {
	w.t.Helper()
	if w.installed.Options.Namespace != w.ns {
		w.install()
	}
	own := rest.CopyConfig(w.installed.Config)
	own.Wrap(func(next http.RoundTripper) http.RoundTripper { return faulty{next, w} })
	o := w.installed.Options
	o.Clock, o.Poll = w.clock, time.Second
	if w.operatorClock != nil {
		o.Clock = w.operatorClock
	}
	op, err := testenv.StartOperator(own, o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mgr = op
	w.stop = func() {
		if err := op.Stop(); err != nil {
			w.t.Error(err)
		}
	}
}

// restartAt stops every operator, sets its clock and starts another: every object is then visited.
func (w *env) restartAt(at time.Time) {
	w.t.Helper()
	all := append([]*env{w}, w.others...)
	for _, o := range all {
		o.stop()
	}
	for _, o := range all {
		o.clock.SetTime(at.Add(o.ahead))
		o.start()
	}
}

func (w *env) create(objects ...client.Object) {
	w.t.Helper()
	for _, o := range objects {
		o.SetNamespace(w.ns)
		if err := w.api.Create(w.t.Context(), o); err != nil {
			w.t.Fatalf("create %T %s: %v", o, o.GetName(), err)
		}
	}
}

func (w *env) get(name string, o client.Object) {
	w.t.Helper()
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, o); err != nil {
		w.t.Fatalf("get %T %s: %v", o, name, err)
	}
}

func (w *env) secret(name string) *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	w.get(name, &s)
	return &s
}

func (w *env) missing(name string, o client.Object) bool {
	w.t.Helper()
	return apierrors.IsNotFound(w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, o))
}

// edit changes an object, and tries again when the operator was faster.
func edit[T client.Object](w *env, name string, o T, change func(T)) {
	w.t.Helper()
	o.SetNamespace(w.ns)
	o.SetName(name)
	testenv.Edit(w.t, w.api, o, change)
}

// condition waits for a condition of an object, on its present generation.
func (w *env) condition(name string, o client.Object, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	w.t.Helper()
	o.SetNamespace(w.ns)
	o.SetName(name)
	return testenv.Condition(w.t, w.api, o.(v1alpha1.Object), kind, status, reason)
}

func (w *env) ready(name string, o client.Object) {
	w.t.Helper()
	w.condition(name, o, v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
}

func conditionsOf(o client.Object) []metav1.Condition {
	if ours, ok := o.(v1alpha1.Object); ok {
		return *ours.StatusConditions()
	}
	return nil
}

// pair reads a Secret's certificate and key, which must belong together.
func (w *env) pair(secret string) pki.Leaf {
	w.t.Helper()
	s := w.secret(secret)
	p, err := pki.ParseLeaf(s.Data["tls.crt"], s.Data["tls.key"])
	if err != nil {
		w.t.Fatalf("Secret %s: %v", secret, err)
	}
	return p
}

func hours(n int) metav1.Duration { return metav1.Duration{Duration: time.Duration(n) * time.Hour} }

// newCA and the others build what most tests begin with.
var newCA, newServer, newKubelet, newAccountKey = given.CA, given.Server, given.Kubelet, given.AccountKey

func differs(got, want []byte) error {
	if !bytes.Equal(got, want) {
		return fmt.Errorf("got\n%s\nwant\n%s", got, want)
	}
	return nil
}

func (w *env) delete(o client.Object) {
	w.t.Helper()
	if err := w.api.Delete(w.t.Context(), o); err != nil {
		w.t.Fatalf("delete %T %s: %v", o, o.GetName(), err)
	}
}

// store reads and writes the authority namespace, as whoever administers the PKI can.
func (w *env) store() *authority.Store { return authority.New(w.authority, w.api, nil) }

// record is what the authority namespace says of a CA.
func (w *env) record(ca string) *authority.Record {
	w.t.Helper()
	r, err := w.store().Live(w.t.Context(), w.ns, ca)
	if err != nil || r == nil {
		w.t.Fatalf("the CA %s: %v, %v", ca, r, err)
	}
	return r
}

// authoritySecret is the Secret of a CA in the authority namespace.
func (w *env) authoritySecret(ca string) *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.authority, Name: authority.SecretName(w.ns, ca)}, &s); err != nil {
		w.t.Fatal(err)
	}
	return &s
}

// root is the certificate of a CA's active key.
func (w *env) root(ca string) *x509.Certificate {
	w.t.Helper()
	pair, err := w.record(ca).Active()
	if err != nil {
		w.t.Fatal(err)
	}
	return pair.Cert
}

func typeName(o client.Object) string { return fmt.Sprintf("%T", o) }

// list reads all objects of a kind.
func (w *env) list(into client.ObjectList) {
	w.t.Helper()
	if err := w.api.List(w.t.Context(), into, client.InNamespace(w.ns)); err != nil {
		w.t.Fatal(err)
	}
}

// versions are the resource versions of all that an operator could write in the namespace.
func (w *env) versions() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	for _, list := range []client.ObjectList{
		&v1alpha1.ClusterCAList{}, &v1alpha1.ServiceAccountKeyList{}, &v1alpha1.APIServerCertificateList{}, &v1alpha1.NodeCredentialList{},
		&corev1.SecretList{}, &corev1.ConfigMapList{}, &coordinationv1.LeaseList{},
	} {
		w.list(list)
		items, err := meta.ExtractList(list)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, item := range items {
			o := item.(client.Object)
			out[fmt.Sprintf("%T %s", o, o.GetName())] = o.GetResourceVersion()
		}
	}
	return out
}

func keyOf(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}
