package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/clientreader"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/process"
	"clusterpki.io/operator/internal/target"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// masters are how many API servers the cluster of most tests has: of two that share a key, one serves while the other restarts.
const masters = 2

// masterHost is one of a cluster of several: a host with an agent, and an API server that this may restart.
type masterHost struct {
	*host
	address string
	files   target.Host
	runner  *target.Runner
	admin   *rest.Config
	stop    func() // of the agent
}

// cluster is one of several API servers that share an etcd and a ServiceAccountKey.
type cluster struct {
	t         *testing.T
	namespace string
	hosts     []*masterHost
	accounts  string // the ServiceAccountKey

	mu       sync.Mutex
	down     map[string]bool
	restarts map[string]int // how often a component was restarted, by '<component> on <host>'
	under    map[string]int // how many hosts restart a component now
	failed   []string       // what must never happen
}

func emptyCluster(t *testing.T) *cluster {
	t.Helper()
	return &cluster{
		t: t, accounts: "k8s-sa", namespace: testenv.Namespace(t, shared.management, "masters-"), down: map[string]bool{},
		restarts: map[string]int{}, under: map[string]int{},
	}
}

// newCluster has the operator issue everything, agents bring it, and starts etcd and the API servers from that.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := emptyCluster(t)
	byAgent := v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryAgent, LeaseDuration: metav1.Duration{Duration: 10 * time.Second}}
	c.create(given.CA("k8s"), given.CA("etcd"), given.AccountKey("k8s-sa"))
	for i := range masters {
		h := &masterHost{address: fmt.Sprintf("127.77.20.%d", i+1)}
		c.hosts = append(c.hosts, h)
		name := fmt.Sprintf("master%d", i+1)
		at := net.JoinHostPort(h.address, c.port(h.address))
		c.create(given.Server(name, func(s *v1alpha1.APIServerCertificate) {
			s.Spec.HostName, s.Spec.DNSNames, s.Spec.IPAddresses, s.Spec.Endpoint = name, nil, []string{h.address}, "https://"+at
			s.Spec.Delivery = byAgent
		}, given.SignedBy("k8s-sa")))
		roles := map[v1alpha1.Role]string{"ControllerManager": "k8s", "SuperAdmin": "k8s", "EtcdClient": "etcd"}
		if i == 0 {
			roles["EtcdServer"], roles["EtcdPeer"], roles["EtcdHealthcheckClient"] = "etcd", "etcd", "etcd"
		}
		for role, ca := range roles {
			c.create(given.Kubelet(fmt.Sprintf("%s-%s", name, lower(role)), func(n *v1alpha1.NodeCredential) {
				n.Spec.HostName, n.Spec.Role, n.Spec.CARef.Name, n.Spec.Delivery = name, role, ca, byAgent
				n.Spec.APIServerRef.Name = name
				if ca == "etcd" {
					n.Spec.APIServerRef, n.Spec.Kubeconfig = nil, nil
				}
				if role == "EtcdServer" || role == "EtcdPeer" {
					n.Spec.IPAddresses = []string{h.address}
				}
			}))
		}
	}
	c.issued()
	for i, h := range c.hosts {
		name := fmt.Sprintf("master%d", i+1)
		c.prepare(h, name, name)
	}
	c.start(1)
	return c
}

// issued waits until everything is.
func (c *cluster) issued() {
	c.t.Helper()
	testenv.Eventually(c.t, "everything is issued", func() error {
		_, err := testenv.AllReady(c.t.Context(), shared.management, c.namespace)
		return err
	})
}

// lower is the role as names of objects have it.
func lower(role v1alpha1.Role) string {
	return map[v1alpha1.Role]string{
		"ControllerManager": "manager", "SuperAdmin": "admin", "EtcdClient": "etcd-client", "EtcdServer": "etcd-server", "EtcdPeer": "etcd-peer",
		"EtcdHealthcheckClient": "etcd-health",
	}[role]
}

func (c *cluster) create(objects ...client.Object) {
	c.t.Helper()
	for _, o := range objects {
		o.SetNamespace(c.namespace)
		if err := shared.management.Create(c.t.Context(), o); err != nil {
			c.t.Fatalf("create %s: %v", o.GetName(), err)
		}
	}
}

