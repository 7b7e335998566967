package controller_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

var credentials = flag.Int("credentials", 1000, "how many NodeCredentials BenchmarkRotation replaces the CA of")

// BenchmarkRotation issues the certificates of many NodeCredentials and one APIServerCertificate, and replaces their
// CA. It measures this process, in which the operator runs, and counts what reaches the API server, which is another
// process. The propagation delay costs no time: the operator's clock is moved on whenever it has nothing to do.
func BenchmarkRotation(b *testing.B) {
	for _, limit := range []string{"25%", "100%"} {
		b.Run(fmt.Sprintf("credentials=%d/maxUnavailable=%s", *credentials, limit), func(b *testing.B) {
			for b.Loop() {
				f := newFleet(b, *credentials, limit)
				issuing := f.measure(f.issue)
				rotation := f.measure(f.rotate)
				f.publish(b, limit, issuing, rotation)
				f.stop()
			}
		})
	}
}

// fleet is a world with many credentials.
type fleet struct {
	*world
	leaves int // the credentials and the API server's
	limit  string
	ledger int // bytes of the CA's Secret at its largest
	phases []phaseTime
}

type phaseTime struct {
	name  string
	since time.Time
}

func newFleet(t testing.TB, n int, limit string) *fleet {
	f := &fleet{world: newWorld(t), leaves: n + 1, limit: limit}
	f.create(newCA("k8s", func(c *v1alpha1.ClusterCA) {
		c.Spec.Rotation.MaxUnavailable = new(intstr.Parse(limit))
	}))
	f.ready("k8s", &v1alpha1.ClusterCA{})
	return f
}

// issue creates all objects and waits until the last is Ready.
func (f *fleet) issue() {
	f.create(newServer("k8s-master"))
	var creators sync.WaitGroup
	for first := range 8 {
		creators.Go(func() {
			for i := first; i < f.leaves-1; i += 8 {
				c := newKubelet(fmt.Sprintf("node%d", i), func(c *v1alpha1.NodeCredential) { c.Spec.HostName = fmt.Sprintf("k8s-node%d", i) })
				c.Namespace = f.ns
				if err := f.api.Create(f.t.Context(), c); err != nil {
					f.t.Error(err)
				}
			}
		})
	}
	creators.Wait()
	f.within(20*time.Minute, func() bool { return f.issuedBy(1) == f.leaves && f.idle() })
}

// rotate edits the CA and moves the clock on until its replacement is complete.
func (f *fleet) rotate() {
	f.phases = nil
	edit(f.world, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Validity = hours(50000) })
	f.enter("Beginning", time.Now())
	visits := 0.0
	f.within(40*time.Minute, func() bool {
		if f.look() && f.issuedBy(2) == f.leaves {
			return f.idle()
		}
		if now := f.visitsOf("clusterca"); now > visits && f.idle() { // the CA has been looked at since the clock was moved
			visits = f.visitsOf("clusterca")
			f.clock.SetTime(f.clock.Now().Add(13 * time.Minute))
		}
		return false
	})
	f.enter("", time.Now())
}

// look notes the phase and the size of the CA's Secret, and says whether the replacement is complete. It reads the
// operator's cache, so that looking costs no requests.
func (f *fleet) look() bool {
	var ca v1alpha1.ClusterCA
	f.cached("k8s", &ca)
	f.ledger = max(f.ledger, f.authoritySecret("k8s").Size())
	done := ca.Status.Rotation.Phase == "" && ca.Status.Certificate.IssuerGeneration == 2
	if p := ca.Status.Rotation.Phase; p != "" {
		f.enter(string(p), time.Now())
	}
	return done
}

func (f *fleet) cached(name string, o client.Object) {
	if err := f.mgr.GetCache().Get(f.t.Context(), client.ObjectKey{Namespace: f.ns, Name: name}, o); err != nil {
		f.t.Fatal(err)
	}
}

// enter notes the beginning of a phase; "" ends the last.
func (f *fleet) enter(phase string, at time.Time) {
	if n := len(f.phases); n == 0 || f.phases[n-1].name != phase {
		f.phases = append(f.phases, phaseTime{phase, at})
	}
}

