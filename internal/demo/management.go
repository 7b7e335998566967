package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/config/crd"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/target"
)

const readyTimeout = 2 * time.Minute

// management is the cluster that the operator runs in.
type management struct {
	cluster target.Runner
	host    target.Host
	address string
	client  client.Client
	cancel  context.CancelFunc
	manager chan error // gets how the operator ended
}

func (m *management) kubeconfig() string { return filepath.Join(m.host.Directory, "super-admin.conf") }

func (d *demo) startManagement(ctx context.Context) error {
	m := &management{host: d.host(managementHost)}
	m.cluster.Binaries, m.cluster.Data, m.cluster.Logs = d.cluster.Binaries, d.cluster.Data, d.cluster.Logs
	d.management = m
	address, port, err := managementAddress(listenable)
	if err != nil {
		return err
	}
	m.address = address
	b := &bootstrap{now: d.Clock.Now(), address: address, port: port, dir: m.host.Directory}
	files, err := b.files()
	if err != nil {
		return err
	}
	if err := export.Write(m.host.Directory, files); err != nil {
		return err
	}
	d.say("etcd and kube-apiserver at %s ...", b.endpoint())
	if err := m.cluster.StartEtcd(ctx, m.host); err != nil {
		return err
	}
	// Its own address is not one that pods could reach, and there are none.
	at := target.Place{Address: address}
	if err := m.cluster.StartAPIServer(ctx, m.host, at, "--endpoint-reconciler-type=none"); err != nil {
		return err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", m.kubeconfig())
	if err != nil {
		return fmt.Errorf("read the management cluster's kubeconfig: %w", err)
	}
	cfg.QPS = -1 // the server shares itself out (API priority and fairness); client-go's default is 5 requests a second
	if m.client, err = client.New(cfg, client.Options{Scheme: controller.Scheme()}); err != nil {
		return fmt.Errorf("connect to the management cluster: %w", err)
	}
	d.say("clusterpki's CRDs ...")
	if err := m.installCRDs(ctx); err != nil {
		return err
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: agents.DefaultNamespace}}
	if err := m.client.Create(ctx, ns); err != nil {
		return fmt.Errorf("make the agents' namespace: %w", err)
	}
	d.say("the operator, in this process ...")
	return m.runOperator(ctx, cfg, controller.Options{ProbeAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
}

// managementAddress is a loopback address at which no other demo has its management cluster.
func managementAddress(free func(string, int) bool) (address string, port int, err error) {
	for _, port := range []int{6443, 26443, 36443} {
		for i := range maxShifts {
			address := fmt.Sprintf("127.0.20.%d", 10+i)
			if free(address, port) && free(address, etcdPorts[0]) && free(address, etcdPorts[1]) {
				return address, port, nil
			}
		}
	}
	return "", 0, errPortsTaken
}

// installCRDs creates the kinds and waits until they are served.
func (m *management) installCRDs(ctx context.Context) error {
	crds, err := loadManifests(crd.Files, crd.Paths())
	if err != nil {
		return err
	}
	if err := create(ctx, m.client, crds); err != nil {
		return err
	}
	return m.cluster.Poll(ctx, time.Minute, func(ctx context.Context) error {
		for _, k := range v1alpha1.Kinds() {
			if err := m.client.List(ctx, k.NewList()); err != nil {
				return fmt.Errorf("a kind is not served yet: %w", err)
			}
		}
		return nil
	})
}

// runOperator runs the operator until stop ends it: it outlives an interrupt until the target cluster is down.
func (m *management) runOperator(ctx context.Context, cfg *rest.Config, o controller.Options) error {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.cancel = cancel
	mgr, err := controller.New(run, cfg, o)
	if err != nil {
		return err
	}
	m.manager = make(chan error, 1)
	go func() { m.manager <- mgr.Start(run) }()
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return errors.New("the operator's caches did not fill")
	}
	return nil
}

// stop ends the operator, then its cluster.
func (m *management) stop(say func(string, ...any)) {
	if m.cancel != nil {
		m.cancel()
	}
	if m.manager != nil {
		if err := <-m.manager; err != nil {
			say("the operator: %v", err)
		}
	}
	m.cluster.Stop()
}

func (d *demo) applySamples(ctx context.Context) (err error) {
	if d.objects, err = loadSamples(d.Samples); err != nil {
		return err
	}
	if d.places, err = findPlaces(d.objects, listenable); err != nil {
		return err
	}
	if err := d.objects.move(d.places); err != nil {
		return err
	}
	if d.Rotation != None {
		if err := d.objects.deliver(d.places); err != nil {
			return err
		}
		d.say("delivery.mode is Agent: what is issued counts as in use when the agent of its host says so")
		d.say("rotation.maxUnavailable is 100%%: all certificates are re-issued in one wave")
		d.say("the operator looks at the API server itself too (spec.probe)")
	}
	d.say("hosts are moved to loopback, in the endpoint and the SANs alone:")
	for _, p := range append([]place{d.places.master}, d.places.nodes...) {
		d.say("  %-12s %s instead of %s", p.host, p.address, p.original)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if err := d.management.client.Create(ctx, ns); err != nil {
		return fmt.Errorf("create the namespace: %w", err)
	}
	for _, o := range d.objects {
		o.SetNamespace(namespace)
		if err := d.management.client.Create(ctx, o); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	if err := d.management.waitReady(ctx); err != nil {
		return err
	}
	return d.kubectl(ctx, d.management.kubeconfig(), "get", "pki", "-n", namespace)
}

// waitReady waits until every object is Ready.
func (m *management) waitReady(ctx context.Context) error {
	return m.cluster.Poll(ctx, readyTimeout, func(ctx context.Context) error {
		unready, err := m.unready(ctx)
		if err == nil && len(unready) > 0 {
			err = fmt.Errorf("not Ready:\n  %s", strings.Join(unready, "\n  "))
		}
		return err
	})
}

// unready lists the objects that are not Ready, with the reason.
func (m *management) unready(ctx context.Context) ([]string, error) {
	var out []string
	for _, k := range v1alpha1.Kinds() {
		list := k.NewList()
		if err := m.client.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		for _, item := range items {
			o, ours := item.(v1alpha1.Object)
			if !ours {
				continue
			}
			if c := meta.FindStatusCondition(*o.StatusConditions(), v1alpha1.ReadyCondition); c == nil {
				out = append(out, k.Name+" "+o.GetName()+": no status yet")
			} else if c.Status != metav1.ConditionTrue {
				out = append(out, fmt.Sprintf("%s %s: %s: %s", k.Name, o.GetName(), c.Reason, c.Message))
			}
		}
	}
	return out, nil
}
