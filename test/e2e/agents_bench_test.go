package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/kubeconfig"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
)

const (
	benchAgents = 1000
	benchIdle   = 5 * time.Minute
	benchSpace  = "agents"
)

// crowd is many hosts, each with one credential and an agent, all in this process and against one API server, which is
// management cluster and target at once. Every agent has an identity, a Role and a RoleBinding of its own.
type crowd struct {
	b      *testing.B
	dir    string
	api    client.Client
	raw    kubernetes.Interface
	ca     pki.CA
	serial map[string]string
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

// BenchmarkAgents starts 1,000 agents, leaves them idle, and issues everything again.
func BenchmarkAgents(b *testing.B) {
	for range b.N {
		c := newCrowd(b)
		c.measure("start", c.start)
		c.measure("idle", func() { time.Sleep(benchIdle) })
		c.measure("all re-issued", func() { c.issueAll(); c.verified() })
		c.cancel()
		c.wait.Wait()
	}
}

func newCrowd(b *testing.B) *crowd {
	b.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(shared.hosts["k8s-master"].Directory, "super-admin.conf"))
	if err != nil {
		b.Fatal(err)
	}
	cfg.QPS = -1
	c := &crowd{b: b, dir: b.TempDir(), ca: signingPair(b), serial: map[string]string{}}
	if c.api, err = client.New(cfg, client.Options{}); err != nil {
		b.Fatal(err)
	}
	if c.raw, err = kubernetes.NewForConfig(cfg); err != nil {
		b.Fatal(err)
	}
	c.must(c.api.Create(b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: benchSpace}}))
	c.issueAll()
	return c
}

func (c *crowd) must(err error) {
	c.b.Helper()
	if err != nil {
		c.b.Fatal(err)
	}
}

func benchHost(i int) string { return fmt.Sprintf("host-%04d", i) }

// issueAll issues the credential of every host, as the operator would.
func (c *crowd) issueAll() {
	for i := range benchAgents {
		c.issue(benchHost(i))
	}
}

func (c *crowd) leaf(cn, group string) (pki.Leaf, []byte) {
	leaf, err := pki.Issue(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: cn, Organizations: []string{group}}, Usages: []pki.Usage{pki.ClientAuth},
		Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: 24 * time.Hour,
	}, c.ca)
	c.must(err)
	key, err := leaf.Key.Reveal()
	c.must(err)
	return leaf, key
}

func (c *crowd) issue(host string) {
	leaf, key := c.leaf("system:node:"+host, "system:nodes")
	i := issued{pair: leaf, key: key, own: c.ca.CertPEM(), server: c.ca.CertPEM(), endpoint: shared.endpoint}
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: benchSpace, Name: host + "-tls"}, Data: i.signed(c.b, benchSpace, host, host, "any")}
	if c.serial[host] == "" {
		c.must(c.api.Create(c.b.Context(), s))
	} else {
		c.must(c.api.Update(c.b.Context(), s))
	}
	if c.serial[host] == "" {
		c.must(c.api.Create(c.b.Context(), given.Lease(benchSpace, host+"-tls", 900)))
	}
	c.serial[host] = pki.SerialOf(leaf.Cert)
}

// start gives every agent its identity and its Role, and runs it.
func (c *crowd) start() {
	ctx, cancel := context.WithCancel(c.b.Context())
	c.cancel = cancel
	for i := range benchAgents {
		host := benchHost(i)
		cfg := agent.Config{
			APIVersion: agent.ConfigVersion, Kind: agent.ConfigKind, Host: host, Namespace: benchSpace, DeliveryKeys: handPublic(),
			ManagementClusters: managed(filepath.Join(c.dir, host, "agent.conf")),
			Directory:          filepath.Join(c.dir, host, "files"), StateDirectory: filepath.Join(c.dir, host, "state"),
			Credentials: []agent.Credential{{Name: host, Role: "Kubelet", SecretName: host + "-tls", Kubeconfig: true}},
		}
		cfg.ReloadDelay.Duration = time.Second
		c.permit(cfg)
		text, err := json.Marshal(cfg)
		c.must(err)
		cfg, err = agent.ParseConfig(text)
		c.must(err)
		a, err := agent.New(cfg, agent.Options{Clock: clock.RealClock{}, Log: logr.Discard()})
		c.must(err)
		c.wait.Go(func() { a.Run(ctx) })
	}
	c.verified()
}

