package health_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/test/testenv"
)

// fixture is a namespace of its own, and an operator for it whose clock stands, unless it drifts.
type fixture struct {
	t     *testing.T
	ns    string
	api   client.Client
	clock *testingclock.FakePassiveClock
	// drift is how much the clock goes on at each look at an object.
	drift time.Duration
	// operator is what its manifests give the operator.
	operator testenv.Installation
	stop     func()
}

// reach brings an object into a state.
func reach(t *testing.T, s state) *unstructured.Unstructured {
	t.Helper()
	w := newFixture(t)
	object := w.create(s)
	if !s.away || s.then != "" {
		w.start()
	}
	if s.then != "" || s.later > 0 || s.says != "" {
		w.until(object, "Ready True Issued")
	}
	if s.away {
		w.stop()
	}
	if s.then != "" {
		if err := w.api.Patch(t.Context(), object, client.RawPatch(types.MergePatchType, []byte(s.then))); err != nil {
			t.Fatal(err)
		}
	}
	if s.later > 0 {
		if s.then != "" { // the rotation begins now
			w.until(object, "Rotating True DistributingTrust")
		}
		w.stop()
		w.clock.SetTime(w.clock.Now().Add(s.later))
		w.start()
	}
	if s.says != "" {
		w.reports(object.GetName()+"-tls", s.says)
	}
	if s.drifts {
		w.drift = time.Minute
	}
	if s.condition != "" {
		w.until(object, s.condition)
	}
	if s.argo == healthy {
		w.until(object, "Ready True Issued")
	}
	w.get(object)
	return object
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	api, err := testenv.Client(shared.Config)
	if err != nil {
		t.Fatal(err)
	}
	ns := testenv.Namespace(t, api, "health-")
	operator, err := shared.InstallFor(t.Context(), ns, ns+"-authority")
	if err != nil {
		t.Fatal(err)
	}
	w := &fixture{
		t: t, ns: ns, api: api, clock: testingclock.NewFakePassiveClock(time.Now().Add(time.Minute)), operator: operator, stop: func() {},
	}
	w.operator.Options.Clock, w.operator.Options.Poll = w.clock, time.Second
	return w
}

func (w *fixture) start() {
	w.t.Helper()
	_, w.stop = testenv.RunOperator(w.t, w.operator.Config, w.operator.Options)
}

// create makes all objects of a state's manifest and returns the one that the state is of.
func (w *fixture) create(s state) *unstructured.Unstructured {
	w.t.Helper()
	var found *unstructured.Unstructured
	for document := range strings.SplitSeq(s.manifest, sep) {
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(document), &u.Object); err != nil {
			w.t.Fatal(err)
		}
		if u.GetAPIVersion() == "" {
			u.SetAPIVersion(v1alpha1.GroupVersion.String())
		}
		u.SetNamespace(w.ns)
		if err := w.api.Create(w.t.Context(), u); err != nil {
			w.t.Fatal(err)
		}
		if u.GetKind() == s.kind {
			found = u
		}
	}
	return found
}

func (w *fixture) get(u *unstructured.Unstructured) {
	w.t.Helper()
	if err := w.api.Get(w.t.Context(), client.ObjectKeyFromObject(u), u); err != nil {
		w.t.Fatal(err)
	}
}

// until waits for a condition of an object: its type, status and reason; or, written 'attention <reason>', for an item of its status.attention.
func (w *fixture) until(u *unstructured.Unstructured, condition string) {
	w.t.Helper()
	testenv.Eventually(w.t, u.GetKind()+" "+u.GetName()+" comes to "+condition, func() error {
		w.clock.SetTime(w.clock.Now().Add(w.drift))
		w.get(u)
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
		for _, c := range conditions {
			m, _ := c.(map[string]any)
			if fmt.Sprint(m["type"], " ", m["status"], " ", m["reason"]) == condition && m["observedGeneration"] == u.GetGeneration() {
				return nil
			}
		}
		items, _, _ := unstructured.NestedSlice(u.Object, "status", "attention")
		for _, i := range items {
			m, _ := i.(map[string]any)
			if fmt.Sprint("attention ", m["reason"]) == condition {
				return nil
			}
		}
		return fmt.Errorf("its status is %v", u.Object["status"])
	})
}

// reports lets the agent of a host say what its problem is.
func (w *fixture) reports(lease, problem string) {
	w.t.Helper()
	text, err := ack.Report{Problem: problem}.Text()
	if err != nil {
		w.t.Fatal(err)
	}
	host := "k8s-node1"
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: lease}}
	testenv.Edit(w.t, w.api, l, func(l *coordinationv1.Lease) {
		l.Annotations[v1alpha1.ReportAnnotation] = text
		l.Spec.HolderIdentity, l.Spec.RenewTime = &host, &metav1.MicroTime{Time: w.clock.Now()}
	})
}
