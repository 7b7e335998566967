package cluster_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// recorded are children as the record has them once they were made.
func recorded(children cluster.Children) []cluster.Recorded {
	var out []cluster.Recorded
	for _, c := range children {
		out = append(out, cluster.Recorded{Key: c.Key(), Host: c.Host, Guarded: cluster.Guarded(c.Object), Made: noon.Add(-24 * time.Hour)})
	}
	return out
}

// without drops hosts from the lists.
func without(c *v1alpha1.ClusterPKI, hosts ...string) {
	c.Spec.Nodes.Hosts = slices.DeleteFunc(c.Spec.Nodes.Hosts, func(h v1alpha1.NodeHost) bool { return slices.Contains(hosts, h.Name) })
	p := &c.Spec.ControlPlane
	p.Hosts = slices.DeleteFunc(p.Hosts, func(h v1alpha1.ControlPlaneHost) bool { return slices.Contains(hosts, h.Name) })
}

// TestRemoves: 53 hosts, of which five may go unnamed.
func TestRemoves(t *testing.T) {
	nodes := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("node%d", i+1))
		}
		return out
	}
	hours := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Hour) }
	for name, tc := range map[string]struct {
		gone    []string
		left    map[string]time.Time
		edit    func(*v1alpha1.RemovalSpec)
		want    map[string]v1alpha1.RemovalReason
		next    time.Time
		forgets bool
	}{
		"nobody left":          {want: map[string]v1alpha1.RemovalReason{}},
		"one that is back":     {left: map[string]time.Time{"node1": hours(-2)}, want: map[string]v1alpha1.RemovalReason{}},
		"one that just left":   {gone: nodes(1), want: map[string]v1alpha1.RemovalReason{"node1": "Delay"}, next: hours(1)},
		"a second before":      {gone: nodes(1), left: map[string]time.Time{"node1": hours(-1).Add(time.Second)}, want: map[string]v1alpha1.RemovalReason{"node1": "Delay"}, next: noon.Add(time.Second)},
		"exactly at its delay": {gone: nodes(1), left: map[string]time.Time{"node1": hours(-1)}, want: map[string]v1alpha1.RemovalReason{"node1": ""}},
		"no delay": {
			gone: nodes(1), edit: func(r *v1alpha1.RemovalSpec) { r.Delay = &metav1.Duration{} }, want: map[string]v1alpha1.RemovalReason{"node1": ""},
		},
		"two, one after the other": {
			gone: nodes(2), left: map[string]time.Time{"node1": hours(-1)}, want: map[string]v1alpha1.RemovalReason{"node1": "", "node2": "Delay"}, next: hours(1),
		},
		"as many as may":   {gone: nodes(5), left: since(hours(-1), nodes(5)), want: all("", nodes(5))},
		"one more":         {gone: nodes(6), left: since(hours(-1), nodes(6)), want: all("ConfirmationRequired", nodes(6))},
		"one more, early":  {gone: nodes(6), want: all("ConfirmationRequired", nodes(6))},
		"one more, by now": {gone: nodes(6), left: since(hours(-1), nodes(5)), want: all("ConfirmationRequired", nodes(6))},
		"one is named": {
			gone: nodes(6), left: since(hours(-1), nodes(6)), edit: func(r *v1alpha1.RemovalSpec) { r.Confirmed = nodes(1) }, want: all("", nodes(6)),
		},
		"some are named, and too many are not": {
			gone: nodes(8), left: since(hours(-1), nodes(8)), edit: func(r *v1alpha1.RemovalSpec) { r.Confirmed = nodes(2) },
			want: map[string]v1alpha1.RemovalReason{
				"node1": "", "node2": "", "node3": "ConfirmationRequired", "node4": "ConfirmationRequired", "node5": "ConfirmationRequired",
				"node6": "ConfirmationRequired", "node7": "ConfirmationRequired", "node8": "ConfirmationRequired",
			},
		},
		"named, and early": {
			gone: nodes(50), edit: func(r *v1alpha1.RemovalSpec) { r.Confirmed = nodes(50) }, want: all("Delay", nodes(50)), next: hours(1),
		},
		"a number": {
			gone: nodes(2), left: since(hours(-1), nodes(2)), edit: func(r *v1alpha1.RemovalSpec) { r.MaxHosts = new(intstr.FromInt32(1)) },
			want: all("ConfirmationRequired", nodes(2)),
		},
		"a percentage is one host at least": {
			gone: nodes(1), left: since(hours(-1), nodes(1)), edit: func(r *v1alpha1.RemovalSpec) { r.MaxHosts = new(intstr.FromString("1%")) }, want: all("", nodes(1)),
		},
		"none goes unnamed": {
			gone: nodes(1), left: since(hours(-1), nodes(1)), edit: func(r *v1alpha1.RemovalSpec) { r.MaxHosts = new(intstr.FromString("0%")) },
			want: all("ConfirmationRequired", nodes(1)),
		},
		"a master": {
			gone: []string{"master2", "node1"}, left: since(hours(-1), []string{"master2", "node1"}),
			want: map[string]v1alpha1.RemovalReason{"master2": "ConfirmationRequired", "node1": ""},
		},
		"a master that is named": {
			gone: []string{"master2"}, left: since(hours(-1), []string{"master2"}), edit: func(r *v1alpha1.RemovalSpec) { r.Confirmed = []string{"master2"} },
			want: all("", []string{"master2"}),
		},
		"kept": {
			gone: []string{"master2", "node1"}, left: since(hours(-9), []string{"master2"}), edit: func(r *v1alpha1.RemovalSpec) { r.Policy = v1alpha1.RemovalKeep },
			want: all("Kept", []string{"master2", "node1"}),
		},
	} {
		c := sample(t, "ha")
		was := recorded(expand(t, c))
		without(c, tc.gone...)
		if tc.edit != nil {
			tc.edit(&c.Spec.Removal)
		}
		r := cluster.Removes(c.Spec.Removal, was, expand(t, c), cluster.History{Left: tc.left}, noon)
		got := map[string]v1alpha1.RemovalReason{}
		for _, h := range r.Hosts {
			got[h.Host] = h.Reason
			if since, known := tc.left[h.Host]; known && !r.Left[h.Host].Equal(since) || !known && !r.Left[h.Host].Equal(noon) || !h.Since.Equal(r.Left[h.Host]) {
				t.Errorf("%s: %s has left since %s", name, h.Host, h.Since)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || len(r.Left) != len(tc.gone) || !r.Next.Equal(tc.next) {
			t.Errorf("%s: next %s: %s", name, r.Next, diff)
		}
	}
}

func since(at time.Time, hosts []string) map[string]time.Time {
	out := map[string]time.Time{}
	for _, h := range hosts {
		out[h] = at
	}
	return out
}

func all(reason v1alpha1.RemovalReason, hosts []string) map[string]v1alpha1.RemovalReason {
	out := map[string]v1alpha1.RemovalReason{}
	for _, h := range hosts {
		out[h] = reason
	}
	return out
}

// TestRemovesARole: a role that is not asked for any more goes as if its hosts had left, and takes nothing else along.
func TestRemovesARole(t *testing.T) {
	c := sample(t, "ha")
	was := recorded(expand(t, c))
	c.Spec.Nodes.Roles = []v1alpha1.NodeRole{"Kubelet", "KubeletServing"}
	r := cluster.Removes(c.Spec.Removal, was, expand(t, c), cluster.History{}, noon)
	if len(r.Hosts) != 53 {
		t.Errorf("%d hosts", len(r.Hosts))
	}
	for _, h := range r.Hosts {
		want := cluster.Key{Kind: v1alpha1.KindNodeCredential, Name: "prod-" + h.Host + "-kube-proxy"}
		if h.Reason != v1alpha1.RemovalUnconfirmed || len(h.Children) != 1 || h.Children[0] != want {
			t.Errorf("%+v", h)
		}
	}
}

// TestNewHostsAreNoMeasure: hosts that came after others had left do not let more of these go.
func TestNewHostsAreNoMeasure(t *testing.T) {
	c := sample(t, "ha")
	gone := []string{"node1", "node2", "node3", "node4", "node5", "node6"}
	was := recorded(expand(t, c))
	without(c, gone...)
	for i := range 200 {
		c.Spec.Nodes.Hosts = append(c.Spec.Nodes.Hosts, v1alpha1.NodeHost{Name: fmt.Sprintf("new%d", i)})
	}
	for _, child := range recorded(expand(t, c)) {
		if !slices.ContainsFunc(was, func(r cluster.Recorded) bool { return r.Key == child.Key }) {
			child.Made = noon.Add(-30 * time.Minute)
			was = append(was, child)
		}
	}
	r := cluster.Removes(c.Spec.Removal, was, expand(t, c), cluster.History{Left: since(noon.Add(-time.Hour), gone)}, noon)
	if len(r.Hosts) != len(gone) {
		t.Fatalf("%+v", r.Hosts)
	}
	for _, h := range r.Hosts {
		if h.Reason != v1alpha1.RemovalUnconfirmed {
			t.Errorf("%s: %q", h.Host, h.Reason)
		}
	}
}

// TestAMastersKubelet: a role that leaves a host of the control plane does not go unnamed either.
func TestAMastersKubelet(t *testing.T) {
	c := sample(t, "ha")
	c.Spec.ControlPlane.Kubelet = new(true)
	was := recorded(expand(t, c))
	c.Spec.ControlPlane.Kubelet = new(false)
	masters := []string{"master1", "master2", "master3"}
	r := cluster.Removes(c.Spec.Removal, was, expand(t, c), cluster.History{Left: since(noon.Add(-time.Hour), masters)}, noon)
	if len(r.Hosts) != len(masters) || slices.ContainsFunc(r.Hosts, func(h cluster.Removal) bool { return h.Reason != v1alpha1.RemovalUnconfirmed }) {
		t.Errorf("%+v", r.Hosts)
	}
}

// TestRemovesNoAuthority: whatever leaves the spec, what is the whole cluster's stays, and so does what is asked for.
func TestRemovesNoAuthority(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, _ := anyCluster(t)
		was := recorded(mustExpand(t, c))
		p, n := &c.Spec.ControlPlane, &c.Spec.Nodes
		p.Hosts = p.Hosts[:rapid.IntRange(1, len(p.Hosts)).Draw(t, "masters left")]
		n.Hosts = n.Hosts[:rapid.IntRange(0, len(n.Hosts)).Draw(t, "nodes left")]
		p.Kubelet = new(rapid.Bool().Draw(t, "kubelet, by now"))
		if rapid.Bool().Draw(t, "no etcd") {
			p.Etcd = v1alpha1.EtcdSpec{Mode: v1alpha1.EtcdNone}
		}
		c.Spec.Removal.Confirmed, c.Spec.Removal.Delay = append(slices.Clone(hostNames), "x9", "etcd1"), &metav1.Duration{}
		wanted := mustExpand(t, c)
		going := map[cluster.Key]bool{}
		for _, h := range cluster.Removes(c.Spec.Removal, was, wanted, cluster.History{}, noon).Hosts {
			if h.Reason != "" {
				t.Fatalf("%+v", h)
			}
			for _, k := range h.Children {
				going[k] = true
			}
		}
		for _, child := range was {
			_, asked := wanted.Find(child.Key)
			if going[child.Key] != (child.Host != "" && !asked) {
				t.Fatalf("%s of %q: goes %t, asked for %t", child.Key, child.Host, going[child.Key], asked)
			}
		}
	})
}

