package families_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/cluster"
)

// edits changes a child as somebody else, under a name.
func edits[T client.Object](w *world, k cluster.Key, by string, change func(T)) {
	w.t.Helper()
	o := w.get(k).(client.Object).(T)
	change(o)
	if err := api.Update(w.t.Context(), o, client.FieldOwner(by)); err != nil {
		w.t.Fatal(err)
	}
}

func credentialOf(w *world, k cluster.Key) v1alpha1.NodeCredentialSpec {
	return w.get(k).(*v1alpha1.NodeCredential).Spec
}

// What changes in the ClusterPKI changes in those children that it concerns, and what it does not say any more goes.
func TestChildrenFollowTheSpec(t *testing.T) {
	w := newWorld(t)
	w.brought()
	uid, serving := w.get(kubelet).GetUID(), key(v1alpha1.KindNodeCredential, "prod-node1-kubelet-serving")
	w.writes = nil
	w.pki.Spec.Nodes.Hosts[0].Addresses = []string{"10.1.10.240", "fd00::7"}
	if r := w.brought(); r.Changed != 1 || len(r.Problems) > 0 {
		t.Fatalf("%+v", r)
	}
	if count(w.writes, "apply") != 1 {
		t.Errorf("it writes %q", w.writes)
	}
	if got := credentialOf(w, serving).IPAddresses; len(got) != 2 || got[0] != "10.1.10.240" {
		t.Errorf("the addresses are %v", got)
	}
	w.pki.Spec.Nodes.Hosts[0].Addresses = nil
	w.writes = nil
	if r := w.brought(); r.Changed != 1 || len(r.Problems) > 0 {
		t.Fatalf("%+v", r)
	}
	if got := credentialOf(w, serving); len(got.IPAddresses) > 0 || count(w.writes, "") != 1 {
		t.Errorf("the addresses are %v, and it writes %q", got.IPAddresses, w.writes)
	}
	if o := w.get(serving); o.GetAnnotations()[v1alpha1.NonceAnnotation] == "" || o.GetLabels()[v1alpha1.ClusterLabel] != "prod" {
		t.Errorf("its metadata: %v, %v", o.GetAnnotations(), o.GetLabels())
	}
	if w.get(kubelet).GetUID() != uid {
		t.Error("another child is made anew")
	}
	w.writes = nil
	if r := w.brought(); r.Work() || len(w.writes) > 0 {
		t.Errorf("%+v: %q", r, w.writes)
	}
}

// A field that the ClusterPKI sets is set again; it does not matter who changed it.
func TestAChangedFieldIsPutRight(t *testing.T) {
	w := newWorld(t)
	w.brought()
	edits(w, kubelet, "kubectl-edit", func(c *v1alpha1.NodeCredential) {
		c.Spec.Validity.Duration = 24 * time.Hour
		c.Spec.HostName = "other"
	})
	if r := w.brought(); r.Changed != 1 || len(r.Problems) > 0 {
		t.Errorf("%+v", r)
	}
	if s := credentialOf(w, kubelet); s.HostName != "node1" || s.Validity.Duration != 8760*time.Hour {
		t.Errorf("%+v", s)
	}
}

// A field that the ClusterPKI does not ask for is told, with who has set it, and left alone; the other children go on.
func TestAForeignField(t *testing.T) {
	w, serving := newWorld(t), key(v1alpha1.KindNodeCredential, "prod-node1-kubelet-serving")
	w.brought()
	edits(w, serving, "somebody-s-tool", func(c *v1alpha1.NodeCredential) { c.Spec.DNSNames = []string{"k8s.prod.example"} })
	edits(w, ca, "another-tool", func(c *v1alpha1.ClusterCA) {
		c.Spec.Policy = &v1alpha1.CAPolicy{Roles: []v1alpha1.PolicyRole{"Kubelet"}, SharedHosts: []string{"master"}}
	})
	w.pki.Spec.Certificates.Validity.Duration = 4380 * time.Hour
	for range 2 {
		r := w.brought()
		want := "ForeignField: spec.dnsNames of NodeCredential/prod-node1-kubelet-serving was set by 'somebody-s-tool', and the ClusterPKI does not ask for it"
		if p := problemsOf(r, serving); !strings.HasPrefix(p, want) {
			t.Errorf("%q", p)
		}
		if p := problemsOf(r, ca); !strings.HasPrefix(p, "ForeignField: spec.policy.roles of ClusterCA/prod-ca was set by 'another-tool'") {
			t.Errorf("%q", p)
		}
		if len(r.Problems) != 2 {
			t.Errorf("%+v", r.Problems)
		}
	}
	if s := credentialOf(w, serving); len(s.DNSNames) != 1 || s.Validity.Duration != 4380*time.Hour {
		t.Errorf("%+v", s)
	}
	if s := credentialOf(w, key(v1alpha1.KindNodeCredential, "prod-master-scheduler")); s.Validity.Duration != 4380*time.Hour {
		t.Errorf("the others wait: %v", s.Validity)
	}
	edits(w, serving, "somebody-s-tool", func(c *v1alpha1.NodeCredential) { c.Spec.DNSNames = nil })
	edits(w, ca, "another-tool", func(c *v1alpha1.ClusterCA) { c.Spec.Policy.Roles = nil })
	if r := w.brought(); len(r.Problems) > 0 || r.Work() {
		t.Errorf("%+v", r)
	}
}