// permit lets an agent's user do what an agent has to, and writes its kubeconfig.
func (c *crowd) permit(cfg agent.Config) {
	meta := metav1.ObjectMeta{Namespace: benchSpace, Name: cfg.Host}
	user := "clusterpki:agent:" + cfg.Host
	c.must(c.api.Create(c.b.Context(), &rbacv1.Role{
		ObjectMeta: meta, Rules: agents.Access{Secrets: []string{cfg.Host + "-tls"}, Leases: []string{cfg.Host + "-tls"}}.Rules(),
	}))
	c.must(c.api.Create(c.b.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}))
	leaf, key := c.leaf(user, "clusterpki:agents")
	text, err := kubeconfig.Render(kubeconfig.Params{
		Server: shared.endpoint, ClusterName: "c", ContextName: "c", UserName: "u", CA: kubeconfig.Material{PEM: c.ca.CertPEM()},
		Certificate: kubeconfig.Material{PEM: leaf.CertPEM()}, Key: kubeconfig.Material{PEM: key},
	})
	c.must(err)
	c.must(os.MkdirAll(filepath.Dir(cfg.ManagementClusters[0].Kubeconfig), 0o700))
	c.must(os.WriteFile(cfg.ManagementClusters[0].Kubeconfig, text, 0o600))
}

// verified waits until every agent has seen in use what was issued last.
func (c *crowd) verified() {
	for deadline := time.Now().Add(15 * time.Minute); ; time.Sleep(time.Second) {
		var list coordinationv1.LeaseList
		c.must(c.api.List(c.b.Context(), &list, client.InNamespace(benchSpace)))
		done, problem := 0, ""
		for i := range list.Items {
			r := ack.Of(&list.Items[i])
			if r.Verified != nil && r.Verified.SerialNumber == c.serial[strings.TrimSuffix(list.Items[i].Name, "-tls")] {
				done++
			} else if r.Problem != "" {
				problem = r.Problem
			}
		}
		if done == benchAgents {
			return
		}
		if time.Now().After(deadline) {
			c.b.Fatalf("%d of %d agents have verified; %s", done, benchAgents, problem)
		}
	}
}

// measure prints what a piece of work has cost the API server, and all agents together.
func (c *crowd) measure(what string, work func()) {
	before, began := c.metrics(), time.Now()
	work()
	took, after := time.Since(began), c.metrics()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	fmt.Printf("%-17s %7.1f s  API server: %5.2f cores, %4.0f MB", what, took.Seconds(),
		(after["process_cpu_seconds_total"]-before["process_cpu_seconds_total"])/took.Seconds(), after["process_resident_memory_bytes"]/(1<<20))
	fmt.Printf("  all agents: %4.0f MB of heap, %d goroutines\n", float64(mem.HeapInuse)/(1<<20), runtime.NumGoroutine())
	for _, key := range slices.Sorted(maps.Keys(after)) {
		verb, resource, ok := strings.Cut(key, " ")
		n := after[key] - before[key]
		if !ok || n < 1 || verb == "LIST" || !slices.Contains([]string{"secrets", "leases", "selfsubjectreviews"}, resource) {
			continue
		}
		fmt.Printf("    %-24s %6.0f  %6.2f a second\n", key, n, n/took.Seconds())
	}
}

// metrics are the requests that the API server has answered, by verb and resource, and what it is made of.
func (c *crowd) metrics() map[string]float64 {
	text, err := c.raw.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(c.b.Context())
	c.must(err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	c.must(err)
	out := map[string]float64{}
	for _, name := range []string{"process_cpu_seconds_total", "process_resident_memory_bytes"} {
		for _, m := range families[name].GetMetric() {
			out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for _, m := range families["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		out[labels["verb"]+" "+labels["resource"]] += m.GetCounter().GetValue()
	}
	return out
}