// TestSeveralEdits are no way around what one must not do: removals of a day count together, hosts that were listed for that are no measure, and a name that
// a person wrote counts once.
func TestSeveralEdits(t *testing.T) {
	now, before := noon, cluster.History{}
	c := sample(t, "ha")
	was := recorded(expand(t, c))
	visit := func(after time.Duration, want map[string]v1alpha1.RemovalReason) {
		t.Helper()
		now = now.Add(after)
		wanted := expand(t, c)
		r := cluster.Removes(c.Spec.Removal, was, wanted, before, now)
		got := map[string]v1alpha1.RemovalReason{}
		for _, h := range r.Hosts {
			got[h.Host] = h.Reason
			if h.Reason == "" {
				was = slices.DeleteFunc(was, func(c cluster.Recorded) bool { return slices.Contains(h.Children, c.Key) })
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("at %s: %s", now, diff)
		}
		for _, made := range wanted {
			if !slices.ContainsFunc(was, func(r cluster.Recorded) bool { return r.Key == made.Key() }) {
				was = append(was, cluster.Recorded{Key: made.Key(), Host: made.Host, Made: now})
			}
		}
		before = cluster.History{Left: r.Left, Gone: r.Gone}
	}
	first, second := []string{"node1", "node2", "node3"}, []string{"node4", "node5", "node6"}
	without(c, first...)
	visit(0, all("Delay", first))
	visit(time.Hour, all("", first))
	for i := range 200 {
		c.Spec.Nodes.Hosts = append(c.Spec.Nodes.Hosts, v1alpha1.NodeHost{Name: fmt.Sprintf("new%d", i)})
	}
	visit(time.Minute, all("", nil))
	without(c, second...)
	visit(time.Hour, all("ConfirmationRequired", second))
	c.Spec.Removal.Confirmed = []string{"node4"}
	visit(time.Minute, map[string]v1alpha1.RemovalReason{"node4": "Delay", "node5": "Delay", "node6": "Delay"})
	visit(time.Hour, all("", second))
	back := v1alpha1.NodeHost{Name: "node4"}
	c.Spec.Nodes.Hosts = append(c.Spec.Nodes.Hosts, back)
	visit(time.Minute, all("", nil))
	without(c, "node4")
	visit(time.Minute, all("ConfirmationRequired", []string{"node4"})) // it was named for another removal
	visit(23*time.Hour, all("", []string{"node4"}))                    // the first ones count no more
	c.Spec.Nodes.Hosts = append(c.Spec.Nodes.Hosts, back)
	c.Spec.Removal.Confirmed = nil
	visit(time.Minute, all("", nil))
	without(c, "node4")
	c.Spec.Removal.Confirmed, c.Spec.Removal.MaxHosts = []string{"node4"}, new(intstr.FromInt32(0))
	visit(time.Minute, all("Delay", []string{"node4"}))
	visit(time.Hour, all("", []string{"node4"})) // a person has named it again
}
