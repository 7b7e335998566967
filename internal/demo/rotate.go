package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/load"
	"clusterpki.io/operator/internal/timeline"
)

// Rotation says whether the demonstration rotates the root CA of the cluster under load, and how.
type Rotation string

// The rotations.
const (
	None Rotation = ""
	// Phased is what the operator does by itself when spec.validity is edited.
	Phased Rotation = "Phased"
	// Naive swaps everything at once, for comparison: rotation.emergencyTrigger, by which the operator distrusts the old
	// CA and re-issues every certificate in the same moment.
	Naive Rotation = "Naive"
)

// leaseDuration is how long a Lease of an agent is valid here: the shorter, the sooner a person sees what happens then.
const leaseDuration = time.Minute

// calm is how long the cluster is under load before and after the rotation.
const calm = 20 * time.Second

// rotation is what a run with a rotation keeps.
type rotation struct {
	ca      string // the ClusterCA that is rotated
	agents  *processes
	absence absence
	load    *load.Load
	log     *os.File
	old     oldCA
	pids    map[string]int
	logged  map[string]int64 // how long each component's log was before the rotation
	loaded  time.Time        // when the load began
	began   time.Time        // when the CA was edited
	nodes   unreadiness
	outcome string

	progress timeline.Rotation        // as it was seen last
	required map[v1alpha1.Phase]int32 // how many had to acknowledge in each phase

	stopRestarts func()   // of the restarter; nil without one
	before       load.Row // the load's counts when the present rotation began
	problems     []error  // what is said at the end
}

func (r *rotation) stop() {
	if r.load != nil {
		r.load.Stop()
	}
	if r.agents != nil {
		r.agents.stop()
	}
	if r.stopRestarts != nil {
		r.stopRestarts()
	}
	if r.log != nil {
		r.log.Close() //nolint:errcheck // nothing reads it any more
	}
}

func (d *demo) rotationSteps() []step {
	d.rotation = &rotation{}
	cluster := []string{controlPlaneLogs, kubeletLogs}
	change := step{"Change spec.validity of the root CA, and follow its rotation", d.replaceCA, []string{managerLog, loadLog, "*-agent"}}
	judge := step{"Verify that the old CA is refused, that everything runs, and count", d.judgePhased, append(cluster, loadLog)}
	if d.Rotation == Naive {
		change = step{"Put another root CA in place at once, without any overlap, and wait until every client works again", d.swapCA, []string{managerLog}}
		judge = step{"Count", d.judgeNaive, cluster}
	}
	return []step{
		{"Start a management control plane and the operator in it", d.startManagement, managementLogs},
		{"Apply the samples: the PKI of a cluster of one master and its nodes", d.applySamples, managementLogs},
		{"Start the agent of each host, which brings its files", d.startAgents, append(slices.Clone(managementLogs), "*-agent")},
		{"Start the control plane from its host's files alone", d.startControlPlane, []string{"*-etcd", controlPlaneLogs}},
		{"Start a hollow kubelet and kube-proxy for each node from its files alone", d.startNodes, []string{kubeletLogs, "*-kube-proxy"}},
		{"Run workloads", d.startWorkloads, cluster},
		{"Put the API server under load: every identity asks 20 times a second", d.startLoad, append(cluster, loadLog)},
		change,
		judge,
	}
}

// loadLog is the log of what fails under load.
const loadLog = "load"

func (d *demo) startLoad(ctx context.Context) (err error) {
	r := d.rotation
	if r.ca, err = d.rootCA(); err != nil {
		return err
	}
	if r.old, err = d.readOldCA(); err != nil {
		return err
	}
	if r.logged, err = logSizes(d.logs); err != nil {
		return err
	}
	r.pids = d.cluster.PIDs()
	if err := d.writePIDs(); err != nil {
		return err
	}
	if err := d.beginLoad(ctx, d.identities(), load.Options{}); err != nil {
		return err
	}
	d.say("each on fresh TLS connections, 20 a second, and once a second by a client-go client that holds a watch open")
	return d.calm(ctx)
}

// beginLoad starts the load.
func (d *demo) beginLoad(ctx context.Context, identities []load.Identity, o load.Options) (err error) {
	r := d.rotation
	if r.log, err = os.Create(d.logFile(loadLog)); err != nil {
		return fmt.Errorf("open the log of the load: %w", err)
	}
	r.loaded = d.Clock.Now()
	o.Clock, o.Log = d.Clock, r.log
	// It outlives an interrupt until stop, so that the counts do not depend on how the run ends.
	if r.load, err = load.Start(context.WithoutCancel(ctx), identities, o); err != nil {
		return err
	}
	for _, id := range identities {
		d.say("%-24s GET %s", id.Name, id.Get)
	}
	return nil
}

// calm sees that nothing fails before anything is changed.
func (d *demo) calm(ctx context.Context) error {
	r := d.rotation
	if err := d.wait(ctx, calm); err != nil {
		return err
	}
	if t := r.load.Total(); t.Failures() > 0 {
		return fmt.Errorf("%d of %d requests failed before anything was changed; for instance: %s", t.Failures(), t.Requests, r.load.Reasons()[0].Text)
	}
	d.say("%d requests in %v, none failed", r.load.Total().Requests, calm)
	return nil
}

// rootCA is the ClusterCA that signs for the API server.
func (d *demo) rootCA() (string, error) {
	server := d.objects.ofKind("APIServerCertificate")[0]
	name, _, err := unstructured.NestedString(server.Object, "spec", "caRef", "name")
	if err != nil {
		return "", fmt.Errorf("read the samples: %w", err)
	}
	return name, nil
}

// identities are the clients of the cluster, each with something that it is allowed to read.
func (d *demo) identities() []load.Identity {
	of := func(name, host string, role v1alpha1.Role, get, watch string) load.Identity {
		return load.Identity{
			Name: name, Kubeconfig: filepath.Join(d.host(host).Directory, hostfiles.ForRole(string(role), "").Kubeconfig), Get: get, Watch: watch,
		}
	}
	const namespaces, nodes, services = "/api/v1/namespaces", "/api/v1/nodes", "/api/v1/services"
	master := d.places.master.host
	out := []load.Identity{
		of("admin", master, "Admin", namespaces+"/default", namespaces),
		of(controllerManager, master, "ControllerManager", namespaces+"/kube-system", namespaces),
		of(scheduler, master, "Scheduler", nodes+"/"+d.places.nodes[0].host, nodes),
	}
	for _, n := range d.places.nodes {
		own := nodes + "?fieldSelector=metadata.name%3D" + n.host
		out = append(out,
			of("kubelet of "+n.host, n.host, "Kubelet", nodes+"/"+n.host, own),
			of("kube-proxy of "+n.host, n.host, "KubeProxy", services, services))
	}
	return out
}

// wait lets the load go on.
func (d *demo) wait(ctx context.Context, duration time.Duration) error {
	until := d.Clock.Now().Add(duration)
	return d.each(ctx, func() (bool, error) { return !d.Clock.Now().Before(until), nil })
}

// each sees to what has to run and then looks, every second, until look says that it is done.
func (d *demo) each(ctx context.Context, look func() (done bool, err error)) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err := d.attend(); err != nil {
			return err
		}
		if done, err := look(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err() //nolint:wrapcheck // it is said that the run was interrupted
		case <-tick.C:
		}
	}
}