// issuedBy counts the leaves whose status says that they are Ready with a certificate of a generation of the CA.
func (f *fleet) issuedBy(generation int32) int {
	var servers v1alpha1.APIServerCertificateList
	var clients v1alpha1.NodeCredentialList
	for _, list := range []client.ObjectList{&servers, &clients} {
		if err := f.mgr.GetCache().List(f.t.Context(), list, client.InNamespace(f.ns), client.UnsafeDisableDeepCopy); err != nil {
			f.t.Fatal(err)
		}
	}
	n := 0
	count := func(o client.Object, c v1alpha1.CertificateStatus) {
		if c.IssuerGeneration == generation && isReady(o) {
			n++
		}
	}
	for i := range servers.Items {
		count(&servers.Items[i], servers.Items[i].Status.Certificate)
	}
	for i := range clients.Items {
		count(&clients.Items[i], clients.Items[i].Status.Certificate)
	}
	return n
}

func isReady(o client.Object) bool {
	for _, c := range conditionsOf(o) {
		if c.Type == v1alpha1.ReadyCondition {
			return c.Status == "True"
		}
	}
	return false
}

// idle says whether no object has waited or been worked on for a moment.
func (f *fleet) idle() bool {
	for range 5 {
		if running, _ := f.progress.Visits(); running > 0 {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
	return true
}

func (f *fleet) within(limit time.Duration, done func() bool) {
	ctx, cancel := context.WithTimeout(f.t.Context(), limit)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			f.t.Fatal(errors.Join(ctx.Err(), fmt.Errorf("%d of %d leaves are of generation 2; phases: %v", f.issuedBy(2), f.leaves, f.phases)))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// publish reports the figures of one case to the benchmark, and keeps them for the table.
func (f *fleet) publish(b *testing.B, limit string, issuing, rotation figures) {
	r := row{limit: limit, values: map[string]float64{}}
	add := func(name string, value float64) {
		r.names = append(r.names, name)
		r.values[name] = value
		b.ReportMetric(value, name)
	}
	for _, part := range []struct {
		name string
		figures
	}{{"issue", issuing}, {"rotate", rotation}} {
		add(part.name+"-s", part.wall.Seconds())
		if part.name == "rotate" {
			for i, p := range f.phases[:len(f.phases)-1] {
				add("rotate-"+p.name+"-s", f.phases[i+1].since.Sub(p.since).Seconds())
			}
		}
		add(part.name+"-cpu-s", part.cpu.Seconds())
		add(part.name+"-peak-RSS-MB", part.rss)
		add(part.name+"-peak-heap-MB", part.heap)
		add(part.name+"-allocated-MB", part.allocated)
		add(part.name+"-visits/leaf", part.visits/float64(f.leaves))
		writes, reads := 0.0, 0.0
		for _, key := range slices.Sorted(maps.Keys(part.requests)) {
			switch verb, _, _ := strings.Cut(key, " "); verb {
			case "GET", "LIST":
				reads += part.requests[key]
			default:
				writes += part.requests[key]
			}
			add(part.name+"-"+strings.ReplaceAll(key, " ", "-")+"/leaf", part.requests[key]/float64(f.leaves))
		}
		add(part.name+"-writes/leaf", writes/float64(f.leaves))
		add(part.name+"-reads/leaf", reads/float64(f.leaves))
		add(part.name+"-listed-MB", part.listed)
	}
	add("ledger-B", float64(f.ledger))
	rows = append(rows, r)
}

// rows are the cases that were measured; run prints them.
var rows []row

type row struct {
	limit  string
	names  []string // in order
	values map[string]float64
}

// table has a line for each figure and a column for each case.
func table(rows []row) string {
	var text strings.Builder
	if len(rows) == 0 {
		return ""
	}
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d NodeCredentials, maxUnavailable", *credentials)
	var names []string
	for _, r := range rows {
		fmt.Fprintf(w, "\t%s", r.limit)
		for i, name := range r.names {
			if !slices.Contains(names, name) {
				names = slices.Insert(names, min(i, len(names)), name)
			}
		}
	}
	fmt.Fprintln(w)
	for _, name := range names {
		fmt.Fprint(w, name)
		for _, r := range rows {
			fmt.Fprintf(w, "\t%.4g", r.values[name])
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return text.String()
}
