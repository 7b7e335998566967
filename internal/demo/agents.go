package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/clientreader"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/process"
	"clusterpki.io/operator/internal/target"
	"clusterpki.io/operator/internal/timeline"
)

// processes are the agents of the hosts, one each. They alone bring files to the hosts.
type processes struct {
	running  map[string]*process.Process
	restarts []restart
}

// restart is one start of a component after its first.
type restart struct {
	process string
	at      time.Time
	why     string
}

const agentGrace = 5 * time.Second

// stop ends every agent.
func (a *processes) stop() {
	for _, name := range slices.Sorted(maps.Keys(a.running)) {
		a.running[name].Stop(agentGrace)
	}
}

// failed says whether an agent has ended by itself.
func (a *processes) failed() error {
	for _, name := range slices.Sorted(maps.Keys(a.running)) {
		if err := a.running[name].Failed(); err != nil {
			return err
		}
	}
	return nil
}

// restartable is the component of a host that has to be restarted to read a changed file.
const restartable = controllerManager

// startAgents writes each host's flags, which do not follow from Secrets, and starts its agent, which brings everything else.
func (d *demo) startAgents(ctx context.Context) error {
	d.rotation.agents = &processes{running: map[string]*process.Process{}}
	for _, h := range d.hosts() {
		if err := d.bringAgent(ctx, h); err != nil {
			return err
		}
	}
	return d.cluster.Poll(ctx, readyTimeout, d.installed)
}

// bringAgent writes the flags of a host, and starts its agent.
func (d *demo) bringAgent(ctx context.Context, h target.Host) error {
	objects, err := export.ObjectsIn(ctx, clientreader.Reader{Client: d.management.client}, namespace)
	if err != nil {
		return err
	}
	keys, err := authority.PublishedDelivery(ctx, d.management.client, controller.DefaultAuthorityNamespace, namespace)
	if err != nil {
		return err
	}
	if err := d.writeFlags(ctx, h); err != nil {
		return err
	}
	c, _, err := agent.ConfigFor(agent.Source{Host: h.Name, Namespace: namespace, DeliveryKeys: keys, Objects: objects})
	if err != nil {
		return err
	}
	if err := d.prepareAgent(ctx, h, d.configure(c, h)); err != nil {
		return err
	}
	return d.startAgent(h.Name)
}

// configure changes a host's configuration for this machine: where its files lie, and how its components are restarted.
func (d *demo) configure(c agent.Config, h target.Host) agent.Config {
	c.ManagementClusters = []agent.ManagementCluster{{Name: "management", Kubeconfig: d.agentFile(h.Name, "kubeconfig")}}
	c.Directory, c.StateDirectory = h.Directory, d.agentFile(h.Name, "state")
	if d.Masters {
		if c.APIServer != nil { // on each host of its own address, and not on all
			c.APIServer.Endpoint = d.places.serverOf(h.Name)
		}
		c.Components, c.ReloadDelay.Duration = d.restartable(c, h.Name), d.ReloadDelay
		return c
	}
	c.Components = nil
	if c.APIServer != nil {
		c.APIServer.Endpoint = d.places.endpoint()
		// The demonstration starts again what ends, as systemd would.
		stop := fmt.Sprintf("kill $(cat '%s')", d.pidFile(h, restartable))
		c.Components = []agent.Component{{Name: restartable, Command: []string{"/bin/sh", "-c", stop}}}
	}
	return c
}

// agentFile is a file of a host's agent, outside the host's directory.
func (d *demo) agentFile(host, name string) string {
	return filepath.Join(d.work, "agents", host, name)
}

// writeFlags writes what `clusterpki export` writes beside the files that follow from Secrets.
func (d *demo) writeFlags(ctx context.Context, h target.Host) error {
	gathered, err := export.Gather(ctx, clientreader.Reader{Client: d.management.client}, namespace, h.Name)
	if err != nil {
		return err
	}
	files, _, err := export.Layout(gathered, h.Directory, d.Clock.Now())
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(f export.File) bool {
		return strings.HasPrefix(f.Path, "pki/") || strings.HasSuffix(f.Path, ".conf")
	})
	return export.Write(h.Directory, files)
}

// prepareAgent writes a host's agent its configuration, and its way to the management cluster.
func (d *demo) prepareAgent(ctx context.Context, h target.Host, c agent.Config) error {
	token, err := d.agentToken(ctx, h.Name)
	if err != nil {
		return err
	}
	kubeconfig := c.ManagementClusters[0].Kubeconfig
	if err := os.MkdirAll(filepath.Dir(kubeconfig), 0o700); err != nil {
		return fmt.Errorf("prepare the agent of %s: %w", h.Name, err)
	}
	if err := d.writeTokenKubeconfig(kubeconfig, token); err != nil {
		return err
	}
	text, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode the configuration of an agent: %w", err)
	}
	if err := os.WriteFile(d.agentFile(h.Name, "agent.yaml"), text, 0o600); err != nil {
		return fmt.Errorf("write the configuration of an agent: %w", err)
	}
	return nil
}

// agentToken makes a token of the ServiceAccount that the operator has made for a host's agent, once it has.
func (d *demo) agentToken(ctx context.Context, host string) (string, error) {
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = agents.DefaultNamespace, agents.AccountName(namespace, host)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(24 * 60 * 60))}}
	err := d.cluster.Poll(ctx, readyTimeout, func(ctx context.Context) error {
		if err := d.management.client.SubResource("token").Create(ctx, account, request); err != nil { //nolint:forbidigo // a token, and no status
			return fmt.Errorf("get a token for %s: %w", account.Name, err)
		}
		return nil
	})
	return request.Status.Token, err
}

