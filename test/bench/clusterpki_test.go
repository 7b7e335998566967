package bench_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

var hosts = flag.Int("nodes", 999, "how many nodes the ClusterPKI of BenchmarkClusterPKI has, beside its master, before one is added: 999 at most")

// perNode is how many certificates a node has: kubelet, its server, and kube-proxy.
const perNode = 3

// BenchmarkClusterPKI applies one ClusterPKI of many nodes, adds one, and has one certificate of one node made again, after which nothing but the
// status is to be seen to.
func BenchmarkClusterPKI(b *testing.B) {
	b.Run(fmt.Sprintf("nodes=%d", *hosts), func(b *testing.B) {
		for range b.N {
			measureCluster(b, *hosts)
		}
	})
}

func measureCluster(b *testing.B, n int) {
	p, stop := newPlane(b)
	defer stop()
	o := p.startOperator()
	defer func() { o.stop() }()
	p.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	heap, rss := o.memory()
	o.resetPeak()
	t := newTable(b, fmt.Sprintf("a ClusterPKI of %d nodes", n), "applied", "a node more", "one certificate made again")
	before := load()
	columns := []map[string]string{
		p.step(o, perNode*n, func() { p.create(wholeCluster(n)) }),
		p.step(o, perNode, func() {
			p.patch(&v1alpha1.ClusterPKI{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "k8s"}}, types.JSONPatchType,
				fmt.Sprintf(`[{"op":"add","path":"/spec/nodes/hosts/-","value":{"name":%q,"addresses":["10.200.0.2"]}}]`, nodeName(n)))
		}),
		p.step(o, 1, func() {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "k8s-" + nodeName(0) + "-kubelet-tls"}}
			if err := p.api.Delete(b.Context(), s); err != nil {
				b.Fatal(err)
			}
		}),
	}
	var c v1alpha1.ClusterPKI
	p.get(namespace, "k8s", &c)
	if !meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ReadyCondition) {
		b.Fatalf("it is not Ready: %+v", c.Status.Conditions)
	}
	for _, name := range []string{"requests", "writes", "of them of the ClusterPKI's status", "CPU of the operator ms", "CPU of the API server ms", "time s"} {
		row := []string{name}
		for _, column := range columns {
			row = append(row, column[name])
		}
		t.row(row...)
	}
	endHeap, endRSS := o.memory()
	t.row("heap MB more", figure((endHeap-heap)/kilo/kilo))
	t.row("resident MB more", figure((endRSS-rss)/kilo/kilo))
	t.row("resident MB at the highest", figure(o.rss("VmHWM")/kilo/kilo))
	t.row("load of the machine before and after", before, load())
	t.print()
}

// step does something, waits until some certificates were issued and the operator is idle, and says what that took.
func (p *plane) step(o *operator, issued int, do func()) map[string]string {
	p.t.Helper()
	first, begin, start := o.state("/state"), p.spent(o.process), time.Now()
	do()
	end := p.idle(o, time.Hour, func() bool { return o.state("/counts").Issued-first.Issued >= float64(issued) })
	time.Sleep(2 * time.Second) // what a status waits for, to be written once for many
	p.idle(o, time.Hour, func() bool { return true })
	c, last := p.spent(o.process).since(begin), o.state("/state")
	writes, reads := writesAndReads(first.Requests, last.Requests)
	var statuses float64
	for _, line := range requestLines(first.Requests, last.Requests) {
		if line.name == "patch clusterpkis/status" {
			statuses = line.n
		}
		p.t.Logf("%g %s", line.n, line.name)
	}
	return map[string]string{
		"requests": figure(writes + reads), "writes": figure(writes), "of them of the ClusterPKI's status": figure(statuses),
		"CPU of the operator ms": figure(perObject(c.worker, 1)), "CPU of the API server ms": figure(perObject(c.server, 1)),
		"time s": figure(end.Sub(start).Seconds()),
	}
}

func (p *plane) patch(o client.Object, kind types.PatchType, patch string) {
	p.t.Helper()
	if err := p.api.Patch(p.t.Context(), o, client.RawPatch(kind, []byte(patch))); err != nil {
		p.t.Fatal(err)
	}
}

// wholeCluster is one master and many nodes.
func wholeCluster(n int) *v1alpha1.ClusterPKI {
	c := &v1alpha1.ClusterPKI{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "k8s"}}
	c.Spec.Endpoint, c.Spec.ServiceCIDRs = "https://k8s-master:6443", []string{"10.96.0.0/12"}
	c.Spec.Certificates.Delivery.Mode = v1alpha1.DeliveryMounted
	c.Spec.ControlPlane.Hosts = []v1alpha1.ControlPlaneHost{{Name: "k8s-master", Addresses: []string{"10.200.0.1"}}}
	for i := range n {
		c.Spec.Nodes.Hosts = append(c.Spec.Nodes.Hosts, v1alpha1.NodeHost{Name: nodeName(i), Addresses: []string{fmt.Sprintf("10.%d.%d.1", i/250, i%250)}})
	}
	return c
}
