// Package e2e_test brings a real Kubernetes control plane up from the files that the operator's Secrets
// export to, and lets every identity try what it may and may not do.
package e2e_test

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/config"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/clientreader"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/process"
	"clusterpki.io/operator/internal/target"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

const (
	namespace = "e2e"
	// master is the loopback address of the host k8s-master. The address of the samples is advertised.
	master = "127.77.10.238"
)

// shared is what every test of the package uses.
var shared struct {
	plane      *testenv.ControlPlane // the management cluster
	management client.WithWatch
	config     *rest.Config // of the management cluster's administrator
	hosts      map[string]target.Host
	endpoint   string
}

func TestMain(m *testing.M) {
	if file := os.Getenv(agentEnv); file != "" {
		os.Exit(runAgent(file))
	}
	os.Exit(testenv.Main(m, testenv.StartEmpty, prepare))
}

// prepare has the operator issue the samples, and starts the cluster that they are of.
func prepare(ctx context.Context, c *testenv.ControlPlane) (err error) {
	if err := testenv.Parallel(16); err != nil { // they wait most of the time
		return err
	}
	shared.plane, shared.config = c, c.Config
	if shared.management, err = testenv.Client(c.Config); err != nil {
		return err
	}
	installed, err := c.Install(ctx)
	if err != nil {
		return err
	}
	operator, err := testenv.StartOperator(installed.Config, installed.Options)
	if err != nil {
		return err
	}
	c.Finally(operator.Stop)
	if err := applySamples(ctx); err != nil {
		return err
	}
	dir, err := c.TempDir()
	if err != nil {
		return err
	}
	if err := exportHosts(ctx, dir); err != nil {
		return err
	}
	runner := &target.Runner{
		Binaries: process.Binaries{Directory: c.BinaryAssetsDirectory}, Data: filepath.Join(dir, "data"), Logs: filepath.Join(dir, "logs"),
	}
	for _, d := range []string{runner.Data, runner.Logs} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	c.Finally(func() error { runner.Stop(); return nil })
	return startTarget(ctx, runner)
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
		if err := shared.management.Create(ctx, given.Kubelet("seed-"+host, func(c *v1alpha1.NodeCredential) {
			c.Namespace, c.Spec.HostName, c.Spec.Role = namespace, host, v1alpha1.RoleHost
		})); err != nil {
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
	if err := testenv.Wait(ctx, func() error { _, err := testenv.AllReady(ctx, shared.management, namespace); return err }); err != nil {
		return err
	}
	shared.hosts = map[string]target.Host{}
	for _, name := range []string{"k8s-master", "k8s-node1", "k8s-node2", "k8s-node3"} {
		h, err := export.Gather(ctx, clientreader.Reader{Client: shared.management}, namespace, name)
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
