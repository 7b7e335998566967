package bench_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
)

var rotated = flag.Int("rotated", 1000, "how many NodeCredentials the CA has that BenchmarkRotation rotates")

// What may be, for each leaf: two Secrets, each written for the bundle of both CAs, for the new certificate, and for the
// bundle of the new CA alone.
const (
	mostRequests = 11.5
	mostWrites   = 8.1
)

// BenchmarkRotation rotates the CA of many NodeCredentials and one APIServerCertificate, in waves and all at once. What is
// mounted counts as in use after a second, the shortest time there is.
func BenchmarkRotation(b *testing.B) {
	for _, limit := range []string{"25%", "100%"} {
		b.Run(fmt.Sprintf("credentials=%d/maxUnavailable=%s", *rotated, limit), func(b *testing.B) {
			for range b.N {
				measureRotation(b, *rotated, limit)
			}
		})
	}
}

func measureRotation(b *testing.B, n int, limit string) {
	p, stop := newPlane(b)
	defer stop()
	o := p.startOperator()
	defer func() { o.stop() }()
	p.cluster(namespace, ecdsa, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.MaxUnavailable = new(intstr.Parse(limit)) })
	p.createMany(namespace, n-1, ecdsa)
	p.idle(o, time.Hour, func() bool { return o.state("/counts").Issued > float64(n) })
	o.memory()
	o.resetPeak()
	leaves := n + 1
	before := load()
	first, begin, start := o.state("/state"), p.spent(o.process), time.Now()
	p.rotate(namespace)
	phases := p.phases(namespace)
	end := p.idle(o, time.Hour, func() bool { return true })
	time.Sleep(time.Second)
	c := p.spent(o.process).since(begin)
	last := o.state("/state")
	if ready := p.readyOf(namespace, 2); ready != n {
		b.Fatalf("%d of %d credentials are Ready with a certificate of the new CA", ready, n)
	}
	writes, reads := writesAndReads(first.Requests, last.Requests)
	t := newTable(b, fmt.Sprintf("rotating the CA of %d credentials, maxUnavailable %s", n, limit), "measured", "bound")
	add := func(name string, v float64, limit string) { t.row(name, figure(v), limit) }
	add("requests/leaf", (writes+reads)/float64(leaves), bound(mostRequests))
	add("writes/leaf", writes/float64(leaves), bound(mostWrites))
	for _, line := range requestLines(first.Requests, last.Requests) {
		add(line.name+"/leaf", line.n/float64(leaves), "-")
	}
	add("reconciliations/leaf", (last.Visits-first.Visits)/float64(leaves), "-")
	add("CPU ms/leaf", perObject(c.worker, leaves), "-")
	add("API server CPU ms/leaf", perObject(c.server, leaves), "-")
	add("etcd CPU ms/leaf", perObject(c.store, leaves), "-")
	add("resident MB at the highest", o.rss("VmHWM")/kilo/kilo, "-")
	add("time s", end.Sub(start).Seconds(), "-")
	for i, ph := range phases[:len(phases)-1] {
		add("- "+ph.name+" s", phases[i+1].since.Sub(ph.since).Seconds(), "-")
	}
	t.report("requests/leaf", (writes+reads)/float64(leaves))
	t.report("CPU ms/leaf", perObject(c.worker, leaves))
	t.row("load of the machine before and after", before, load())
	t.print()
}

// rotate asks for a rotation.
func (p *plane) rotate(namespace string) {
	edit(p, namespace, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Trigger = "bench" })
}

type phase struct {
	name  string
	since time.Time
}

// phases waits until the rotation is complete, and says when each phase began; the last one is the end.
func (p *plane) phases(namespace string) []phase {
	p.t.Helper()
	out := []phase{{"Beginning", time.Now()}}
	p.within(time.Hour, "the rotation is complete", func() bool {
		var ca v1alpha1.ClusterCA
		p.get(namespace, "k8s", &ca)
		name := string(ca.Status.Rotation.Phase)
		if rotationDone(&ca) {
			name = "Completed"
		}
		if name != "" && out[len(out)-1].name != name {
			out = append(out, phase{name, time.Now()})
		}
		return name == "Completed"
	})
	return out
}

func rotationDone(ca *v1alpha1.ClusterCA) bool {
	return ca.Status.Rotation.Phase == "" && ca.Status.Certificate.IssuerGeneration == 2
}

type requestLine struct {
	name string
	n    float64
}

// requestLines are the requests by verb and resource, without watches.
func requestLines(before, after map[string]float64) []requestLine {
	var out []requestLine
	for key, n := range after {
		if d := n - before[key]; d > 0 && !strings.HasPrefix(key, "watch ") {
			out = append(out, requestLine{key, d})
		}
	}
	slices.SortFunc(out, func(a, b requestLine) int { return strings.Compare(a.name, b.name) })
	return out
}
