package visits

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/queue"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// office is a controller's visits and queue, without its workers.
type office struct {
	*Visits
	queue  *queue.Queue[reconcile.Request]
	during func() // a visit
}

func newOffice(t *testing.T) *office {
	o := &office{during: func() {}}
	o.Visits = New(v1alpha1.KindNodeCredential, reconcile.Func(func(context.Context, ctrl.Request) (ctrl.Result, error) {
		o.during()
		return ctrl.Result{}, nil
	}), &owned.Writes{}, testingclock.NewFakePassiveClock(noon))
	o.queue = queue.New(queue.Config[reconcile.Request]{
		Clock: clock.RealClock{}, Place: PlaceOfCA, Limiter: workqueue.DefaultTypedItemBasedRateLimiter[reconcile.Request](),
	})
	t.Cleanup(o.queue.ShutDown)
	return o
}

// visit visits an object, during which something happens.
func (o *office) visit(t *testing.T, name string, during func()) {
	t.Helper()
	o.during = during
	if _, err := o.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "prod", Name: name}}); err != nil {
		t.Fatal(err)
	}
}

// next are the names of those that wait for a visit, with their classes, in order.
func (o *office) next() []string {
	classes := map[int]string{*queue.Urgent.Priority(): "urgent", *queue.Repair.Priority(): "repair", *queue.Mass.Priority(): "mass"}
	out := []string{}
	for o.queue.Len() > 0 {
		r, priority, _ := o.queue.GetWithPriority()
		out = append(out, r.Name+" "+classes[priority])
		o.queue.Done(r)
	}
	return out
}

func (o *office) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	if got := o.next(); !slices.Equal(got, want) {
		t.Errorf("%s: visits are %v, not %v", what, got, want)
	}
}

func node(version string, mods ...func(*v1alpha1.NodeCredential)) *v1alpha1.NodeCredential {
	c := &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "node", ResourceVersion: version, Generation: 1}}
	c.Status.Certificate = v1alpha1.CertificateStatus{SerialNumber: "1", RenewalTime: metav1.NewTime(noon.AddDate(0, 0, 1))}
	for _, m := range mods {
		m(c)
	}
	return c
}

func productOf(name, version string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: "prod", Name: name, ResourceVersion: version, Annotations: map[string]string{v1alpha1.OwnerAnnotation: "NodeCredential/node"},
	}}
}

func (o *office) updated(was, now client.Object) {
	h := o.Own()
	switch now.(type) {
	case *corev1.Secret:
		h = o.Products(owned.SecretKind)
	case *coordinationv1.Lease:
		h = o.Products(owned.LeaseKind)
	}
	h.Update(context.Background(), event.UpdateEvent{ObjectOld: was, ObjectNew: now}, o.queue)
}

func (o *office) created(now client.Object, initial bool) {
	h := o.Own()
	if _, ok := now.(*corev1.Secret); ok {
		h = o.Products(owned.SecretKind)
	}
	h.Create(context.Background(), event.CreateEvent{Object: now, IsInInitialList: initial}, o.queue)
}

// TestOwnWritesBringNoVisit tells of what the operator wrote itself, before and after it has the answer, and of what others
// wrote at the same time.
func TestOwnWritesBringNoVisit(t *testing.T) {
	o := newOffice(t)
	o.visit(t, "node", func() {
		o.created(productOf("tls", "7"), false) // the watch is faster than the answer
		o.wrote.Created(owned.SecretKind, productOf("tls", "7"))
		o.wrote.Created(owned.SecretKind, productOf("kubeconfig", "8"))
		o.wrote.Updated(v1alpha1.KindNodeCredential, node("9"))
		o.expect(t, "during the visit")
	})
	o.created(productOf("kubeconfig", "8"), false)
	o.updated(node("5"), node("9"))
	o.expect(t, "its own writes")
	if o.wrote.Newer(owned.SecretKind, productOf("tls", "1")) || o.wrote.Newer(v1alpha1.KindNodeCredential, node("1")) {
		t.Error("they are remembered")
	}
	o.updated(node("9"), node("10"))
	o.updated(productOf("tls", "7"), productOf("tls", "11"))
	o.expect(t, "others' writes", "node repair")
	o.visit(t, "node", func() {
		o.wrote.Updated(owned.SecretKind, productOf("tls", "12"))
		o.updated(productOf("tls", "11"), productOf("tls", "12"))
		o.updated(productOf("tls", "12"), productOf("tls", "13")) // somebody else, at once
		o.updated(node("10"), node("14", func(c *v1alpha1.NodeCredential) { c.Generation = 2 }))
		o.updated(node("14"), node("15"))
	})
	o.expect(t, "others' writes during a visit", "node urgent")
	o.wrote.Updated(owned.SecretKind, productOf("tls", "16"))
	o.Products(owned.SecretKind).Delete(context.Background(), event.DeleteEvent{Object: productOf("tls", "16"), DeleteStateUnknown: true}, o.queue)
	o.expect(t, "a deletion that a relist tells of, in the version that was written", "node repair")
	o.visit(t, "node", func() {
		o.Own().Generic(t.Context(), event.GenericEvent{Object: node("")}, o.queue)
		o.wrote.Updated(v1alpha1.KindNodeCredential, node("16"))
		o.updated(node("15"), node("16"))
	})
	o.expect(t, "what is seen on the wire during a visit", "node repair")
}

