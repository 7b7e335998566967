package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/target"
)

// mastersSteps are those of a cluster of several masters that one ClusterPKI describes, all of which is rotated.
func (d *demo) mastersSteps() []step {
	d.rotation = &rotation{}
	agents := append(slices.Clone(managementLogs), "*-agent", loadLog)
	cluster := []string{"*-etcd", controlPlaneLogs}
	steps := []step{
		{"Start a management control plane and the operator in it", d.startManagement, managementLogs},
		{"Apply one ClusterPKI: three masters with etcd, and two nodes", d.applyPKI(threeMasters, v1alpha1.DeliveryAgent), managementLogs},
		{"Start the agent of each host, which brings its files", d.startMastersAgents, agents},
		{"Start the control plane from its hosts' files alone", d.startMasters, cluster},
		{"Start a hollow kubelet and kube-proxy for each node, which use the load balancer", d.startNodes, []string{kubeletLogs, "*-kube-proxy"}},
		{"Run workloads", d.startWorkloads, append(cluster, kubeletLogs)},
		{"Put the load balancer under load", d.startMastersLoad, append(cluster, loadLog)},
	}
	rotations := []step{
		{"Rotate the service account key, while the agent of a master is away", d.rotateAccountKey, agents},
		{"Rotate etcd's CA", d.rotateOne("etcd", "etcd-ca"), agents},
		{"Rotate the front proxy's CA", d.rotateOne("frontProxy", "front-proxy-ca"), agents},
		{"Rotate the cluster's CA", d.rotateOne("cluster", "ca"), agents},
	}
	count := step{"Count", d.judgeMasters, append(cluster, loadLog)}
	if d.Hosts {
		return d.hostsSteps(steps, []step{count}, agents)
	}
	if !d.Edits {
		steps = append(steps, rotations...)
	}
	return append(steps, []step{
		{"Add a name to the API servers, and change the service network and the endpoint", d.editMasters, agents},
		count,
	}...)
}

// serverOf is where the API server of a master is.
func (p places) serverOf(host string) string {
	return "https://" + net.JoinHostPort(p.of(host).address, strconv.Itoa(p.api))
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
	return err
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
