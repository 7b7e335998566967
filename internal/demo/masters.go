package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/target"
)

// mastersSteps are those of a cluster of several masters that one ClusterPKI describes, all of which is rotated.
func (d *demo) mastersSteps() []step {
	d.rotation = &rotation{}
	agents := append(slices.Clone(managementLogs), "*-agent", loadLog)
	cluster := []string{"*-etcd", "*-kube-*"}
	return []step{
		{"Start a management control plane and the operator in it", d.startManagement, managementLogs},
		{"Apply one ClusterPKI: three masters with etcd, and two nodes", d.applyMasters, managementLogs},
		{"Start the agent of each host, which brings its files", d.startMastersAgents, agents},
		{"Start the control plane from its hosts' files alone", d.startMasters, cluster},
		{"Start a hollow kubelet and kube-proxy for each node, which use the load balancer", d.startNodes, []string{kubeletLogs, "*-kube-proxy"}},
		{"Run workloads", d.startWorkloads, append(cluster, kubeletLogs)},
		{"Put the load balancer under load", d.startMastersLoad, append(cluster, loadLog)},
		{"Rotate the service account key, while the agent of a master is away", d.rotateAccountKey, agents},
		{"Rotate etcd's CA", d.rotateOne("etcd", "etcd-ca"), agents},
		{"Rotate the front proxy's CA", d.rotateOne("frontProxy", "front-proxy-ca"), agents},
		{"Rotate the cluster's CA", d.rotateOne("cluster", "ca"), agents},
		{"Add a name to the API servers, and change the service network and the endpoint", d.editMasters, agents},
		{"Count", d.judgeMasters, append(cluster, loadLog)},
	}
}

// serverOf is where the API server of a master is.
func (p places) serverOf(host string) string {
	return "https://" + net.JoinHostPort(p.of(host).address, strconv.Itoa(p.api))
}

// applyMasters applies the ClusterPKI, and beside it one credential for whoever makes the first bindings.
func (d *demo) applyMasters(ctx context.Context) error {
	text, err := fs.ReadFile(d.Samples, mastersFile)
	if err != nil {
		return fmt.Errorf("read the samples: %w", err)
	}
	pki, err := readMasters(text)
	if err != nil {
		return err
	}
	if d.places, err = placeMasters(pki, listenable); err != nil {
		return err
	}
	d.places.move(pki)
	pki.Namespace = namespace
	d.pki = pki.Name
	master := d.places.masters[0].host
	first := &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "super-admin"}}
	first.Spec.HostName, first.Spec.Role, first.Spec.CARef.Name = master, "SuperAdmin", d.pki+"-ca"
	first.Spec.APIServerRef = &v1alpha1.APIServerReference{Name: d.pki + "-" + master + "-apiserver"}
	first.Spec.Kubeconfig = &v1alpha1.KubeconfigSpec{}
	first.Spec.Delivery = pki.Spec.Certificates.Delivery.Spec()
	first.Spec.Delivery.Mode = v1alpha1.DeliveryAgent
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	for _, o := range []client.Object{ns, pki, first} {
		if err := d.management.client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %s: %w", o.GetName(), err)
		}
	}
	for _, p := range slices.Concat(d.places.masters, d.places.nodes) {
		d.say("%-12s %s", p.host, p.address)
	}
	d.say("%-12s %s", "balancer", d.places.balancer)
	if err := d.management.waitReady(ctx); err != nil {
		return err
	}
	if err := d.kubectl(ctx, d.management.kubeconfig(), "get", "pki", "-n", namespace); err != nil {
		return err
	}
	return d.listChildren(ctx)
}

