package controller_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	operatormetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"clusterpki.io/operator/api/v1alpha1"
)

// fleet is an env with many credentials.
type fleet struct {
	*env
	leaves int // the credentials and the API server's
}

func newFleet(t testing.TB, n int, limit string) *fleet {
	f := &fleet{env: newEnv(t), leaves: n + 1}
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
	edit(f.env, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Validity = hours(50000) })
	visits := 0.0
	f.within(40*time.Minute, func() bool {
		if f.rotated() && f.issuedBy(2) == f.leaves {
			return f.idle()
		}
		if now := f.visitsOf("clusterca"); now > visits && f.idle() { // the CA has been looked at since the clock was moved
			visits = f.visitsOf("clusterca")
			f.clock.SetTime(f.clock.Now().Add(13 * time.Minute))
		}
		return false
	})
}

// rotated says whether the rotation is complete. It reads the operator's cache, so that looking costs no requests.
func (f *fleet) rotated() bool {
	var ca v1alpha1.ClusterCA
	f.cached("k8s", &ca)
	return ca.Status.Rotation.Phase == "" && ca.Status.Certificate.IssuerGeneration == 2
}

func (f *fleet) cached(name string, o client.Object) {
	if err := f.mgr.GetCache().Get(f.t.Context(), client.ObjectKey{Namespace: f.ns, Name: name}, o); err != nil {
		f.t.Fatal(err)
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
		if running, _ := f.mgr.Progress.Visits(); running > 0 {
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
			f.t.Fatal(errors.Join(ctx.Err(), fmt.Errorf("%d of %d leaves are of generation 2", f.issuedBy(2), f.leaves)))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// visitsOf counts the reconciliations of a controller.
func (f *fleet) visitsOf(controller string) float64 {
	families, err := operatormetrics.Registry.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	n := 0.0
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "controller" && l.GetValue() == controller {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}