// port is one that nobody listens on.
func (c *cluster) port(address string) string {
	c.t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	return port
}

// prepare gives a host, with the APIServerCertificate of a name, the flags of its components, and an agent that restarts its etcd and its API server.
func (c *cluster) prepare(h *masterHost, name, certificate string) {
	c.t.Helper()
	cfg, err := configIn(c.t, c.namespace, name)
	if err != nil {
		c.t.Fatal(err)
	}
	h.host = newHost(c.t, cfg)
	h.config.CheckTimeout.Duration = 2 * time.Minute // an API server takes its time to start, most of all on a busy machine
	var server v1alpha1.APIServerCertificate
	if err := shared.management.Get(c.t.Context(), client.ObjectKey{Namespace: c.namespace, Name: certificate}, &server); err != nil {
		c.t.Fatal(err)
	}
	h.config.APIServer.Endpoint = cmp.Or(server.Spec.LocalEndpoint, server.Spec.Endpoint)
	asks := filepath.Join(filepath.Dir(h.config.Directory), "restart")
	if err := os.Mkdir(asks, 0o700); err != nil {
		c.t.Fatal(err)
	}
	for i := range h.config.Components {
		component := &h.config.Components[i]
		ask := filepath.Join(asks, component.Name)
		component.Systemd, component.Command = nil, []string{"sh", "-c", fmt.Sprintf("touch '%s'; while [ -e '%s' ]; do sleep 0.1; done", ask, ask)}
	}
	h.identity = h.allowed()
	h.config.ManagementClusters = managed(kubeconfigOf(c.t, h.identity))

	h.files = target.Host{Name: name, Directory: h.config.Directory}
	gathered, err := export.Gather(c.t.Context(), clientreader.Reader{Client: shared.management}, c.namespace, name)
	if err != nil {
		c.t.Fatal(err)
	}
	files, _, err := export.Layout(gathered, h.config.Directory, time.Now())
	if err != nil {
		c.t.Fatal(err)
	}
	var flags []export.File
	for _, f := range files {
		if filepath.Dir(f.Path) == "args" {
			flags = append(flags, f)
		}
	}
	if err := export.Write(h.config.Directory, flags); err != nil {
		c.t.Fatal(err)
	}
	dir := c.t.TempDir()
	h.runner = &target.Runner{Binaries: process.Binaries{Directory: shared.plane.BinaryAssetsDirectory}, Data: dir, Logs: dir}
	c.t.Cleanup(h.runner.Stop)
	ctx, cancel := context.WithCancel(context.Background())
	c.t.Cleanup(cancel)
	go c.restartsFor(ctx, h, asks)
}

// start starts the agents, and what they have brought the files of: etcd on so many hosts, and the API servers.
func (c *cluster) start(members int) {
	c.t.Helper()
	for _, h := range c.hosts {
		h.stop = h.run(agent.Options{})
	}
	var started sync.WaitGroup
	for i, h := range c.hosts {
		testenv.Eventually(c.t, h.files.Name+" has its files", func() error {
			for _, file := range []string{"super-admin.conf", "pki/sa.pub", "pki/apiserver.crt", "pki/apiserver-etcd-client.crt"} {
				if _, err := os.Stat(h.at(file)); err != nil {
					return err
				}
			}
			return nil
		})
		if i < members { // they wait for each other
			started.Go(func() {
				if err := h.runner.StartEtcd(c.t.Context(), h.files); err != nil {
					c.t.Error(err)
				}
			})
		}
	}
	started.Wait()
	for _, h := range c.hosts {
		if err := h.runner.StartAPIServer(c.t.Context(), h.files, target.Place{Address: h.address}); err != nil {
			c.t.Fatal(err)
		}
		var err error
		if h.admin, err = clientcmd.BuildConfigFromFlags("", h.at("super-admin.conf")); err != nil {
			c.t.Fatal(err)
		}
		h.admin.Host = h.config.APIServer.Endpoint
	}
	for _, namespace := range []string{"kube-system", "default"} { // as kube-controller-manager does
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"}}
		testenv.Eventually(c.t, "a ServiceAccount is made", func() error { return c.as(0).Create(c.t.Context(), account.DeepCopy()) })
	}
}

