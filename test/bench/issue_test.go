package bench_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
)

// What may be: how many times the floor's, and bytes.
const (
	mostCPU    = 2.0
	mostTime   = 1.5
	mostMemory = 15.0 * kilo
	kilo       = 1000.0
)

// BenchmarkIssue issues the certificates of many NodeCredentials, each with a kubeconfig, by the operator and by the floor.
// Each has a control plane of its own, in which the operator has made the first credential.
func BenchmarkIssue(b *testing.B) {
	for _, k := range []key{ecdsa, rsa2048} {
		for _, n := range numbers(b, *sizes) {
			if k != ecdsa && n > 500 {
				continue // making keys is all that it would show
			}
			b.Run(fmt.Sprintf("%s/credentials=%d", k, n), func(b *testing.B) {
				for range b.N {
					measureIssue(b, n, k)
				}
			})
		}
	}
}

// issued is what issuing n certificates took.
type issued struct {
	cost
	writes, reads, visits float64
	// replaced are Secrets that were written whole: while certificates are issued, those of the records alone.
	replaced float64
	// heap and rss are bytes that the operator held more than at its start, with everything freed that can be, and peak
	// those that it had at the highest.
	heap, rss, peak, startRSS float64
}

func measureIssue(b *testing.B, n int, k key) {
	var operators, floors []issued
	before := load()
	for range *rounds {
		operators = append(operators, issueByOperator(b, n, k))
		floors = append(floors, issueByFloor(b, n, k))
	}
	t := newTable(b, fmt.Sprintf("%d credentials, %s; medians of %d", n, k, *rounds), "operator", "floor", "ratio", "bound")
	compare := func(name string, of func(issued) float64, most float64) {
		ours, bare := medianOf(operators, of), medianOf(floors, of)
		limit := "-"
		if most > 0 && k == ecdsa {
			limit = bound(most)
		}
		t.row(name, figure(ours), figure(bare), figure(ours/bare), limit)
		t.report(name, ours)
		t.report("floor "+name, bare)
	}
	compare("CPU ms", func(i issued) float64 { return perObject(i.worker, n) }, mostCPU)
	compare("time ms", func(i issued) float64 { return perObject(i.wall, n) }, mostTime)
	compare("API server CPU ms", func(i issued) float64 { return perObject(i.server, n) }, 0)
	compare("etcd CPU ms", func(i issued) float64 { return perObject(i.store, n) }, 0)
	own := func(name string, of func(issued) float64, most float64) {
		limit := "-"
		if most > 0 {
			limit = bound(most)
		}
		t.row(name, figure(medianOf(operators, of)), "-", "-", limit)
		t.report(name, medianOf(operators, of))
	}
	own("resident KB", func(i issued) float64 { return i.rss / kilo / float64(n) }, mostMemory/kilo)
	own("heap KB", func(i issued) float64 { return i.heap / kilo / float64(n) }, mostMemory/kilo)
	own("resident KB at the highest", func(i issued) float64 { return i.peak / kilo / float64(n) }, 0)
	own("resident MB at the start, of all", func(i issued) float64 { return i.startRSS / kilo / kilo }, 0)
	own("writes", func(i issued) float64 { return i.writes / float64(n) }, 0)
	own("reads", func(i issued) float64 { return i.reads / float64(n) }, 0)
	own("reconciliations", func(i issued) float64 { return i.visits / float64(n) }, 0)
	t.row("load of the machine before and after", before, load())
	t.print()
}

// mostRecords is how many requests the record of a certificate may cost.
const mostRecords = 0.1

// BenchmarkRecord issues the certificates of many NodeCredentials that nobody acknowledges by signature, and of as many that agents do: of those
// each is recorded before it is published.
func BenchmarkRecord(b *testing.B) {
	for range b.N {
		mounted := issueByOperator(b, *mass, ecdsa)
		byAgents := issueByOperator(b, *mass, ecdsa, func(c *v1alpha1.NodeCredential) {
			c.Spec.Delivery = v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryAgent}
		})
		n := float64(*mass)
		t := newTable(b, fmt.Sprintf("%d credentials, %s", *mass, ecdsa), "Mounted", "Agent", "bound")
		row := func(name string, of func(issued) float64, limit string) {
			t.row(name, figure(of(mounted)), figure(of(byAgents)), limit)
			t.report(name, of(byAgents))
		}
		row("requests", func(i issued) float64 { return (i.writes + i.reads) / n }, "-")
		row("of which records", func(i issued) float64 { return i.replaced / n }, bound(mostRecords))
		row("CPU ms", func(i issued) float64 { return perObject(i.worker, *mass) }, "-")
		row("time ms", func(i issued) float64 { return perObject(i.wall, *mass) }, "-")
		row("reconciliations", func(i issued) float64 { return i.visits / n }, "-")
		row("heap KB", func(i issued) float64 { return i.heap / kilo / n }, "-")
		t.print()
	}
}

func medianOf(all []issued, of func(issued) float64) float64 {
	var values []float64
	for _, i := range all {
		values = append(values, of(i))
	}
	return median(values)
}

const namespace = "bench"

func issueByOperator(b *testing.B, n int, k key, mods ...func(*v1alpha1.NodeCredential)) issued {
	p, stop := newPlane(b)
	defer stop()
	o := p.startOperator()
	defer func() { o.stop() }()
	p.cluster(namespace, k)
	p.idle(o, time.Minute, func() bool { return true })
	heap, rss := o.memory()
	o.resetPeak()
	saved := o.profile(b)
	first, begin, start := o.state("/state"), p.spent(o.process), time.Now()
	p.createMany(namespace, n, k, mods...)
	end := p.idle(o, time.Hour, func() bool { return o.state("/counts").Issued-first.Issued >= float64(n) })
	time.Sleep(time.Second) // for what is written behind a reconciliation's back
	out := issued{cost: p.spent(o.process).since(begin), startRSS: rss}
	out.wall = end.Sub(start)
	saved()
	last := o.state("/state")
	out.writes, out.reads = writesAndReads(first.Requests, last.Requests)
	out.replaced = last.Requests["update secrets"] - first.Requests["update secrets"]
	out.visits = last.Visits - first.Visits
	out.peak = o.rss("VmHWM") - rss
	heapAfter, rssAfter := o.memory()
	out.heap, out.rss = heapAfter-heap, rssAfter-rss
	if ready := p.readyOf(namespace, 1); ready != n+1 {
		b.Fatalf("%d of %d credentials are Ready", ready, n+1)
	}
	return out
}

func issueByFloor(b *testing.B, n int, k key) issued {
	p, stop := newPlane(b)
	defer stop()
	o := p.startOperator()
	p.cluster(namespace, k)
	p.idle(o, time.Minute, func() bool { return true })
	o.stop()
	f, end := p.startFloor(p.jobOf(namespace, n))
	defer end()
	begin, start := p.spent(f.process), time.Now()
	f.run()
	wall := time.Since(start)
	out := issued{cost: p.spent(f.process).since(begin)}
	out.wall = wall
	return out
}

// profile takes a CPU profile, if one is asked for; the function that it returns ends and writes it.
func (o *operator) profile(b *testing.B) (saved func()) {
	if *profile == "" {
		return func() {}
	}
	o.ask("/profile/start")
	return func() {
		if err := os.WriteFile(*profile, o.ask("/profile/end"), 0o600); err != nil {
			b.Error(err)
		}
	}
}
