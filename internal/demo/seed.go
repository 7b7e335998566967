package demo

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"clusterpki.io/operator/internal/cluster"
	"clusterpki.io/operator/internal/hostfiles"
)

// seedSteps are those of a cluster with the identities of a PKI made by hand: one for each host, CN=<host> without a group.
func (d *demo) seedSteps() []step {
	return []step{
		{"Start a management control plane and the operator in it", d.startManagement, managementLogs},
		{"Apply one ClusterPKI: a master with etcd, and three nodes, with one identity each", d.applyPKI(seed, mounted), managementLogs},
		{"Export the files of each host, and write the flags of its node", d.exportSeed, managementLogs},
		{"Start the control plane from its host's files alone", d.startSeed, []string{"*-etcd", controlPlaneLogs}},
		{"Start a hollow kubelet and kube-proxy for each node from its files alone", d.startNodes, []string{kubeletLogs, "*-kube-proxy"}},
		{"Run workloads", d.startWorkloads, []string{"*-kube-[cs]*", kubeletLogs}},
		{"Ask as k8s-master, the identity of the procedure's kubectl", d.askAsMaster, []string{"*-kube-apiserver"}},
	}
}

// identityOf is the kubeconfig of a host's one identity.
func (d *demo) identityOf(host string) string {
	return filepath.Join(d.host(host).Directory, hostfiles.ForRole("Host", cluster.CredentialName(d.pki, host, "Host")).Kubeconfig)
}

// exportSeed exports all hosts. Which flags the components of a node have, that share one identity, is known to nobody but whoever wrote them: as here.
func (d *demo) exportSeed(ctx context.Context) error {
	if err := d.exportAll(ctx); err != nil {
		return err
	}
	for _, n := range d.places.nodes {
		dir := d.host(n.host).Directory
		proxy := "--hostname-override=" + n.host + "\n--kubeconfig=" + d.identityOf(n.host) + "\n"
		config := filepath.Join(dir, "kubelet.yaml")
		files := map[string]string{
			filepath.Join(dir, "args", "kube-proxy"): proxy, filepath.Join(dir, "args", "kubelet"): "--config=" + config + "\n" + proxy,
			config: fmt.Sprintf(kubeletOfSeed, filepath.Join(dir, hostfiles.CA)),
		}
		for name, text := range files {
			if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
				return fmt.Errorf("write flags: %w", err)
			}
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				return fmt.Errorf("write flags: %w", err)
			}
		}
	}
	return nil
}

// kubeletOfSeed is the configuration of a kubelet that makes its own serving certificate.
const kubeletOfSeed = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %q}}
authorization: {mode: Webhook}
`

// startSeed starts the control plane, and gives the identities of the hosts what they need there.
func (d *demo) startSeed(ctx context.Context) error {
	if err := d.startControlPlane(ctx); err != nil {
		return err
	}
	text, err := fs.ReadFile(d.Samples, "seed/target-rbac.yaml")
	if err != nil {
		return fmt.Errorf("read the samples: %w", err)
	}
	objects, err := decode(strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	c, err := d.clientOf("super-admin.conf")
	if err != nil {
		return err
	}
	d.say("config/samples/seed/target-rbac.yaml ...")
	return create(ctx, c, objects)
}

// askAsMaster does what the procedure does with kubectl, and makes a namespace.
func (d *demo) askAsMaster(ctx context.Context) error {
	all := slices.DeleteFunc(slices.Clone(questions), func(q string) bool { return strings.HasPrefix(q, "logs") }) // kubelets sign their own certificates here
	for _, q := range append([]string{"auth whoami", "create namespace made-as-k8s-master"}, all...) {
		if err := d.kubectl(ctx, d.identityOf(d.places.master.host), strings.Fields(q)...); err != nil {
			return err
		}
	}
	return nil
}
