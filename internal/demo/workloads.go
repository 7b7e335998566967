package demo

import (
	"bytes"
	"context"
	_ "embed" // for the manifests
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

//go:embed workloads.yaml
var workloads []byte

// questions are those with which the cluster is verified.
var questions = []string{
	"get nodes -o wide",
	"get deployments --all-namespaces",
	"get replicationcontrollers --all-namespaces",
	"get daemonsets --all-namespaces",
	"get replicasets --all-namespaces",
	"get pods --all-namespaces -o wide",
	"get services --all-namespaces",
	"get endpoints --all-namespaces",
	"get endpointslices --all-namespaces",
	"logs deployment/web", // the API server asks the kubelet, and each verifies the other
}

func (d *demo) runWorkloads(ctx context.Context) error {
	if err := d.startWorkloads(ctx); err != nil {
		return err
	}
	for _, q := range questions {
		if err := d.kubectl(ctx, filepath.Join(d.master().Directory, "admin.conf"), strings.Fields(q)...); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) startWorkloads(ctx context.Context) error {
	admin, err := d.clientOf("admin.conf")
	if err != nil {
		return err
	}
	objects, err := decode(bytes.NewReader(workloads))
	if err != nil {
		return err
	}
	// Pods are refused until the controller manager has made their namespace's service account.
	err = d.cluster.Poll(ctx, time.Minute, func(ctx context.Context) error {
		return admin.Get(ctx, client.ObjectKey{Namespace: defaultNamespace, Name: "default"}, &corev1.ServiceAccount{})
	})
	if err != nil {
		return fmt.Errorf("wait for the service account: %w", err)
	}
	if err := create(ctx, admin, objects); err != nil {
		return err
	}
	d.say("a Deployment, a DaemonSet, a ReplicationController and a Service; waiting for their pods ...")
	d.pods = 3 + len(d.places.nodes) + 2 // see workloads.yaml
	return d.cluster.Poll(ctx, 2*time.Minute, func(ctx context.Context) error { return podsRunning(ctx, admin, d.pods) })
}

// nodesReady says which node is not Ready.
func nodesReady(ctx context.Context, c client.Client, nodes []place) error {
	for _, n := range nodes {
		why, err := nodeUnready(ctx, c, n.host)
		if err != nil {
			return err
		}
		if why != "" {
			return errors.New(why)
		}
	}
	return nil
}

// nodeUnready says why a node is not Ready, "" if it is.
func nodeUnready(ctx context.Context, c client.Client, name string) (string, error) {
	var node corev1.Node
	if err := c.Get(ctx, client.ObjectKey{Name: name}, &node); err != nil {
		return "", fmt.Errorf("node %s: %w", name, err)
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
			return fmt.Sprintf("node %s is not Ready: %s", name, condition.Message), nil
		}
	}
	if len(node.Status.Conditions) == 0 {
		return fmt.Sprintf("node %s has no status yet", name), nil
	}
	return "", nil
}

// podsRunning says how many pods are missing, and which are not ready.
func podsRunning(ctx context.Context, c client.Client, desired int) error {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(defaultNamespace)); err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	var missing []string
	for i := range pods.Items {
		p := &pods.Items[i]
		ready := p.Status.Phase == corev1.PodRunning
		for _, condition := range p.Status.Conditions {
			ready = ready && (condition.Type != corev1.PodReady || condition.Status == corev1.ConditionTrue)
		}
		if !ready {
			missing = append(missing, fmt.Sprintf("%s is %s on %q", p.Name, p.Status.Phase, p.Spec.NodeName))
		}
	}
	if len(pods.Items) < desired || len(missing) > 0 {
		return fmt.Errorf("%d of %d pods are there; not running: %s", len(pods.Items), desired, strings.Join(missing, ", "))
	}
	return nil
}
