package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/config"
	"clusterpki.io/operator/internal/clientreader"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/target"
)

// host is a host of the target cluster with its exported files.
func (d *demo) host(name string) target.Host {
	return target.Host{Name: name, Directory: filepath.Join(d.work, "hosts", name)}
}

func (d *demo) master() target.Host { return d.host(d.places.master.host) }

// hosts are the hosts of the objects, in their order.
func (d *demo) hosts() []target.Host {
	var names []string
	var out []target.Host
	for _, o := range d.objects {
		if name := text(o, "hostName"); name != "" && !slices.Contains(names, name) {
			names, out = append(names, name), append(out, d.host(name))
		}
	}
	return out
}

// exportAll exports all hosts.
func (d *demo) exportAll(ctx context.Context) error { return d.export(ctx, d.hosts()...) }

// export does what `clusterpki export --host HOST --out DIR --directory DIR` does.
func (d *demo) export(ctx context.Context, hosts ...target.Host) error {
	for _, host := range hosts {
		name := host.Name
		h, err := export.Gather(ctx, clientreader.Reader{Client: d.management.client}, namespace, name)
		if err != nil {
			return err
		}
		dir := host.Directory
		files, _, err := export.Layout(h, dir, d.Clock.Now())
		if err != nil {
			return err
		}
		if err := export.Write(dir, files); err != nil {
			return err
		}
		d.say("%-12s %2d files in %s", name, len(files), dir)
	}
	return nil
}

// startControlPlane starts the master's components. On the command line they get, beyond the exported
// flags, only where to listen and where to keep data.
func (d *demo) startControlPlane(ctx context.Context) error {
	h, p := d.master(), d.places
	d.say("etcd with TLS for clients and peers ...")
	if err := d.cluster.StartEtcd(ctx, h); err != nil {
		return err
	}
	d.say("kube-apiserver at %s with --authorization-mode=Node,RBAC and NodeRestriction ...", p.endpoint())
	if err := d.cluster.StartAPIServer(ctx, h, target.Place{Address: p.master.address, Port: p.api}); err != nil {
		return err
	}
	d.say("config/rbac/target, applied with the short-lived super-admin.conf ...")
	if err := d.applyBindings(ctx); err != nil {
		return err
	}
	d.say("kube-controller-manager and kube-scheduler ...")
	if err := d.cluster.StartControllerManager(h, target.Place{Address: p.master.address, Port: p.manager}); err != nil {
		return err
	}
	if err := d.cluster.StartScheduler(h, target.Place{Address: p.master.address, Port: p.scheduler}); err != nil {
		return err
	}
	return nil
}

// clientOf connects to the target cluster with an exported kubeconfig of the master.
func (d *demo) clientOf(file string) (client.Client, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(d.master().Directory, file))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	cfg.QPS = -1 // see startManagement
	c, err := client.New(cfg, client.Options{Scheme: controller.Scheme()})
	if err != nil {
		return nil, fmt.Errorf("connect with %s: %w", file, err)
	}
	return c, nil
}

// applyBindings gives the groups and users of the credentials their roles. Nobody else may do that yet.
func (d *demo) applyBindings(ctx context.Context) error {
	objects, err := loadManifests(config.Files, config.TargetRBAC())
	if err != nil {
		return err
	}
	c, err := d.clientOf("super-admin.conf")
	if err != nil {
		return err
	}
	return create(ctx, c, objects)
}

func create(ctx context.Context, c client.Client, objects samples) error {
	for _, o := range objects {
		if err := c.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// startNodes starts each node and waits until its kube-proxy has seen what it would program.
func (d *demo) startNodes(ctx context.Context) error {
	for i, n := range d.places.nodes {
		if err := d.startNode(n, i+1); err != nil {
			return err
		}
	}
	if err := d.awaitNodes(ctx); err != nil {
		return err
	}
	for _, n := range d.places.nodes {
		at := target.Place{Address: n.address, Port: d.places.proxy}
		err := d.cluster.Poll(ctx, time.Minute, func(ctx context.Context) error { return d.cluster.ProxyHealthy(ctx, at) })
		if err != nil {
			return errors.Join(fmt.Errorf("the kube-proxy of %s", n.host), err)
		}
	}
	d.say("%d nodes are Ready; every kube-proxy has seen all Services and EndpointSlices", len(d.places.nodes))
	return nil
}

// startNode starts the components of a node, whose pods are in the subnet of a number.
func (d *demo) startNode(n place, subnet int) error {
	h := d.host(n.host)
	pods := fmt.Sprintf("10.244.%d.0/24", subnet)
	if err := d.cluster.StartKubelet(h, target.Place{Address: n.address, Port: d.places.kubelet}, pods); err != nil {
		return err
	}
	if err := d.cluster.StartProxy(h, target.Place{Address: n.address, Port: d.places.proxy}); err != nil {
		return err
	}
	d.say("%s on %s", n.host, n.address)
	return nil
}

// awaitNodes waits until all nodes are Ready.
func (d *demo) awaitNodes(ctx context.Context) error {
	admin, err := d.clientOf("admin.conf")
	if err != nil {
		return err
	}
	return d.cluster.Poll(ctx, time.Minute, func(ctx context.Context) error { return nodesReady(ctx, admin, d.places.nodes) })
}