// writeTokenKubeconfig writes a kubeconfig of the management cluster for a service account.
func (d *demo) writeTokenKubeconfig(name, token string) error {
	admin, err := clientcmd.LoadFromFile(d.management.kubeconfig())
	if err != nil {
		return fmt.Errorf("read the management cluster's kubeconfig: %w", err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["management"] = admin.Clusters[admin.Contexts[admin.CurrentContext].Cluster]
	config.AuthInfos["agent"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["agent"] = &clientcmdapi.Context{Cluster: "management", AuthInfo: "agent"}
	config.CurrentContext = "agent"
	if err := clientcmd.WriteToFile(*config, name); err != nil {
		return fmt.Errorf("write an agent's kubeconfig: %w", err)
	}
	return nil
}

// startAgent starts the agent of a host, as a process of its own.
func (d *demo) startAgent(host string) error {
	p, err := process.Start(process.Spec{
		Name: "the agent of " + host, Path: d.Program, Args: []string{"agent", "--config", d.agentFile(host, "agent.yaml")},
		Log: d.logFile(host + "-agent"),
	})
	if err != nil {
		return err
	}
	d.rotation.agents.running[host] = p
	return nil
}

// installed says, as an error, which objects no agent has installed yet.
func (d *demo) installed(ctx context.Context) error {
	var leases coordinationv1.LeaseList
	if err := d.management.client.List(ctx, &leases, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("list the Leases: %w", err)
	}
	desired, have := 0, 0
	for _, o := range d.objects {
		if delivered(o) {
			desired++
		}
	}
	var problems []string
	for i := range leases.Items {
		report := ack.Of(&leases.Items[i])
		if report.Installed != nil {
			have++
		}
		if report.Problem != "" { // that the API server cannot be reached is one, too: it does not run yet
			problems = append(problems, leases.Items[i].Name+": "+report.Problem)
		}
	}
	if have < desired {
		return errors.Join(d.rotation.agents.failed(), fmt.Errorf("agents have installed %d of %d:\n  %s", have, desired, strings.Join(problems, "\n  ")))
	}
	d.say("%d agents have installed everything that was issued for their hosts, %d certificates", len(d.rotation.agents.running), have)
	return nil
}

// pidFile holds the process id of a host's component, for whoever restarts it.
func (d *demo) pidFile(h target.Host, component string) string {
	return filepath.Join(d.work, "run", component+"-"+h.Name+".pid")
}

// writePIDs writes the process id of the component that an agent restarts.
func (d *demo) writePIDs() error {
	h := d.master()
	pid, ok := d.cluster.PIDs()[restartable+" on "+h.Name]
	if !ok {
		return nil
	}
	name := d.pidFile(h, restartable)
	err := os.MkdirAll(filepath.Dir(name), 0o700)
	if err == nil {
		err = os.WriteFile(name, fmt.Appendln(nil, pid), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the process id of %s: %w", restartable, err)
	}
	return nil
}

// attend starts again, as systemd would, what an agent has stopped, and of the naive swap also what ends by itself
// because it loses its lease. Everything else must go on.
func (d *demo) attend() error {
	if d.Masters {
		return d.attendMasters()
	}
	if err := d.rotation.agents.failed(); err != nil {
		return err
	}
	names, err := d.cluster.Revive()
	for _, name := range names {
		why := "it had ended by itself"
		if strings.HasPrefix(name, restartable+" ") {
			why = "it reads --root-ca-file only when it starts: the agent has stopped it"
		} else if d.Rotation != Naive {
			return fmt.Errorf("%s has ended by itself", name)
		}
		d.rotation.agents.restarts = append(d.rotation.agents.restarts, restart{name, d.Clock.Now(), why})
		d.say("  restarted %s: %s", name, why)
	}
	if len(names) > 0 {
		err = errors.Join(err, d.writePIDs())
	}
	return err
}

// absence is an agent that is stopped while a CA is rotated.
type absence struct {
	host     string
	pending  string // what the rotation waited for when it waited for nobody else
	stopped  time.Time
	returned time.Time
}

// leaveAfter is how long into the first phase the agent is stopped.
const leaveAfter = time.Minute

// miss stops the agent of one node in the first phase, waits until the rotation waits for nobody else, and starts
// it again.
func (f *follower) miss(p timeline.Rotation, now time.Time) error {
	a := &f.rotation.absence
	active, _ := p.Active()
	switch {
	case f.Rotation == Naive || active.Phase != v1alpha1.PhaseDistributingTrust:
		return nil
	case a.stopped.IsZero():
		if now.Sub(active.Start) < leaveAfter {
			return nil
		}
		a.host, a.stopped = f.places.nodes[1].host, now
		f.say("  the agent of %s is killed", a.host)
		f.rotation.agents.running[a.host].Kill()
		delete(f.rotation.agents.running, a.host)
	case a.returned.IsZero() && p.Counted && p.More() <= 0 && allExpired(p.Pending):
		a.pending, a.returned = strings.Join(p.Waiting(), ", "), now
		f.say("  nothing but the agent of %s is waited for: %s", a.host, a.pending)
		f.say("  the agent of %s is started again", a.host)
		return f.startAgent(a.host)
	}
	return nil
}

// allExpired says whether everything that is waited for is of an agent whose Lease has expired.
func allExpired(pending []v1alpha1.PendingConsumer) bool {
	return len(pending) > 0 && !slices.ContainsFunc(pending, func(p v1alpha1.PendingConsumer) bool { return p.Reason != v1alpha1.ReasonLeaseExpired })
}
