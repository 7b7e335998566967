package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/hostfiles"
)

// hostsRotations are how many rotations follow one another while hosts come and go, and phases how many each has.
const hostsRotations, phases = 3, 3

// hostsSteps rotate the cluster's CA of several masters again and again, and in each phase a node comes, one is made anew under its name, and one goes.
func (d *demo) hostsSteps(begin, end []step, agents []string) []step {
	steps := append(begin, step{
		"Collect garbage in the management cluster", func(context.Context) error { return d.management.collectGarbage(d.places) }, managementLogs,
	})
	for n := range hostsRotations {
		steps = append(steps, step{
			fmt.Sprintf("Rotate the cluster's CA (%d of %d), while in each phase a node comes, one is made anew and one goes", n+1, hostsRotations),
			d.rotateWithHosts(n + 1), agents,
		})
	}
	return append(steps, end...)
}

// renewed is the node that is made anew under its name: the last one.
func (d *demo) renewed() place { return d.places.nodes[len(d.places.nodes)-1] }

// rotateWithHosts rotates the cluster's CA for the nth time.
func (d *demo) rotateWithHosts(n int) func(context.Context) error {
	return func(ctx context.Context) error {
		r := d.rotation
		r.ca, r.required = d.pki+"-ca", nil
		if err := d.editPKI(ctx, fmt.Sprintf(`{"spec":{"certificateAuthorities":{"cluster":{"rotation":{"trigger":"demo-%d"}}}}}`, n)); err != nil {
			return err
		}
		f, seen := &follower{demo: d}, map[v1alpha1.Phase]bool{}
		err := d.each(ctx, func() (bool, error) {
			if d.Clock.Since(r.began) > mastersTimeout {
				return false, fmt.Errorf("the rotation is not over after %v", mastersTimeout)
			}
			over, err := f.look(ctx)
			if err != nil {
				return false, err
			}
			var ca v1alpha1.ClusterCA
			if err := d.management.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: r.ca}, &ca); err != nil {
				return false, fmt.Errorf("read the ClusterCA: %w", err)
			}
			phase := ca.Status.Rotation.Phase
			if phase == "" || seen[phase] { // at first, what is over is the rotation before this one
				return over && len(seen) == phases, nil
			}
			seen[phase] = true
			return false, d.exchange(ctx, fmt.Sprintf("extra%d%d", n, len(seen)), string(phase))
		})
		if err != nil {
			return errors.Join(err, d.printCounts())
		}
		return d.settle(ctx, fmt.Sprintf("rotation %d", n))
	}
}

// exchange brings a node and takes it away again, and in between makes another one anew under its name.
func (d *demo) exchange(ctx context.Context, name, phase string) error {
	nodes, renewed := d.places.nodes, d.renewed()
	extra, err := renewed.next(name)
	if err != nil {
		return err
	}
	extra.original = "" // it has one address
	if err := d.list(ctx, append(slices.Clone(nodes), extra)); err != nil {
		return err
	}
	if err := d.bring(ctx, extra, 100); err != nil {
		return err
	}
	if err := d.take(ctx, renewed, append(slices.Clone(nodes[:len(nodes)-1]), extra)); err != nil {
		return err
	}
	if err := d.list(ctx, append(slices.Clone(nodes), extra)); err != nil {
		return err
	}
	if err := d.bring(ctx, renewed, len(nodes)); err != nil {
		return err
	}
	if err := d.take(ctx, extra, nodes); err != nil {
		return err
	}
	d.say("  in %s: %s came, %s was made anew, and %s went", phase, extra.host, renewed.host, extra.host)
	return nil
}

// list has the ClusterPKI list some nodes; of what has left since, some names are confirmed.
func (d *demo) list(ctx context.Context, nodes []place, confirmed ...string) error {
	type host struct {
		Name      string   `json:"name"`
		Addresses []string `json:"addresses"`
	}
	var hosts []host
	for _, n := range nodes {
		hosts = append(hosts, host{n.host, n.addresses()})
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{
		"nodes": map[string]any{"hosts": hosts}, "removal": map[string]any{"delay": "0s", "confirmed": confirmed},
	}})
	if err != nil {
		return fmt.Errorf("encode the nodes: %w", err)
	}
	c := &v1alpha1.ClusterPKI{}
	c.Namespace, c.Name = namespace, d.pki
	if err := d.management.client.Patch(ctx, c, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		return fmt.Errorf("list the nodes: %w", err)
	}
	return nil
}

// bring starts the agent of a node that has nothing, and its components once it has brought their files.
func (d *demo) bring(ctx context.Context, n place, subnet int) error {
	h := d.host(n.host)
	err := d.management.cluster.Poll(ctx, readyTimeout, func(ctx context.Context) error {
		left, err := d.management.of(ctx, n.host)
		if err == nil && len(left) < 6 { // three credentials, and what was made for them
			err = fmt.Errorf("of host %s there is %s", n.host, strings.Join(left, ", "))
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := d.management.waitReady(ctx); err != nil {
		return err
	}
	if err := d.bringAgent(ctx, h); err != nil {
		return err
	}
	files := []string{
		hostfiles.ForRole("Kubelet", "").Kubeconfig, hostfiles.ForRole("KubeProxy", "").Kubeconfig, hostfiles.ForRole("KubeletServing", "").Certificate,
	}
	err = d.cluster.Poll(ctx, readyTimeout, func(context.Context) error {
		for _, name := range files {
			if _, err := os.Stat(filepath.Join(h.Directory, name)); err != nil {
				return fmt.Errorf("the agent of %s has not brought everything: %w", n.host, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := d.startNode(n, subnet); err != nil {
		return err
	}
	admin, err := d.newAdmin()
	if err != nil {
		return err
	}
	return d.cluster.Poll(ctx, time.Minute, func(ctx context.Context) error { return nodesReady(ctx, admin, []place{n}) })
}

// take stops a node, and takes it out of the ClusterPKI and the cluster: of the host nothing is left, on its disk or elsewhere. The others are listed.
func (d *demo) take(ctx context.Context, n place, others []place) error {
	h, running := d.host(n.host), d.rotation.agents.running
	running[n.host].Stop(agentGrace)
	delete(running, n.host)
	d.cluster.StopHost(h)
	if err := d.list(ctx, others, n.host); err != nil {
		return err
	}
	err := d.management.cluster.Poll(ctx, collected, func(ctx context.Context) error {
		left, err := d.management.of(ctx, n.host)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left of host %s: %s", n.host, strings.Join(left, ", "))
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := d.kubectl(ctx, filepath.Join(d.master().Directory, "admin.conf"), "delete", "node", n.host); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(h.Directory), os.RemoveAll(filepath.Dir(d.agentFile(n.host, "x")))); err != nil {
		return fmt.Errorf("empty the disk of %s: %w", n.host, err)
	}
	return nil
}
