package health_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/controller"
)

// fixture is a namespace of its own, and an operator for it whose clock stands.
type fixture struct {
	t     *testing.T
	ns    string
	api   client.Client
	clock *testingclock.FakePassiveClock
	stop  func()
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
	api, err := client.New(cfg, client.Options{Scheme: controller.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "health-"}}
	if err := api.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	authorities := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns.Name + "-authority"}} // the operator's default for this namespace
	if err := api.Create(t.Context(), authorities); err != nil {
		t.Fatal(err)
	}
	w := &fixture{t: t, ns: ns.Name, api: api, clock: testingclock.NewFakePassiveClock(time.Now().Add(time.Minute)), stop: func() {}}
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *fixture) start() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	mgr, err := controller.New(ctx, cfg, controller.Options{Namespace: w.ns, Clock: w.clock, Poll: time.Second})
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	w.stop = func() {
		w.stop = func() {}
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the operator ended: %v", err)
		}
	}
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

// until waits for a condition of an object: its type, status and reason. The bound says that it never comes, not how
// fast it does.
func (w *fixture) until(u *unstructured.Unstructured, condition string) {
	w.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		w.get(u)
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
		for _, c := range conditions {
			m, _ := c.(map[string]any)
			if fmt.Sprint(m["type"], " ", m["status"], " ", m["reason"]) == condition && m["observedGeneration"] == u.GetGeneration() {
				return
			}
		}
	}
	w.t.Fatalf("%s %s never came to %q: %v", u.GetKind(), u.GetName(), condition, u.Object["status"])
}

// reports lets the agent of a host say what its problem is.
func (w *fixture) reports(lease, problem string) {
	w.t.Helper()
	text, err := ack.Report{Problem: problem}.Text()
	if err != nil {
		w.t.Fatal(err)
	}
	host := "k8s-node1"
	var l coordinationv1.Lease
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: lease}, &l)
		if err == nil {
			l.Annotations[v1alpha1.ReportAnnotation] = text
			l.Spec.HolderIdentity, l.Spec.RenewTime = &host, &metav1.MicroTime{Time: w.clock.Now()}
			err = w.api.Update(w.t.Context(), &l)
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatal(err)
		}
	}
}
