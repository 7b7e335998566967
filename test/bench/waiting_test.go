package bench_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

// Where somebody waits, and where others make work.
const (
	patient = "patient"
	crowded = "crowded"
	slow    = "slow"
)

// mostSamples is how many credentials wait at most in one case, and pause how long it is until the next.
const (
	mostSamples = 300
	pause       = time.Second
)

// BenchmarkWaiting measures how long a new NodeCredential of one namespace waits for its certificate while others make work.
func BenchmarkWaiting(b *testing.B) {
	for range b.N {
		w := newWaiting(b)
		w.sample("at rest", w.count(20))
		w.sample(fmt.Sprintf("during a rotation of %d", *mass), w.rotating())
		w.sample(fmt.Sprintf("%d objects edited at once", *mass), w.editing())
		w.sample(fmt.Sprintf("%d new ClusterCAs of RSA 4096", *rsa), w.creating(func(i int) client.Object {
			return &v1alpha1.ClusterCA{
				ObjectMeta: metav1.ObjectMeta{Namespace: slow, Name: fmt.Sprintf("ca%d", i)}, Spec: v1alpha1.ClusterCASpec{PrivateKey: rsa4096.spec()},
			}
		}))
		w.sample(fmt.Sprintf("%d new credentials of RSA 4096", *rsa), w.creating(func(i int) client.Object {
			return credential(slow, nodeName(i+1), rsa4096)
		}))
		w.table.print()
		w.stop()
	}
}

type waiting struct {
	*plane
	o     *operator
	b     *testing.B
	table *table
	names int
	stop  func()
}

func newWaiting(b *testing.B) *waiting {
	p, stop := newPlane(b)
	o := p.startOperator()
	w := &waiting{plane: p, o: o, b: b, stop: func() { o.stop(); stop() }}
	w.table = newTable(b, "a new credential of another namespace waits", "samples", "median s", "longest s", "the others took s", "load")
	p.cluster(patient, ecdsa)
	p.cluster(slow, ecdsa)
	p.cluster(crowded, ecdsa, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.MaxUnavailable = new(intstr.FromString("100%")) })
	p.createMany(crowded, *mass-1, ecdsa)
	p.idle(o, time.Hour, func() bool { return p.readyOf(crowded, 1) == *mass })
	return w
}

// sample lets one credential after the other wait, until the others are done.
func (w *waiting) sample(name string, done func() bool) {
	w.b.Helper()
	var waits []float64
	start, before := time.Now(), load()
	for len(waits) < mostSamples && (len(waits) == 0 || !done()) {
		waits = append(waits, w.one().Seconds())
		time.Sleep(pause)
	}
	w.within(time.Hour, "the others are done", done)
	took := time.Since(start)
	w.idle(w.o, time.Hour, func() bool { return true })
	w.table.row(name, fmt.Sprint(len(waits)), figure(median(waits)), figure(slices.Max(waits)), figure(took.Seconds()), before+" "+load())
	w.table.report("s longest wait "+name, slices.Max(waits))
}

// one creates a credential, and says how long it was not Ready.
func (w *waiting) one() time.Duration {
	w.b.Helper()
	w.names++
	name := nodeName(w.names)
	events, err := w.api.Watch(w.b.Context(), &v1alpha1.NodeCredentialList{}, client.InNamespace(patient), client.MatchingFields{"metadata.name": name})
	if err != nil {
		w.b.Fatal(err)
	}
	defer events.Stop()
	start := time.Now()
	w.create(credential(patient, name, ecdsa))
	limit := time.After(30 * time.Minute)
	for {
		select {
		case e := <-events.ResultChan():
			c, ok := e.Object.(*v1alpha1.NodeCredential)
			if !ok {
				w.b.Fatalf("the watch brings %v", e)
			}
			if meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ReadyCondition) {
				return time.Since(start)
			}
		case <-limit:
			w.b.Fatalf("%s is not Ready", name)
		}
	}
}

// count is done after so many samples.
func (w *waiting) count(n int) func() bool {
	return func() bool { n--; return n < 1 }
}

func (w *waiting) rotating() func() bool {
	w.rotate(crowded)
	return func() bool {
		var ca v1alpha1.ClusterCA
		w.get(crowded, "k8s", &ca)
		return rotationDone(&ca)
	}
}

// editing changes what is to be issued, of all objects: the next sample comes while that goes on.
func (w *waiting) editing() func() bool {
	issued := w.o.state("/counts").Issued
	edited := make(chan struct{})
	go func() {
		defer close(edited)
		each(*mass, func(i int) {
			edit(w.plane, crowded, nodeName(i), &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Validity.Duration = 1000 * time.Hour })
		})
	}()
	return func() bool {
		select {
		case <-edited:
			return w.o.state("/counts").Issued-issued >= float64(*mass)
		default:
			return false
		}
	}
}

// creating makes objects whose keys take long.
func (w *waiting) creating(object func(int) client.Object) func() bool {
	issued := w.o.state("/counts").Issued
	each(*rsa, func(i int) { w.create(object(i)) })
	return func() bool { return w.o.state("/counts").Issued-issued >= float64(*rsa) }
}