// What people say of an object by a command is theirs.
func TestPeoplesFields(t *testing.T) {
	w := newWorld(t)
	w.brought()
	edits(w, kubelet, "clusterpki", func(c *v1alpha1.NodeCredential) {
		c.Spec.Delivery.Acknowledged = &v1alpha1.AcknowledgedDelivery{SerialNumber: "01"}
	})
	edits(w, ca, "clusterpki", func(c *v1alpha1.ClusterCA) {
		c.Spec.Rotation.Approved = &v1alpha1.RotationApproval{Withdrawal: "prod-ca/2026-11.g2"}
		c.Spec.Rotation.EmergencyTrigger = "2026-11"
	})
	w.pki.Spec.Certificates.Validity.Duration = 4380 * time.Hour
	if r := w.brought(); len(r.Problems) > 0 || r.Changed == 0 {
		t.Errorf("%+v", r)
	}
	if s := credentialOf(w, kubelet); s.Delivery.Acknowledged == nil || s.Validity.Duration != 4380*time.Hour {
		t.Errorf("%+v", s)
	}
	if s := w.get(ca).(*v1alpha1.ClusterCA).Spec.Rotation; s.EmergencyTrigger == "" || s.Approved == nil {
		t.Errorf("%+v", s)
	}
}

// What goes with a host goes under its UID, and with a record; and never a CA or a key.
func TestRemoval(t *testing.T) {
	w := newWorld(t)
	w.brought()
	proxy := key(v1alpha1.KindNodeCredential, "prod-node1-kube-proxy")
	serving := key(v1alpha1.KindNodeCredential, "prod-node1-kubelet-serving")
	other := w.get(serving)
	if err := api.Delete(t.Context(), other); err != nil { // and another one of its name is there
		t.Fatal(err)
	}
	w.create(planted(w, serving))
	w.pki.Spec.Nodes.Hosts = nil
	r := w.brought(kubelet, proxy, serving)
	if r.Removed != 3 || len(r.Problems) > 0 {
		t.Errorf("%+v", r)
	}
	if w.get(kubelet) != nil || w.get(proxy) != nil {
		t.Error("they are still there")
	}
	if w.get(serving) == nil {
		t.Error("what somebody else has put there was deleted")
	}
	for _, k := range []cluster.Key{kubelet, proxy, serving} {
		if w.recorded(k) != (authority.Child{}) {
			t.Errorf("%s is still recorded", k)
		}
	}
	for _, k := range []cluster.Key{ca, sak} {
		if _, err := w.visit(k); err == nil || w.get(k) == nil {
			t.Errorf("%s goes: %v", k, err)
		}
	}
}

// One that was made, and not recorded any more, before its host left.
func TestRemovalOfWhatIsNotRecorded(t *testing.T) {
	w := newWorld(t)
	updates := 0
	w.fault = func(verb string, _ client.Object) error {
		if verb == "update" {
			if updates++; updates == 2 {
				return errCrash
			}
		}
		return nil
	}
	if _, err := w.visit(); err == nil {
		t.Fatal("it is recorded")
	}
	w.fault = nil
	w.restart()
	w.pki.Spec.Nodes.Hosts = nil
	if r := w.brought(kubelet); r.Removed != 1 || w.get(kubelet) != nil || w.recorded(kubelet).Nonce != "" {
		t.Errorf("%+v", r)
	}
}

// A child that is going is left to go.
func TestAChildThatIsGoing(t *testing.T) {
	w := newWorld(t)
	w.brought()
	edits(w, kubelet, "kubectl-edit", func(c *v1alpha1.NodeCredential) { c.Finalizers = []string{"example.org/held"} })
	if err := api.Delete(t.Context(), w.get(kubelet)); err != nil {
		t.Fatal(err)
	}
	w.pki.Spec.Certificates.Validity = metav1.Duration{Duration: 4380 * time.Hour}
	r := w.brought()
	if s := credentialOf(w, kubelet); s.Validity.Duration != 8760*time.Hour || len(r.Problems) > 0 {
		t.Errorf("%+v, %+v", s, r.Problems)
	}
	edits(w, kubelet, "kubectl-edit", func(c *v1alpha1.NodeCredential) { c.Finalizers = nil })
	if r := w.brought(); r.Made != 1 {
		t.Errorf("%+v", r)
	}
}
