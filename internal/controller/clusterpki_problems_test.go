package controller_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

// A CA that somebody planted, with a key of his own, is not the cluster's: nothing is issued from it, and he is told by name.
func TestAPlantedCAIsNotTheClusters(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	planted := newCA("k8s-etcd-ca")
	planted.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindClusterPKI, Name: "k8s", UID: "00000000-0000-0000-0000-000000000000",
	}}
	w.create(planted)
	w.create(newCluster(1))
	c := w.condition("k8s", &v1alpha1.ClusterPKI{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonChildConflict)
	if !strings.Contains(c.Message, `ClusterCA "k8s-etcd-ca" is there`) {
		t.Errorf("%q", c.Message)
	}
	attention := w.cluster().Status.Attention
	if len(attention) != 1 || attention[0].Reason != v1alpha1.ReasonChildConflict || !strings.Contains(attention[0].Edit, `"k8s-etcd-ca" is there`) ||
		!attention[0].Since.Equal(&c.LastTransitionTime) || *w.cluster().Status.AttentionCount != 1 {
		t.Errorf("attention is %+v, and not what has been so since %v", attention, c.LastTransitionTime)
	}
	w.ready("k8s-ca", &v1alpha1.ClusterCA{}) // the others go on
	w.condition("k8s", &v1alpha1.ClusterPKI{}, v1alpha1.ReadyCondition, metav1.ConditionFalse, "")
	w.delete(planted)
	w.restartAt(w.clock.Now().Add(time.Minute))
	w.eventually("it is made", func() error {
		if w.children()["ClusterCA/k8s-etcd-ca"] == string(planted.UID) {
			return errors.New("it is the planted one")
		}
		return nil
	})
}

// A child that somebody deleted is made again, and a field of one that somebody added is told with his name.
func TestChildrenInOthersHands(t *testing.T) {
	t.Parallel()
	w := clustered(t, newCluster(1))
	was := w.children()["NodeCredential/k8s-k8s-node1-host"]
	w.delete(&v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-k8s-node1-host"}})
	w.eventually("it is made again", func() error {
		if now := w.children()["NodeCredential/k8s-k8s-node1-host"]; now == "" || now == was {
			return fmt.Errorf("it is %q", now)
		}
		return nil
	})
	w.ready("k8s", &v1alpha1.ClusterPKI{})
	var server v1alpha1.APIServerCertificate
	w.get("k8s-k8s-master-apiserver", &server)
	server.Spec.TLSServerName = "k8s-master"
	if err := w.api.Update(t.Context(), &server, client.FieldOwner("somebody")); err != nil {
		t.Fatal(err)
	}
	c := w.condition("k8s", &v1alpha1.ClusterPKI{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonForeignField)
	if !strings.Contains(c.Message, "spec.tlsServerName of APIServerCertificate/k8s-k8s-master-apiserver was set by 'somebody'") {
		t.Errorf("%q", c.Message)
	}
	w.ready("k8s", &v1alpha1.ClusterPKI{})
}

// What cannot be applied changes nothing, and the cluster goes on.
func TestASpecThatCannotBeApplied(t *testing.T) {
	t.Parallel()
	w := clustered(t, newCluster(1))
	was := w.children()
	editCluster(w, func(c *v1alpha1.ClusterPKI) { c.Spec.Nodes.Hosts[0].Addresses = []string{"10.1.10.238"} }) // the master's
	w.condition("k8s", &v1alpha1.ClusterPKI{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec)
	w.ready("k8s", &v1alpha1.ClusterPKI{})
	w.settled()
	if diff := changed(was, w.children()); len(diff) > 0 {
		t.Errorf("changed: %v", diff)
	}
}

// One trigger rotates all CAs, one after the other.
func TestAClusterIsRotated(t *testing.T) {
	t.Parallel()
	w := clustered(t, newCluster(1))
	cas := []string{"k8s-ca", "k8s-etcd-ca", "k8s-front-proxy-ca"}
	editCluster(w, func(c *v1alpha1.ClusterPKI) { c.Spec.Rotation.Trigger = "2026-11" })
	var order []string
	expected := 0
	for range 120 {
		w.settled()
		var busy []string
		for _, name := range cas {
			var ca v1alpha1.ClusterCA
			w.get(name, &ca)
			if id := ca.Status.Rotation.ID; ca.Status.Rotation.Phase != "" {
				busy = append(busy, name)
				approve(w, name, id)
			}
		}
		if len(busy) > 1 {
			t.Fatalf("%v are rotated at one time", busy)
		}
		if len(busy) == 1 && (len(order) == 0 || order[len(order)-1] != busy[0]) {
			order = append(order, busy[0])
			w.eventually("the status says so", func() error {
				r := w.cluster().Status.Rotations
				if len(r) > 0 && r[0].Name == busy[0] && !r[0].ExpectedTime.IsZero() {
					expected++
				}
				if len(r) != len(cas)-len(order)+1 || r[0].Name != busy[0] || len(r) > 1 && r[1].Phase != v1alpha1.PhaseQueued {
					return fmt.Errorf("%+v", r)
				}
				return nil
			})
		}
		if len(busy) == 0 && len(order) == len(cas) {
			break
		}
		w.restartAt(w.clock.Now().Add(13 * time.Minute))
	}
	if expected == 0 {
		t.Error("no rotation is expected to end")
	}
	if !slices.Equal(order, cas) {
		t.Errorf("the order is %v", order)
	}
	w.ready("k8s", &v1alpha1.ClusterPKI{})
	for _, name := range cas {
		if g, _ := w.record(name).Ledger.Active(); g.Number != 2 {
			t.Errorf("%s has generation %d", name, g.Number)
		}
	}
}

func approve(w *env, ca, id string) {
	w.t.Helper()
	edit(w, ca, &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
		c.Spec.Rotation.Approved = &v1alpha1.RotationApproval{Withdrawal: id}
	})
}
