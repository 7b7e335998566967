package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

var (
	shared *testenv.ControlPlane
	cfg    *rest.Config
	user   []byte // the kubeconfig of somebody who may read no Secret
)

func TestMain(m *testing.M) {
	setLibraryLoggers(logr.Discard())
	os.Exit(testenv.Main(m, testenv.Start, prepare))
}

func prepare(ctx context.Context, c *testenv.ControlPlane) error {
	if err := testenv.Parallel(8); err != nil { // the slow ones wait
		return err
	}
	shared, cfg = c, c.Config
	return addUser(ctx)
}

// addUser makes the user that every command runs as. It may read no Secret: a command that did would fail.
func addUser(ctx context.Context) error {
	u, err := shared.AddUser(envtest.User{Name: "jane"}, nil)
	if err != nil {
		return err
	}
	if user, err = u.KubeConfig(); err != nil {
		return err
	}
	api, err := testenv.Client(cfg)
	if err != nil {
		return err
	}
	reads := []string{"get", "list", "watch"}
	if err := addViewers(ctx, api, reads); err != nil {
		return err
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "jane"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"clusterpki.io"}, Resources: []string{"clusterpkis", "clustercas", "serviceaccountkeys", "apiservercertificates", "nodecredentials"}, Verbs: reads},
		{APIGroups: []string{"clusterpki.io"}, Resources: []string{"clustercas"}, Verbs: []string{"patch"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: reads},
	}}
	if err := api.Create(ctx, role); err != nil {
		return err
	}
	return api.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "jane"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "jane"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "jane"}},
	})
}

// addViewers makes a group that may read all but Secrets.
func addViewers(ctx context.Context, api client.Client, reads []string) error {
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "viewers"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"clusterpki.io", "coordination.k8s.io"}, Resources: []string{"*"}, Verbs: reads},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: reads},
	}}
	if err := api.Create(ctx, role); err != nil {
		return err
	}
	return api.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "viewers"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "viewers"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "viewers"}},
	})
}

// fixture is a namespace, and a kubeconfig for it.
type fixture struct {
	t          *testing.T
	ns         string
	api        client.Client
	kubeconfig string
	proxy      *proxy
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	api, err := testenv.Client(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := api.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	w := &fixture{t: t, ns: ns.Name, api: api}
	k, err := clientcmd.Load(user)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range k.Clusters {
		server, err := url.Parse(c.Server)
		if err != nil {
			t.Fatal(err)
		}
		w.proxy = newProxy(t, server.Host)
		c.Server = "https://" + w.proxy.listener.Addr().String()
	}
	w.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*k, w.kubeconfig); err != nil {
		t.Fatal(err)
	}
	return w
}

// proxy stands between the commands and the API server, and can cut their connections.
type proxy struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	open     []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to}
	t.Cleanup(func() { _ = l.Close(); p.cut() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(c)
		}
	}()
	return p
}

func (p *proxy) pass(from net.Conn) {
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		_ = from.Close()
		return
	}
	p.mu.Lock()
	p.open = append(p.open, from, to)
	p.mu.Unlock()
	go func() { _, _ = io.Copy(to, from); _ = to.Close() }()
	_, _ = io.Copy(from, to)
	_ = from.Close()
}

// cut ends every connection, and says how many there were.
func (p *proxy) cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.open) / 2
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
	return n
}

// buffer collects what a command prints while it runs.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// command is one that runs.
type command struct {
	t    *testing.T
	out  buffer
	stop context.CancelFunc
	done chan error
}

// begin starts a command with the fixture's kubeconfig and namespace.
func (w *fixture) begin(args ...string) *command {
	w.t.Helper()
	return start(w.t, append(args, "--kubeconfig", w.kubeconfig, "--namespace", w.ns)...)
}

// start starts a command, which ends with the test at the latest.
func start(t *testing.T, args ...string) *command {
	t.Helper()
	return startAs(t, "clusterpki", args...)
}

// startAs starts a command of the program under another name.
func startAs(t *testing.T, argv0 string, args ...string) *command {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &command{t: t, stop: stop, done: make(chan error, 1)}
	t.Cleanup(stop)
	root := Named(argv0)
	root.SetOut(&c.out)
	root.SetErr(&c.out)
	root.SetArgs(args)
	go func() { c.done <- root.ExecuteContext(ctx) }()
	return c
}

// run runs a command to its end.
func (w *fixture) run(args ...string) (string, error) {
	w.t.Helper()
	c := w.begin(args...)
	err := c.end()
	return c.out.String(), err
}

