// Package demo shows the whole of it on one Linux machine, without root: a management cluster issues the PKI
// of a second cluster, which then starts from nothing but the exported files.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/process"
	"clusterpki.io/operator/internal/target"
)

// Options are what the user chooses.
type Options struct {
	Binaries string // the folder of etcd, kube-apiserver, …
	Program  string // clusterpki itself, which is the agent of each host; of no use without a rotation
	Samples  fs.FS  // the samples: ClusterPKIs in clusterpki/ and, for a rotation, the manifests that its kustomization.yaml lists
	Keep     bool   // leave everything up until the context ends
	Rotation Rotation
	// Masters: the cluster has several masters, and everything of it is rotated.
	Masters bool
	// Seed starts a cluster of which each host has one identity.
	Seed bool
	// Edits leaves the rotations of such a cluster out, and edits it only.
	Edits bool
	// Hosts rotates the cluster's CA alone, several times, while nodes come and go.
	Hosts bool
	// ReloadDelay is how long the agents of several masters wait for what reloads by itself; 0: their default.
	ReloadDelay time.Duration
	Out         io.Writer
	Clock       clock.PassiveClock
}

// namespace holds the demonstrated cluster's objects in the management cluster.
const namespace = "demo"

// What the demonstration names often.
const (
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
	defaultNamespace  = "default" // of the target cluster
)

// programs are what the demonstration runs.
var programs = []string{"etcd", "kube-apiserver", controllerManager, scheduler, "kubectl", "hollow-node"}

// tailLines is how much of a log a failure shows.
const tailLines = 15

// demo is one run.
type demo struct {
	Options
	*progress
	work, logs string // directories
	objects    samples
	places     places
	management *management
	cluster    target.Runner
	pods       int       // that run at the end
	rotation   *rotation // nil for none
	restarter  *restarter
	balancer   *balancer
	second     *balancer // at another endpoint; nil until there is one
	pki        string    // the name of the ClusterPKI
	token      token     // of a service account, which the load uses
}

// step is a part of the run. Where it fails, the ends of its logs are shown.
type step struct {
	title string
	run   func(context.Context) error
	logs  []string
}

// Run runs the demonstration until it has shown everything or, with Keep, until ctx ends. It leaves no
// process behind and, unless it fails, no file.
func Run(ctx context.Context, o Options) (err error) {
	if runtime.GOOS != "linux" {
		return errors.New("the demo needs Linux: it gives each host a loopback address of its own")
	}
	d := &demo{Options: o, progress: newProgress(o.Out, o.Clock)}
	d.cluster.Binaries.Directory = o.Binaries
	if err := d.cluster.Binaries.Need(programs...); err != nil {
		return err
	}
	if d.work, err = os.MkdirTemp("", "clusterpki-demo-"); err != nil {
		return fmt.Errorf("make a working directory: %w", err)
	}
	d.logs = filepath.Join(d.work, "logs")
	defer func() { err = d.cleanUp(ctx, err) }()
	log, err := d.redirectLogs()
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // nothing reads it any more
	d.cluster.Data, d.cluster.Logs = filepath.Join(d.work, "data"), d.logs
	if err := os.MkdirAll(d.cluster.Data, 0o700); err != nil {
		return fmt.Errorf("make a working directory: %w", err)
	}
	return d.show(ctx)
}

// show takes all steps, and stops everything at the end.
func (d *demo) show(ctx context.Context) error {
	defer d.stop()
	quiet := context.AfterFunc(ctx, func() { d.summary("Interrupted: stopping as soon as the step allows it ...") })
	defer quiet()
	steps := d.steps()
	for i, s := range steps {
		d.begin(i+1, len(steps), s.title)
		if err := s.run(ctx); err != nil {
			return d.explain(ctx, s, err)
		}
		d.end()
	}
	d.summary("All %d steps done in %s: %s", len(steps), d.soFar(), d.outcome())
	if d.Keep {
		quiet()
		d.sayHowToTalk()
		<-ctx.Done()
	}
	return nil
}

// mounted is how what is exported is said to be delivered: nobody acknowledges it.
const mounted = v1alpha1.DeliveryMounted

// kubeletLogs are the logs of all kubelets.
const kubeletLogs = "*-kubelet"

// controlPlaneLogs are the logs of what a master runs beside etcd.
const controlPlaneLogs = "*-kube-*"

// managementLogs are the logs that say why the management cluster does not do what it should.
var managementLogs = []string{"management-etcd", "management-kube-apiserver", managerLog}