// as is the administrator, at one of the API servers.
func (c *cluster) as(i int) client.Client {
	c.t.Helper()
	api, err := client.New(c.hosts[i].admin, client.Options{Scheme: controller.Scheme()})
	if err != nil {
		c.t.Fatal(err)
	}
	return api
}

// issue has an API server issue a token.
func (c *cluster) issue(ctx context.Context, i int) (string, error) {
	api, err := client.New(c.hosts[i].admin, client.Options{Scheme: controller.Scheme()})
	if err != nil {
		return "", err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "default"}}
	var token authenticationv1.TokenRequest
	err = api.SubResource("token").Create(ctx, account, &token)
	return token.Status.Token, err
}

// accepts says whether an API server accepts a token: true, false, or an error where nobody answers.
func (c *cluster) accepts(ctx context.Context, i int, token string) (bool, error) {
	config := rest.AnonymousClientConfig(c.hosts[i].admin)
	transport, err := rest.TransportFor(config)
	if err != nil {
		return false, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+"/openid/v1/jwks", http.NoBody)
	if err != nil {
		return false, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusUnauthorized:
		return false, nil
	default:
		return false, fmt.Errorf("status %d", answer.StatusCode)
	}
}

// never notes what must not happen.
func (c *cluster) never(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) < 20 {
		c.failed = append(c.failed, time.Now().Format("15:04:05 ")+fmt.Sprintf(format, args...))
	}
}

// watch looks, until the test ends, whether two API servers are down at once, and whether each accepts what each other issues.
func (c *cluster) watch() (stop func()) { return c.watching(c.watchHealth, c.watchTokens) }

// watching looks at something of each API server until the test ends.
func (c *cluster) watching(looks ...func(ctx context.Context, i int)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	for i := range c.hosts {
		for _, look := range looks {
			wait.Go(func() { look(ctx, i) })
		}
	}
	return func() {
		cancel()
		wait.Wait()
		for _, text := range c.failed {
			c.t.Error(text)
		}
	}
}

func (c *cluster) watchHealth(ctx context.Context, i int) {
	for ctx.Err() == nil {
		asked, cancel := context.WithTimeout(ctx, 10*time.Second)
		up := func() bool {
			transport, err := rest.TransportFor(c.hosts[i].admin)
			if err != nil {
				return false
			}
			r, err := http.NewRequestWithContext(asked, http.MethodGet, c.hosts[i].admin.Host+"/readyz", http.NoBody)
			if err != nil {
				return false
			}
			answer, err := (&http.Client{Transport: transport}).Do(r)
			if err != nil {
				return false
			}
			return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
		}()
		cancel()
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.down[c.hosts[i].address] = !up
		down := 0
		for _, d := range c.down {
			if d {
				down++
			}
		}
		c.mu.Unlock()
		if down > 1 {
			c.never("%d API servers are down at once", down)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (c *cluster) watchTokens(ctx context.Context, i int) {
	for ctx.Err() == nil {
		if token, err := c.issue(ctx, i); err == nil {
			for j := range c.hosts {
				if ok, err := c.accepts(ctx, j, token); err == nil && !ok {
					c.never("%s refuses what %s has issued", c.hosts[j].files.Name, c.hosts[i].files.Name)
				}
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// key reads the ServiceAccountKey.
func (c *cluster) key() (*v1alpha1.ServiceAccountKey, error) {
	var k v1alpha1.ServiceAccountKey
	err := shared.management.Get(c.t.Context(), client.ObjectKey{Namespace: c.namespace, Name: c.accounts}, &k)
	return &k, err
}

// edit changes the ServiceAccountKey.
func (c *cluster) edit(change func(*v1alpha1.ServiceAccountKeySpec)) {
	c.t.Helper()
	testenv.Eventually(c.t, "the ServiceAccountKey is edited", func() error {
		k, err := c.key()
		if err != nil {
			return err
		}
		change(&k.Spec)
		return shared.management.Update(c.t.Context(), k)
	})
}
