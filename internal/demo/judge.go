package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/hostfiles"
)

// judgePhased verifies the state after a rotation in phases. Whatever is wrong is said after the counts.
func (d *demo) judgePhased(ctx context.Context) error {
	// First the logs: what is verified then is that the old CA is refused, and that is logged too.
	problems := errors.Join(d.verifyLogs(), d.verifyRefused(ctx), d.verifyRunning(ctx), d.verifyProcesses())
	if err := d.printCounts(); err != nil {
		return err
	}
	t := d.rotation.load.Total()
	if t.Failures() > 0 {
		problems = errors.Join(problems, fmt.Errorf("%d of %d requests failed", t.Failures(), t.Requests))
	}
	if u := d.rotation.nodes; u.most > 0 {
		problems = errors.Join(problems, fmt.Errorf("%d nodes were not Ready: %s", u.most, u.last))
	} else {
		d.say("all nodes were Ready whenever they were looked at (%d times, %d of them without an answer)", u.looks, u.unanswered)
	}
	d.rotation.outcome = fmt.Sprintf("the root CA of a live cluster was rotated, and none of %d requests failed.", t.Requests)
	return problems
}

// judgeNaive counts what a swap without overlap has cost. That it has is what the run shows.
func (d *demo) judgeNaive(ctx context.Context) error {
	if err := d.printCounts(); err != nil {
		return err
	}
	if u := d.rotation.nodes; u.most > 0 {
		d.say("up to %d of %d nodes were not Ready, for %s in all", u.most, len(d.places.nodes), u.total.Round(time.Second))
	}
	if err := d.verifyRunning(ctx); err != nil {
		d.say("at the end, not everything works again: %v", err)
	}
	t := d.rotation.load.Total()
	d.rotation.outcome = fmt.Sprintf("without phases, %d of %d requests failed.", t.Failures(), t.Requests)
	return nil
}

// verifyLogs says whether a component complained of TLS or authentication.
func (d *demo) verifyLogs() error {
	lines, err := complaints(d.rotation.logged)
	if err != nil {
		return err
	}
	for _, line := range lines[:min(maxShown, len(lines))] {
		d.say("%.300s", line)
	}
	if len(lines) > 0 {
		return fmt.Errorf("components logged %d complaints of TLS or authentication", len(lines))
	}
	d.say("no component has logged a complaint of TLS or authentication")
	return nil
}

// verifyRunning says whether nodes, pods and components do their work.
func (d *demo) verifyRunning(ctx context.Context) error {
	c, err := d.newAdmin()
	if err != nil {
		return err
	}
	problems := errors.Join(nodesReady(ctx, c, d.places.nodes), podsRunning(ctx, c, d.pods))
	leases := []client.ObjectKey{
		{Namespace: "kube-system", Name: controllerManager}, {Namespace: "kube-system", Name: scheduler},
	}
	for _, n := range d.places.nodes {
		leases = append(leases, client.ObjectKey{Namespace: "kube-node-lease", Name: n.host})
	}
	for _, key := range leases {
		problems = errors.Join(problems, d.verifyLease(ctx, c, key))
	}
	if problems == nil {
		d.say("%d nodes are Ready and renew their leases, %d pods run, kube-controller-manager and kube-scheduler lead",
			len(d.places.nodes), d.pods)
	}
	return errors.Join(problems, d.verifyPublished(ctx, c), d.kubectl(ctx, filepath.Join(d.master().Directory, "admin.conf"), "logs", "deployment/web"))
}

// leaseAge is how old a lease may be: kubelets renew theirs every 10 seconds, the others every 2.
const leaseAge = 20 * time.Second

func (d *demo) verifyLease(ctx context.Context, c client.Client, key client.ObjectKey) error {
	var l coordinationv1.Lease
	if err := c.Get(ctx, key, &l); err != nil {
		return fmt.Errorf("lease %s: %w", key, err)
	}
	if l.Spec.RenewTime == nil || d.Clock.Since(l.Spec.RenewTime.Time) > leaseAge {
		return fmt.Errorf("lease %s was last renewed at %v", key, l.Spec.RenewTime)
	}
	return nil
}

// verifyPublished says whether pods get the CA that the API server's certificate is of.
func (d *demo) verifyPublished(ctx context.Context, c client.Client) error {
	current, err := os.ReadFile(filepath.Join(d.master().Directory, hostfiles.CA))
	if err != nil {
		return fmt.Errorf("read the CA: %w", err)
	}
	var cm corev1.ConfigMap
	if err := c.Get(ctx, client.ObjectKey{Namespace: defaultNamespace, Name: "kube-root-ca.crt"}, &cm); err != nil {
		return fmt.Errorf("read what pods trust: %w", err)
	}
	if cm.Data["ca.crt"] != string(current) {
		return errors.New("ConfigMap kube-root-ca.crt, which pods trust, is not the new CA's")
	}
	d.say("ConfigMap kube-root-ca.crt, which pods trust, holds the new CA alone")
	return nil
}

// verifyProcesses says whether anything was restarted but kube-controller-manager.
func (d *demo) verifyProcesses() error {
	var problems error
	for name, pid := range d.cluster.PIDs() {
		if pid != d.rotation.pids[name] && !strings.HasPrefix(name, "kube-controller-manager ") {
			problems = errors.Join(problems, fmt.Errorf("%s is another process than before", name))
		}
	}
	return problems
}

// newAdmin connects with what admin.conf names at this moment.
func (d *demo) newAdmin() (client.Client, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(d.master().Directory, "admin.conf"))
	if err != nil {
		return nil, fmt.Errorf("read admin.conf: %w", err)
	}
	if err := rest.LoadTLSFiles(cfg); err != nil { // so that it shares no connection with an older client
		return nil, fmt.Errorf("read admin.conf: %w", err)
	}
	kinds := meta.NewDefaultRESTMapper(nil) // spares the API server the question which kinds there are
	kinds.Add(corev1.SchemeGroupVersion.WithKind("Node"), meta.RESTScopeRoot)
	kinds.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	kinds.Add(corev1.SchemeGroupVersion.WithKind("ConfigMap"), meta.RESTScopeNamespace)
	kinds.Add(corev1.SchemeGroupVersion.WithKind("ServiceAccount"), meta.RESTScopeNamespace)
	kinds.Add(rbacv1.SchemeGroupVersion.WithKind("RoleBinding"), meta.RESTScopeNamespace)
	kinds.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), meta.RESTScopeNamespace)
	c, err := client.New(cfg, client.Options{Scheme: controller.Scheme(), Mapper: kinds})
	if err != nil {
		return nil, fmt.Errorf("connect with admin.conf: %w", err)
	}
	return c, nil
}

// unreadyNodes says which nodes are not Ready, and why.
func (d *demo) unreadyNodes(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := d.newAdmin()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range d.places.nodes {
		why, err := nodeUnready(ctx, c, n.host)
		if err != nil {
			return nil, err
		}
		if why != "" {
			out = append(out, why)
		}
	}
	return out, nil
}