func (d *demo) steps() []step {
	management := managementLogs
	if d.Masters {
		return d.mastersSteps()
	}
	if d.Seed {
		return d.seedSteps()
	}
	if d.Rotation != None {
		return d.rotationSteps()
	}
	return []step{
		{"Start a management control plane and the operator in it", d.startManagement, management},
		{"Apply one ClusterPKI: a master with etcd, and three nodes", d.applyPKI(oneMaster, mounted), management},
		{"Export the files of each host", d.exportAll, management},
		{"Start the control plane from its host's files alone", d.startControlPlane, []string{"*-etcd", controlPlaneLogs}},
		{"Start a hollow kubelet and kube-proxy for each node from its files alone", d.startNodes, []string{kubeletLogs, "*-kube-proxy"}},
		{"Verify the TLS of every server", d.verifyTLS, []string{"*-kube-apiserver", kubeletLogs}},
		{"Run workloads, and ask with the exported admin.conf", d.runWorkloads, []string{"*-kube-[cs]*", kubeletLogs}},
		{"Add a node, which is one line, and remove it again", d.changeNodes, append(slices.Clone(management), kubeletLogs)},
	}
}

// outcome is what the run has shown.
func (d *demo) outcome() string {
	if d.rotation != nil {
		return d.rotation.outcome
	}
	return fmt.Sprintf("%d nodes are Ready, and run %d pods, on certificates that clusterpki issued.", len(d.places.nodes), d.pods)
}

// managerLog is the log of the operator and of every library in this process.
const managerLog = "clusterpki"

func (d *demo) redirectLogs() (io.Closer, error) {
	if err := os.MkdirAll(d.logs, 0o700); err != nil {
		return nil, fmt.Errorf("make the log directory: %w", err)
	}
	file, err := os.Create(d.logFile(managerLog))
	if err != nil {
		return nil, fmt.Errorf("open the operator's log: %w", err)
	}
	logger := zap.New(zap.WriteTo(file))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	return file, nil
}

func (d *demo) logFile(name string) string { return filepath.Join(d.logs, name+".log") }

// explain prints the ends of the logs that say why a step failed.
func (d *demo) explain(ctx context.Context, s step, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	var files []string
	if ended, ok := errors.AsType[*process.EndedError](err); ok {
		files = []string{ended.Log}
	} else {
		for _, pattern := range s.logs {
			found, _ := filepath.Glob(d.logFile(pattern)) //nolint:errcheck // the patterns above are well-formed
			files = append(files, found...)
		}
	}
	for _, f := range files {
		tail, terr := process.Tail(f, tailLines)
		if terr != nil || tail == "" {
			continue
		}
		d.say("the end of %s:\n  %s", f, strings.ReplaceAll(tail, "\n", "\n  "))
	}
	return fmt.Errorf("%s: %w", lowerFirst(s.title), err)
}

// stop ends every process: the target cluster, then the operator, then the management cluster.
func (d *demo) stop() {
	d.summary("Stopping everything ...")
	if d.rotation != nil {
		d.rotation.stop()
	}
	d.cluster.Stop()
	for _, b := range []*balancer{d.balancer, d.second} {
		if b != nil {
			b.stop()
		}
	}
	if d.management != nil {
		d.management.stop(d.say)
	}
}

// cleanUp removes all files but, after a failure, the logs.
func (d *demo) cleanUp(ctx context.Context, failure error) error {
	if failure == nil || ctx.Err() != nil {
		if err := os.RemoveAll(d.work); err != nil {
			return errors.Join(failure, fmt.Errorf("remove the working directory: %w", err))
		}
		d.summary("Stopped after %s; no process and no file is left.", d.soFar())
		return failure
	}
	entries, err := os.ReadDir(d.work)
	for _, e := range entries {
		if path := filepath.Join(d.work, e.Name()); path != d.logs {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return errors.Join(fmt.Errorf("%w\nall logs are in %s", failure, d.logs), err)
}

func (d *demo) sayHowToTalk() {
	d.say("Everything stays up until Ctrl-C. In another terminal:\n\n"+
		"  # the management cluster\n"+
		"  export KUBECONFIG=%s\n"+
		"  kubectl get pki -n %s\n\n"+
		"  # the cluster that runs on the PKI issued there\n"+
		"  export KUBECONFIG=%s\n"+
		"  kubectl get nodes\n",
		d.management.kubeconfig(), namespace, filepath.Join(d.master().Directory, "admin.conf"))
	if path, err := d.cluster.Binaries.Find("kubectl"); err == nil {
		d.say("kubectl is %s; logs are in %s", path, d.logs)
	}
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }
