// Package e2e_test brings a real Kubernetes control plane up from the files that the operator's Secrets
// export to, and lets every identity try what it may and may not do.
package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/config"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/process"
	"clusterpki.io/operator/internal/target"
	"clusterpki.io/operator/test/testenv"
)

const (
	namespace = "e2e"
	// master is the loopback address of the host k8s-master. The address of the samples is advertised.
	master = "127.77.10.238"
)

// shared is what every test of the package uses.
var shared struct {
	management client.WithWatch
	config     *rest.Config // of the management cluster's administrator
	hosts      map[string]target.Host
	endpoint   string
}

func TestMain(m *testing.M) {
	if file := os.Getenv(agentEnv); file != "" {
		os.Exit(runAgent(file))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "clusterpki-e2e-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	env, err := testenv.Start()
	if err != nil {
		return fail(err)
	}
	defer env.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel() // before the API server, which waits for its clients to go
	if err := startOperator(ctx, env.Config); err != nil {
		return fail(err)
	}
	if err := applySamples(ctx); err != nil {
		return fail(err)
	}
	if err := exportHosts(ctx, dir); err != nil {
		return fail(err)
	}
	binaries, err := testenv.Binaries()
	if err != nil {
		return fail(err)
	}
	runner := target.Runner{Binaries: process.Binaries{Directory: binaries}, Data: filepath.Join(dir, "data"), Logs: filepath.Join(dir, "logs")}
	for _, d := range []string{runner.Data, runner.Logs} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fail(err)
		}
	}
	defer runner.Stop()
	if err := startTarget(ctx, &runner); err != nil {
		return fail(err)
	}
	if err := flag.Set("test.parallel", "8"); err != nil { // tests that may run side by side mostly wait
		return fail(err)
	}
	return m.Run()
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func startOperator(ctx context.Context, cfg *rest.Config) error {
	mgr, err := controller.New(ctx, cfg, controller.Options{})
	if err != nil {
		return err
	}
	go mgr.Start(ctx)
	shared.config = cfg
	shared.management, err = client.NewWithWatch(cfg, client.Options{Scheme: controller.Scheme()})
	return err
}

// applySamples applies config/samples with the API server moved to a loopback address, and the seed's
// identities beside them.
func applySamples(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	shared.endpoint = fmt.Sprintf("https://%s", net.JoinHostPort(master, port))
	if err := shared.management.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return err
	}
	names, err := fs.Glob(config.Files, "samples/*.yaml")
	if err != nil {
		return err
	}
	for _, name := range names {
		objects, err := decode(name)
		if err != nil {
			return err
		}
		for _, o := range objects {
			if err := toLoopback(o); err != nil {
				return err
			}
			o.SetNamespace(namespace)
			if err := shared.management.Create(ctx, o); err != nil {
				return fmt.Errorf("apply %s of %s: %w", o.GetName(), name, err)
			}
		}
	}
	for _, host := range []string{"k8s-master", "k8s-node1"} {
		if err := shared.management.Create(ctx, &v1alpha1.NodeCredential{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "seed-" + host},
			Spec: v1alpha1.NodeCredentialSpec{
				CARef: v1alpha1.CAReference{Name: "k8s"}, APIServerRef: &v1alpha1.APIServerReference{Name: "k8s-master"},
				HostName: host, Role: v1alpha1.RoleHost, Kubeconfig: &v1alpha1.KubeconfigSpec{},
			},
		}); err != nil {
			return err
		}
	}
	return nil
}

func toLoopback(o *unstructured.Unstructured) error {
	role, _, _ := unstructured.NestedString(o.Object, "spec", "role")
	switch {
	case o.GetKind() == "APIServerCertificate":
		addresses, _, err := unstructured.NestedStringSlice(o.Object, "spec", "ipAddresses")
		if err != nil {
			return err
		}
		if err := unstructured.SetNestedStringSlice(o.Object, append(addresses, master), "spec", "ipAddresses"); err != nil {
			return err
		}
		return unstructured.SetNestedField(o.Object, shared.endpoint, "spec", "endpoint")
	case role == "EtcdServer" || role == "EtcdPeer":
		return unstructured.SetNestedStringSlice(o.Object, []string{master}, "spec", "ipAddresses")
	default:
		return nil
	}
}

// exportHosts waits until every credential is Ready and writes each host's files.
func exportHosts(ctx context.Context, dir string) error {
	if err := poll(ctx, func() error { return allReady(ctx) }); err != nil {
		return err
	}
	shared.hosts = map[string]target.Host{}
	for _, name := range []string{"k8s-master", "k8s-node1", "k8s-node2", "k8s-node3"} {
		h, err := export.Gather(ctx, shared.management, namespace, name)
		if err != nil {
			return err
		}
		out := filepath.Join(dir, name)
		files, _, err := export.Layout(h, out, time.Now())
		if err != nil {
			return err
		}
		if err := export.Write(out, files); err != nil {
			return err
		}
		shared.hosts[name] = target.Host{Name: name, Directory: out}
	}
	return nil
}

func allReady(ctx context.Context) error {
	var list v1alpha1.NodeCredentialList
	if err := shared.management.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return err
	}
	for _, c := range list.Items {
		if !meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ReadyCondition) {
			return fmt.Errorf("NodeCredential %s is not Ready: %+v", c.Name, c.Status.Conditions)
		}
	}
	return nil
}

func startTarget(ctx context.Context, r *target.Runner) error {
	h := shared.hosts["k8s-master"]
	if err := r.StartEtcd(ctx, h); err != nil {
		return err
	}
	if err := r.StartAPIServer(ctx, h, target.Place{Address: master}); err != nil {
		return err
	}
	admin, err := clientFrom(filepath.Join(h.Directory, "super-admin.conf"))
	if err != nil {
		return err
	}
	for _, name := range config.TargetRBAC() {
		objects, err := decode(name)
		if err != nil {
			return err
		}
		for _, o := range objects {
			if err := admin.Create(ctx, o); err != nil {
				return fmt.Errorf("apply %s: %w", name, err)
			}
		}
	}
	return nil
}

func clientFrom(kubeconfig string) (client.Client, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	return client.New(cfg, client.Options{Scheme: controller.Scheme()})
}

// asExported connects to the target cluster with an exported kubeconfig.
func asExported(t *testing.T, host, file string) client.Client {
	t.Helper()
	c, err := clientFrom(filepath.Join(shared.hosts[host].Directory, file))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// asIdentity connects with a certificate of any name, signed by the sample's CA: what the operator itself
// refuses to issue.
func asIdentity(t *testing.T, r pki.CertificateSpec) client.Client {
	t.Helper()
	ca := signingPair(t)
	r.Key, r.Validity = pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, time.Hour
	if r.Usages == nil {
		r.Usages = []pki.Usage{pki.ClientAuth}
	}
	leaf, err := pki.Issue(time.Now(), r, ca)
	if err != nil {
		t.Fatal(err)
	}
	key, err := leaf.Key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(&rest.Config{Host: shared.endpoint, TLSClientConfig: rest.TLSClientConfig{
		CAData: ca.CertPEM(), CertData: leaf.CertPEM(), KeyData: key,
	}}, client.Options{Scheme: controller.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// signingPair is the sample's CA, from the authority namespace.
func signingPair(t testing.TB) pki.CA {
	t.Helper()
	record, err := authority.New(controller.DefaultAuthorityNamespace, shared.management, nil).Live(t.Context(), namespace, "k8s")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := record.Active()
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
