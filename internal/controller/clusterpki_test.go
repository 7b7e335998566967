package controller_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/cluster"
)

// newCluster is a master and so many nodes, whose Secrets are mounted.
func newCluster(nodes int, mods ...func(*v1alpha1.ClusterPKI)) *v1alpha1.ClusterPKI {
	c := &v1alpha1.ClusterPKI{ObjectMeta: metav1.ObjectMeta{Name: "k8s"}, Spec: v1alpha1.ClusterPKISpec{
		Endpoint: "https://k8s-master:6443", ServiceCIDRs: []string{"10.96.0.0/12"},
		ControlPlane: v1alpha1.ControlPlaneSpec{
			Kubelet: new(false), Hosts: []v1alpha1.ControlPlaneHost{{Name: "k8s-master", Addresses: []string{"10.1.10.238"}}},
		},
		Nodes: v1alpha1.NodesSpec{Roles: []v1alpha1.NodeRole{"Host"}},
		Certificates: v1alpha1.CertificatesSpec{Delivery: v1alpha1.HostDelivery{
			Mode: v1alpha1.DeliveryMounted, AcceptAssumed: v1alpha1.AcceptAssumedAlways,
		}},
	}}
	for i := range nodes {
		c.Spec.Nodes.Hosts = append(c.Spec.Nodes.Hosts, v1alpha1.NodeHost{Name: fmt.Sprintf("k8s-node%d", i+1)})
	}
	for _, mod := range mods {
		mod(c)
	}
	return c
}

// cluster reads the ClusterPKI.
func (w *env) cluster() *v1alpha1.ClusterPKI {
	w.t.Helper()
	var c v1alpha1.ClusterPKI
	w.get("k8s", &c)
	return &c
}

// clustered creates a cluster, and waits until all of it is Ready.
func clustered(t *testing.T, c *v1alpha1.ClusterPKI) *env {
	t.Helper()
	w := newEnv(t)
	w.create(c)
	w.ready("k8s", &v1alpha1.ClusterPKI{})
	w.settled()
	return w
}

// children are the UIDs of all that a ClusterPKI makes, by kind and name.
func (w *env) children() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	for _, k := range v1alpha1.Kinds() {
		if k.Name == v1alpha1.KindClusterPKI {
			continue
		}
		list := k.NewList()
		w.list(list)
		items, err := meta.ExtractList(list)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, item := range items {
			o := item.(v1alpha1.Object)
			out[o.Kind()+"/"+o.GetName()] = string(o.GetUID())
		}
	}
	return out
}

// changed are those whose versions differ, or that are in one alone.
func changed(was, now map[string]string) []string {
	var out []string
	for k := range maps.Keys(was) {
		if now[k] != was[k] {
			out = append(out, k)
		}
	}
	for k := range maps.Keys(now) {
		if _, there := was[k]; !there {
			out = append(out, k)
		}
	}
	return slices.Sorted(slices.Values(out))
}

func editCluster(w *env, change func(*v1alpha1.ClusterPKI)) {
	w.t.Helper()
	edit(w, "k8s", &v1alpha1.ClusterPKI{}, change)
}

// A whole cluster: everything is made and Ready, the status sums it up, and a second visit writes nothing.
func TestACluster(t *testing.T) {
	t.Parallel()
	w := clustered(t, newCluster(3))
	c := w.cluster()
	wanted, err := cluster.Expand(c, cluster.Names{})
	if err != nil {
		t.Fatal(err)
	}
	children := w.children()
	for _, child := range wanted {
		o := child.Object
		w.ready(o.GetName(), o)
		if children[child.Key().String()] == "" || len(o.GetOwnerReferences()) > 0 {
			t.Errorf("%s: %v", child.Key(), o.GetOwnerReferences())
		}
	}
	if len(children) != len(wanted) {
		t.Errorf("there are %d objects, and not %d", len(children), len(wanted))
	}
	s := c.Status
	if *s.Hosts != 4 || *s.HostsBehind != 0 || *s.HostsUpToDate != 4 || int(*s.Certificates) != len(wanted)-1 || len(s.Behind)+len(s.Rotations)+len(s.Removals)+len(s.Attention) > 0 {
		t.Errorf("%+v", s)
	}
	if first := w.pair("k8s-k8s-node1-host-tls").Cert.NotAfter; s.NextExpiry.After(first) || first.Sub(s.NextExpiry.Time) > time.Hour {
		t.Errorf("the next expiry is %v, and not %v", s.NextExpiry, first)
	}
	if s.AttentionCount == nil || *s.AttentionCount != 0 {
		t.Errorf("nothing needs anybody, and the status says %v", s.AttentionCount)
	}
	if up := meta.FindStatusCondition(s.Conditions, v1alpha1.HostsUpToDateCondition); up == nil || up.Status != metav1.ConditionTrue {
		t.Errorf("%+v", s.Conditions)
	}
	was := w.versions()
	w.restartAt(w.clock.Now())
	w.settled()
	if diff := changed(was, w.versions()); len(diff) > 0 {
		t.Errorf("a restart changes %v", diff)
	}
}