// listChildren takes what the operator has made of the ClusterPKI for the objects of the hosts.
func (d *demo) listChildren(ctx context.Context) error {
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	for _, l := range []client.ObjectList{&servers, &credentials} {
		if err := d.management.client.List(ctx, l, client.InNamespace(namespace)); err != nil {
			return fmt.Errorf("list what is for the hosts: %w", err)
		}
	}
	var all []v1alpha1.Object
	for i := range servers.Items {
		all = append(all, &servers.Items[i])
	}
	for i := range credentials.Items {
		all = append(all, &credentials.Items[i])
	}
	d.objects = nil
	for _, o := range all {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return fmt.Errorf("read %s: %w", o.GetName(), err)
		}
		u := &unstructured.Unstructured{Object: fields}
		u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(o.Kind()))
		d.objects = append(d.objects, u)
	}
	return nil
}

// startMastersAgents starts the agents, and what restarts components for them.
func (d *demo) startMastersAgents(ctx context.Context) error {
	d.restarter = &restarter{dir: filepath.Join(d.work, "run"), clock: d.Clock, restart: d.restartComponent}
	if err := os.MkdirAll(d.restarter.dir, 0o700); err != nil {
		return fmt.Errorf("prepare restarts: %w", err)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	d.rotation.stopRestarts = func() {
		cancel()
		<-ended
	}
	go func() {
		defer close(ended)
		d.restarter.run(run)
	}()
	return d.startAgents(ctx)
}

// attendMasters sees whether everything runs, and has a token that is not old. What leads and cannot reach its API server for a while ends by itself, and is
// started again, as systemd would.
func (d *demo) attendMasters() error {
	if err := errors.Join(d.rotation.agents.failed(), d.restarter.failed(), d.freshToken()); err != nil {
		return err
	}
	names, err := d.cluster.Revive()
	for _, name := range names {
		if !strings.HasPrefix(name, "kube-controller-manager ") && !strings.HasPrefix(name, "kube-scheduler ") {
			return fmt.Errorf("%s has ended by itself", name)
		}
		d.rotation.agents.restarts = append(d.rotation.agents.restarts, restart{name, d.Clock.Now(), "it could not reach its API server, and led no more"})
		d.say("  %s has lost its lead, and is started again", name)
	}
	return err //nolint:wrapcheck // it names the process
}

// startMasters starts the members of etcd together, then the API servers, the load balancer in front of them, and what each master runs beside.
func (d *demo) startMasters(ctx context.Context) error {
	var hosts []target.Host
	var servers []string
	for _, m := range d.places.masters {
		hosts = append(hosts, d.host(m.host))
		servers = append(servers, strings.TrimPrefix(d.places.serverOf(m.host), "https://"))
	}
	d.say("etcd with TLS for clients and peers, %d members ...", len(hosts))
	if err := d.cluster.StartEtcd(ctx, hosts...); err != nil {
		return err
	}
	for i, h := range hosts {
		d.say("kube-apiserver at %s ...", d.places.serverOf(h.Name))
		at := target.Place{Address: d.places.masters[i].address, Port: d.places.api}
		// Without the second one, an API server that is to end waits for its watches as long as their clients like.
		flags := []string{"--shutdown-delay-duration=" + shutdownDelay.String(), "--shutdown-watch-termination-grace-period=" + shutdownDelay.String()}
		if err := d.cluster.StartAPIServer(ctx, h, at, flags...); err != nil {
			return err
		}
	}
	var err error
	address := net.JoinHostPort(d.places.balancer, strconv.Itoa(d.places.api))
	if d.balancer, err = startBalancer(ctx, address, servers); err != nil {
		return err
	}
	d.say("a load balancer at %s", d.places.endpoint())
	if err := d.applyBindings(ctx); err != nil {
		return err
	}
	d.say("kube-controller-manager and kube-scheduler on each ...")
	for i, h := range hosts {
		address := d.places.masters[i].address
		if err := d.cluster.StartControllerManager(h, target.Place{Address: address, Port: d.places.manager}); err != nil {
			return err
		}
		if err := d.cluster.StartScheduler(h, target.Place{Address: address, Port: d.places.scheduler}); err != nil {
			return err
		}
	}
	return nil
}