// end waits until the command ends, and returns how.
func (c *command) end() error {
	c.t.Helper()
	select {
	case err := <-c.done:
		return err
	case <-time.After(2 * time.Minute):
		c.t.Fatalf("the command does not end; it printed\n%s", c.out.String())
		return nil
	}
}

// prints waits until the command has printed a text.
func (c *command) prints(text string) {
	c.t.Helper()
	testenv.Eventually(c.t, "print "+text, func() error {
		if out := c.out.String(); !strings.Contains(out, text) {
			return fmt.Errorf("it printed\n%s", out)
		}
		return nil
	})
}

func (w *fixture) create(o client.Object) {
	w.t.Helper()
	o.SetNamespace(w.ns)
	if err := w.api.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// operate runs the operator, under the rights of its manifests and with an authority namespace of its own, until the test ends; poll
// may be 0 for the default.
func (w *fixture) operate(poll time.Duration) {
	w.t.Helper()
	installed, err := shared.InstallFor(w.t.Context(), w.ns, w.ns+"-authority")
	if err != nil {
		w.t.Fatal(err)
	}
	installed.Options.Poll = poll
	testenv.RunOperator(w.t, installed.Config, installed.Options)
}

func (w *fixture) ca() *v1alpha1.ClusterCA {
	w.t.Helper()
	var ca v1alpha1.ClusterCA
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: "k8s"}, &ca); err != nil {
		w.t.Fatal(err)
	}
	return &ca
}

// reports writes a status of the CA, as the operator would; observed is the generation of the spec.
func (w *fixture) reports(change func(*v1alpha1.ClusterCA)) {
	w.t.Helper()
	ca := w.ca()
	ca.Status.ObservedGeneration = ca.Generation
	change(ca)
	for i := range ca.Status.Conditions {
		ca.Status.Conditions[i].ObservedGeneration = ca.Status.ObservedGeneration
	}
	if err := w.api.Status().Update(w.t.Context(), ca); err != nil {
		w.t.Fatal(err)
	}
}

// phase writes a status of the CA in a phase of its rotation; "" is none.
func (w *fixture) phase(phase v1alpha1.Phase, acknowledged, required int32, pending ...string) {
	w.t.Helper()
	w.reports(func(ca *v1alpha1.ClusterCA) {
		ca.Status.Rotation = v1alpha1.RotationStatus{}
		if phase == "" {
			return
		}
		states := []v1alpha1.GenerationState{v1alpha1.GenerationActive, v1alpha1.GenerationTrusted}
		if phase == v1alpha1.PhaseWithdrawingTrust {
			states = []v1alpha1.GenerationState{v1alpha1.GenerationWithdrawn, v1alpha1.GenerationActive}
		}
		ca.Status.Generations = []v1alpha1.GenerationStatus{{Number: 1, State: states[0]}, {Number: 2, State: states[1], Trigger: ca.Spec.Rotation.Trigger}}
		ca.Status.Rotation = v1alpha1.RotationStatus{
			Phase: phase, Reason: v1alpha1.RotationTriggerChanged, Trigger: ca.Spec.Rotation.Trigger, From: 1, To: 2, StartTime: metav1.Now(),
			Phases:       []v1alpha1.PhaseStatus{{Name: phase, State: v1alpha1.PhaseActive, StartTime: metav1.Now()}},
			Acknowledged: &acknowledged, Required: &required, PendingCount: new(required - acknowledged),
		}
		for _, name := range pending {
			ca.Status.Rotation.Pending = append(ca.Status.Rotation.Pending, v1alpha1.PendingConsumer{Kind: "NodeCredential", Name: name, Reason: "NotInUse"})
		}
	})
}

// completes writes the status of the CA at the end of its rotation.
func (w *fixture) completes() {
	w.t.Helper()
	w.reports(func(ca *v1alpha1.ClusterCA) {
		r := ca.Status.Rotation
		ca.Status.Rotation = v1alpha1.RotationStatus{}
		ca.Status.Generations = []v1alpha1.GenerationStatus{{Number: 2, State: v1alpha1.GenerationActive, Trigger: r.Trigger}}
		ca.Status.LastRotation = v1alpha1.LastRotationStatus{
			From: 1, To: 2, Reason: r.Reason, Trigger: r.Trigger, Result: v1alpha1.RotationCompleted, StartTime: r.StartTime, EndTime: metav1.Now(),
		}
	})
}