// TestWaitedForWritesBringAVisit has a visit find the cache behind what the operator wrote: it did nothing, and must come again.
func TestWaitedForWritesBringAVisit(t *testing.T) {
	for what, behind := range map[string]func(*office) bool{
		"the object": func(o *office) bool {
			o.wrote.Updated(v1alpha1.KindNodeCredential, node("9"))
			return o.wrote.Newer(v1alpha1.KindNodeCredential, node("5"))
		},
		"a Secret": func(o *office) bool { return o.wrote.Newer(owned.SecretKind, productOf("tls", "5")) },
		"a new Secret": func(o *office) bool {
			none := fake.NewClientBuilder().Build()
			_, err := owned.Secrets{Cache: none, API: none, Wrote: o.wrote}.Cached(t.Context(), "prod", "tls")
			return errors.Is(err, owned.ErrBehind)
		},
	} {
		for _, early := range []bool{true, false} {
			o := newOffice(t)
			tell := func() { o.updated(productOf("tls", "6"), productOf("tls", "9")) }
			if what == "the object" {
				tell = func() { o.updated(node("5"), node("9")) }
			}
			o.wrote.Created(owned.SecretKind, productOf("tls", "9"))
			o.visit(t, "node", func() {
				if early {
					tell()
				}
				if !behind(o) {
					t.Errorf("%s: the cache is not behind", what)
				}
			})
			if !early {
				tell()
			}
			o.expect(t, what, "node repair")
		}
	}
}

// TestClassesOfEvents says how soon each kind of event has an object visited.
func TestClassesOfEvents(t *testing.T) {
	fresh := func(c *v1alpha1.NodeCredential) { c.Status.Certificate = v1alpha1.CertificateStatus{} }
	overdue := func(c *v1alpha1.NodeCredential) { c.Status.Certificate.RenewalTime = metav1.NewTime(noon) }
	labelled := func(c *v1alpha1.NodeCredential) { c.Labels = map[string]string{"a": "b"} }
	lease := func(version, csr string) *coordinationv1.Lease {
		l := &coordinationv1.Lease{ObjectMeta: productOf("lease", version).ObjectMeta}
		l.Annotations[v1alpha1.CSRAnnotation] = csr
		return l
	}
	for what, tc := range map[string]struct {
		tell func(*office)
		want string
	}{
		"a new object":               {func(o *office) { o.created(node("1", fresh), false) }, "urgent"},
		"at the start":               {func(o *office) { o.created(node("1"), true) }, "mass"},
		"at the start, overdue":      {func(o *office) { o.created(node("1", overdue), true) }, "urgent"},
		"at the start, never issued": {func(o *office) { o.created(node("1", fresh), true) }, "urgent"},
		"an edit": {func(o *office) {
			o.updated(node("1"), node("2", func(c *v1alpha1.NodeCredential) { c.Generation = 2 }))
		}, "urgent"},
		"a label":                  {func(o *office) { o.updated(node("1"), node("2", labelled)) }, "urgent"},
		"somebody's status":        {func(o *office) { o.updated(node("1"), node("2", overdue)) }, "repair"},
		"nothing new":              {func(o *office) { o.updated(node("1"), node("1")) }, "mass"},
		"a Secret":                 {func(o *office) { o.updated(productOf("tls", "1"), productOf("tls", "2")) }, "repair"},
		"a Secret at the start":    {func(o *office) { o.created(productOf("tls", "1"), true) }, "mass"},
		"an agent's word":          {func(o *office) { o.updated(lease("1", "x"), lease("2", "x")) }, "repair"},
		"an agent's request":       {func(o *office) { o.updated(lease("1", ""), lease("2", "x")) }, "urgent"},
		"a CA's bundle":            {func(o *office) { o.dependsOn(node("1")) }, "mass"},
		"the CA that it waits for": {func(o *office) { o.dependsOn(node("1", fresh)) }, "urgent"},
	} {
		o := newOffice(t)
		tc.tell(o)
		o.expect(t, what, "node "+tc.want)
	}
}

// dependsOn tells of a change of what an object depends on.
func (o *office) dependsOn(c *v1alpha1.NodeCredential) {
	find := func(context.Context, client.Object, func(client.Object) bool) []Dependent {
		return []Dependent{dependentOn(c, noon)}
	}
	All(find).Generic(context.Background(), event.GenericEvent{}, o.queue)
}

// TestTakenFromItsOwner has somebody change a Secret, and take off or change the annotation that says whose it is, between the operator's
// write and the end of its visit: the owner is visited.
func TestTakenFromItsOwner(t *testing.T) {
	for _, other := range []string{"", "NodeCredential/other"} {
		o := newOffice(t)
		o.visit(t, "node", func() {
			o.wrote.Updated(owned.SecretKind, productOf("tls", "12"))
			o.updated(productOf("tls", "11"), productOf("tls", "12"))
			changed := productOf("tls", "13")
			changed.Annotations[v1alpha1.OwnerAnnotation] = other
			o.updated(productOf("tls", "12"), changed)
		})
		if got := o.next(); !slices.Contains(got, "node repair") {
			t.Errorf("owner %q: visits are %v", other, got)
		}
	}
}