// A host more: what is there stays as it is. A host less: the same, after the delay; and its Secrets go with its objects.
func TestHostsComeAndGo(t *testing.T) {
	t.Parallel()
	w := clustered(t, newCluster(2))
	was := w.versions()
	editCluster(w, func(c *v1alpha1.ClusterPKI) {
		c.Spec.Nodes.Hosts = append(c.Spec.Nodes.Hosts, v1alpha1.NodeHost{Name: "k8s-node3"})
	})
	w.eventually("the node has its credential", func() error {
		if w.missing("k8s-k8s-node3-host", &v1alpha1.NodeCredential{}) {
			return fmt.Errorf("it is missing: %+v", w.cluster().Status)
		}
		return nil
	})
	w.ready("k8s-k8s-node3-host", &v1alpha1.NodeCredential{})
	w.settled()
	for _, k := range changed(was, w.versions()) {
		if !strings.Contains(k, "k8s-node3") && !strings.Contains(k, "ConfigMap kube-root-ca.crt") {
			t.Errorf("%s was written", k)
		}
	}
	var made v1alpha1.NodeCredential
	w.get("k8s-k8s-node3-host", &made)
	for _, name := range made.SecretNames() {
		if refs := w.secret(name).OwnerReferences; len(refs) != 1 || refs[0].UID != made.UID {
			t.Errorf("Secret %s does not go with its object: %+v", name, refs)
		}
	}
	leave := func(c *v1alpha1.ClusterPKI) { c.Spec.Nodes.Hosts = c.Spec.Nodes.Hosts[:2] }
	editCluster(w, leave)
	w.eventually("the host has left", func() error {
		if r := w.cluster().Status.Removals; len(r) != 1 || r[0].Host != "k8s-node3" || r[0].Reason != v1alpha1.RemovalDelayed {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	before := w.children()
	w.restartAt(w.clock.Now().Add(59 * time.Minute))
	w.settled()
	editCluster(w, func(c *v1alpha1.ClusterPKI) { // it was never gone
		c.Spec.Nodes.Hosts = append(c.Spec.Nodes.Hosts, v1alpha1.NodeHost{Name: "k8s-node3"})
	})
	w.eventually("the host is back", func() error {
		if r := w.cluster().Status.Removals; len(r) > 0 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	w.restartAt(w.clock.Now().Add(2 * time.Hour))
	w.settled()
	editCluster(w, leave)
	w.settled()
	if diff := changed(before, w.children()); len(diff) > 0 {
		t.Errorf("changed: %v", diff)
	}
	w.restartAt(w.clock.Now().Add(time.Hour))
	w.eventually("it is gone", func() error {
		if !w.missing("k8s-k8s-node3-host", &v1alpha1.NodeCredential{}) || len(w.cluster().Status.Removals) > 0 {
			return fmt.Errorf("it is there: %+v", w.cluster().Status.Removals)
		}
		return nil
	})
	delete(before, "NodeCredential/k8s-k8s-node3-host")
	if diff := changed(before, w.children()); len(diff) > 0 {
		t.Errorf("changed: %v", diff)
	}
}

// A patch that drops all hosts but one removes nothing, and says what to write.
func TestAPatchThatDropsHosts(t *testing.T) {
	t.Parallel()
	w := clustered(t, newCluster(4, func(c *v1alpha1.ClusterPKI) {
		c.Spec.Removal.Delay = &metav1.Duration{Duration: time.Minute}
		c.Spec.ControlPlane.Hosts = append(c.Spec.ControlPlane.Hosts, v1alpha1.ControlPlaneHost{Name: "k8s-master2", Addresses: []string{"10.1.10.237"}})
	}))
	before := w.children()
	editCluster(w, func(c *v1alpha1.ClusterPKI) {
		c.Spec.Nodes.Hosts = c.Spec.Nodes.Hosts[:1]
		c.Spec.ControlPlane.Hosts = c.Spec.ControlPlane.Hosts[:1]
	})
	pending := func() string {
		c := w.condition("k8s", &v1alpha1.ClusterPKI{}, v1alpha1.RemovalPendingCondition, metav1.ConditionTrue, v1alpha1.ReasonConfirmationRequired)
		return c.Message
	}
	if text := pending(); !strings.Contains(text, "`spec.removal.confirmed: [k8s-master2, k8s-node2, k8s-node3, k8s-node4]`") {
		t.Errorf("%q", text)
	}
	attention := w.cluster().Status.Attention
	if len(attention) != 1 || attention[0].Reason != v1alpha1.ReasonConfirmationRequired || attention[0].Since.IsZero() {
		t.Errorf("attention is %+v", attention)
	}
	w.settled()
	was := w.cluster()
	w.restartAt(w.clock.Now().Add(time.Hour))
	w.settled()
	if now := w.cluster(); now.ResourceVersion != was.ResourceVersion {
		t.Errorf("an hour later the status is written: %+v, and then %+v", was.Status, now.Status)
	}
	w.restartAt(w.clock.Now().Add(100 * time.Hour))
	w.settled()
	if diff := changed(before, w.children()); len(diff) > 0 {
		t.Errorf("removed: %v", diff)
	}
	editCluster(w, func(c *v1alpha1.ClusterPKI) { c.Spec.Removal.Confirmed = []string{"k8s-node2", "k8s-node4"} })
	w.eventually("what is confirmed goes", func() error {
		for _, name := range []string{"k8s-k8s-node2-host", "k8s-k8s-node4-host"} {
			if !w.missing(name, &v1alpha1.NodeCredential{}) {
				return fmt.Errorf("%s is there: %+v", name, w.cluster().Status.Removals)
			}
		}
		return nil
	})
	w.eventually("one more goes without a word", func() error { // within maxHosts
		if !w.missing("k8s-k8s-node3-host", &v1alpha1.NodeCredential{}) {
			return fmt.Errorf("%+v", w.cluster().Status.Removals)
		}
		return nil
	})
	if text := pending(); !strings.Contains(text, "k8s-master2") || strings.Contains(text, "node3") {
		t.Errorf("%q", text)
	}
	w.settled()
	for key := range before {
		if strings.Contains(key, "master2") && w.children()[key] != before[key] {
			t.Errorf("%s went without a word", key)
		}
	}
}

// A ClusterPKI that is deleted leaves everything. One of its name takes that up, and issues nothing anew.
func TestAClusterIsTakenUp(t *testing.T) {
	t.Parallel()
	w := clustered(t, newCluster(2))
	was := w.versions()
	w.delete(w.cluster())
	w.settled()
	w.create(newCluster(2))
	w.ready("k8s", &v1alpha1.ClusterPKI{})
	w.settled()
	if diff := changed(was, w.versions()); len(diff) > 0 {
		t.Errorf("it writes %v", diff)
	}
	family, err := w.store().LiveFamily(t.Context(), w.ns, "k8s")
	if err != nil || family.UID != w.cluster().UID {
		t.Errorf("%+v, %v", family, err)
	}
}

// What decides whose child an object is, is missing, or another namespace's: nothing is made and nothing is changed.
func TestAClusterWithoutItsRecord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*env)
		reason string
	}{
		"it is gone": {func(w *env) { w.delete(&corev1.Secret{ObjectMeta: familyOf(w)}) }, v1alpha1.ReasonAuthorityMissing},
		"it was another namespace's": {func(w *env) {
			f := familySecret(w)
			f.Data["cluster.json"] = []byte(strings.ReplaceAll(string(f.Data["cluster.json"]), `"namespaceUID":"`, `"namespaceUID":"x`))
			f.Data["cluster.json"] = []byte(strings.ReplaceAll(string(f.Data["cluster.json"]), `"uid":"`, `"uid":"x`))
			if err := w.api.Update(w.t.Context(), f); err != nil {
				w.t.Fatal(err)
			}
		}, v1alpha1.ReasonAuthorityRetained},
		"it is another installation's": {func(w *env) {
			f := familySecret(w)
			f.Data["cluster.json"] = []byte(strings.ReplaceAll(string(f.Data["cluster.json"]), `"authorityNamespaceUID":"`, `"authorityNamespaceUID":"x`))
			if err := w.api.Update(w.t.Context(), f); err != nil {
				w.t.Fatal(err)
			}
		}, v1alpha1.ReasonAuthorityRetained},
		"it cannot be read": {func(w *env) {
			f := familySecret(w)
			f.Data["children.json.gz"] = []byte("x")
			if err := w.api.Update(w.t.Context(), f); err != nil {
				w.t.Fatal(err)
			}
		}, v1alpha1.ReasonLedgerUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := clustered(t, newCluster(1))
			was := w.children()
			c.change(w)
			editCluster(w, func(c *v1alpha1.ClusterPKI) { c.Spec.Nodes.Hosts = []v1alpha1.NodeHost{{Name: "another"}} })
			w.condition("k8s", &v1alpha1.ClusterPKI{}, v1alpha1.StalledCondition, metav1.ConditionTrue, c.reason)
			w.settled()
			if diff := changed(was, w.children()); len(diff) > 0 {
				t.Errorf("changed: %v", diff)
			}
		})
	}
}

func familyOf(w *env) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.authority, Name: authority.FamilyName(w.ns, "k8s")}
}

func familySecret(w *env) *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.authority, Name: familyOf(w).Name}, &s); err != nil {
		w.t.Fatal(err)
	}
	return &s
}
