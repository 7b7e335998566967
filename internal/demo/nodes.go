package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/target"
)

// collected is how long the garbage collector of a cluster that was just started may take.
const collected = 2 * time.Minute

// changeNodes adds a node to the running cluster, by one line of its ClusterPKI, and removes it again: nothing of it is left.
func (d *demo) changeNodes(ctx context.Context) error {
	nodes := d.places.nodes
	n, err := nodes[len(nodes)-1].next("k8s-node4")
	if err != nil {
		return err
	}
	if err := d.patchPKI(ctx, fmt.Sprintf(`[{"op":"add","path":"/spec/nodes/hosts/-","value":{"name":%q,"addresses":[%q]}}]`, n.host, n.address)); err != nil {
		return err
	}
	err = d.management.cluster.Poll(ctx, readyTimeout, func(ctx context.Context) error {
		left, err := d.management.of(ctx, n.host)
		if err == nil && len(left) == 0 {
			err = fmt.Errorf("nothing is there for host %s yet", n.host)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := d.management.waitReady(ctx); err != nil {
		return err
	}
	if err := d.export(ctx, d.host(n.host)); err != nil {
		return err
	}
	d.places.nodes = append(d.places.nodes, n)
	if err := d.startNode(n, len(d.places.nodes)); err != nil {
		return err
	}
	if err := d.awaitNodes(ctx); err != nil {
		return err
	}
	admin := filepath.Join(d.master().Directory, "admin.conf")
	if err := d.kubectl(ctx, admin, "get", "nodes"); err != nil {
		return err
	}
	d.places.nodes = nodes
	d.cluster.StopHost(d.host(n.host))
	if err := d.kubectl(ctx, admin, "delete", "node", n.host); err != nil {
		return err
	}
	return d.removeNode(ctx, n)
}

// removeNode takes a node out of the ClusterPKI, and waits until nothing of it is left. Names that are confirmed go whatever removal.maxHosts says.
func (d *demo) removeNode(ctx context.Context, n place) error {
	if err := d.management.collectGarbage(d.places); err != nil {
		return err
	}
	patch := fmt.Sprintf(`[{"op":"remove","path":"/spec/nodes/hosts/%d"},{"op":"add","path":"/spec/removal","value":{"delay":"0s","confirmed":[%q]}}]`,
		len(d.places.nodes), n.host)
	if err := d.patchPKI(ctx, patch); err != nil {
		return err
	}
	err := d.management.cluster.Poll(ctx, collected, func(ctx context.Context) error {
		left, err := d.management.of(ctx, n.host)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left of host %s: %s", n.host, strings.Join(left, ", "))
		}
		return err
	})
	if err == nil {
		d.say("nothing of %s is left: no object, no Secret, no Lease", n.host)
	}
	return err
}

// next is the place of a host whose address is the next one.
func (p place) next(host string) (place, error) {
	address, err := netip.ParseAddr(p.address)
	if err != nil {
		return place{}, fmt.Errorf("read the address of %s: %w", p.host, err)
	}
	return place{host: host, original: p.original, address: address.Next().String()}, nil
}

// patchPKI edits the ClusterPKI, as a person would.
func (d *demo) patchPKI(ctx context.Context, patch string) error {
	if !json.Valid([]byte(patch)) {
		return fmt.Errorf("%s is no JSON", patch)
	}
	return d.kubectl(ctx, d.management.kubeconfig(), "patch", "clusterpki", d.pki, "-n", namespace, "--type=json", "-p", patch)
}

// of is what there is for a host: objects, and what was made for them.
func (m *management) of(ctx context.Context, host string) ([]string, error) {
	var out []string
	for _, list := range []client.ObjectList{&v1alpha1.NodeCredentialList{}, &corev1.SecretList{}, &coordinationv1.LeaseList{}} {
		if err := m.client.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			if o, ok := item.(client.Object); ok && strings.Contains(o.GetName(), "-"+host+"-") {
				out = append(out, fmt.Sprintf("%T %s", o, o.GetName()))
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
	}
	return out, nil
}

// collectGarbage starts the garbage collector, as every cluster has one: what was made for an object goes with it.
func (m *management) collectGarbage(p places) error {
	at := target.Place{Address: m.address, Port: p.manager}
	return m.cluster.StartControllerManager(m.host, at, "--controllers=garbage-collector-controller", "--leader-elect=false")
}
