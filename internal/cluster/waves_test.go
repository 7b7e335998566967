package cluster_test

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
)

// TestWave: an edit reaches the control plane one host at a time, and a few nodes, and what it broke on one stops it there.
func TestWave(t *testing.T) {
	c := sample(t, "ha")
	c.Spec.Nodes.Hosts = c.Spec.Nodes.Hosts[:8]
	children := expand(t, c)
	all := map[string]bool{}
	for _, h := range children.Hosts() {
		all[h] = true
	}
	const late, never = v1alpha1.ReasonNotInUse, v1alpha1.ReasonAgentNotStarted
	for name, tc := range map[string]struct {
		limit        string            // of maxUnavailable
		lags         map[string]string // reason by host
		stalled      []string
		only         []string // hosts with changes; all where there are none
		hosts, waits string
		before       string
	}{
		"everything is in use":                   {hosts: "master1 node1 node2", waits: "master2 master3 node3 node4 node5 node6 node7 node8"},
		"a limit of one":                         {limit: "1", hosts: "master1 node1", waits: "master2 master3 node2 node3 node4 node5 node6 node7 node8"},
		"a small percentage is one node":         {limit: "1%", only: []string{"node1", "node2"}, hosts: "node1", waits: "node2"},
		"all at once":                            {limit: "100%", only: []string{"node1", "node2", "node8"}, hosts: "node1 node2 node8"},
		"a master does not use it yet":           {lags: map[string]string{"master1": late}, only: []string{"master2", "master3"}, waits: "master2 master3", before: "master1"},
		"the one that is behind gets its change": {lags: map[string]string{"master2": late}, hosts: "master2 node1 node2", waits: "master1 master3 node3 node4 node5 node6 node7 node8", before: "master2"},
		"nodes do not use it yet":                {lags: map[string]string{"node7": late, "node8": late}, only: []string{"node1", "node8"}, hosts: "node8", waits: "node1", before: "node7 node8"},
		"one node of two does not":               {lags: map[string]string{"node8": late}, only: []string{"node1", "node2"}, hosts: "node1", waits: "node2", before: "node8"},
		"no agent was ever started":              {lags: map[string]string{"master1": never, "node1": never, "node2": never}, hosts: "master1 node1 node2", waits: "master2 master3 node3 node4 node5 node6 node7 node8"},
		"what could not be issued":               {stalled: []string{"master1", "master2"}, only: []string{"master1", "master3"}, hosts: "master1", waits: "master3"},
	} {
		t.Run(name, func(t *testing.T) {
			there := map[cluster.Key]v1alpha1.Object{}
			for _, child := range expand(t, c) {
				o := child.Object
				o.SetGeneration(1)
				*o.ObservedGeneration() = 1
				*o.StatusConditions() = []metav1.Condition{condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")}
				if slices.Contains(tc.stalled, child.Host) {
					*o.StatusConditions() = []metav1.Condition{condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec, "")}
				}
				if reason := tc.lags[child.Host]; reason != "" {
					with(o, condition(v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, reason, ""))
				}
				there[child.Key()] = o
			}
			changes := all
			if tc.only != nil {
				changes = map[string]bool{}
				for _, h := range tc.only {
					changes[h] = true
				}
			}
			var limit *intstr.IntOrString
			if tc.limit != "" {
				limit = new(intstr.Parse(tc.limit))
			}
			w := children.Wave(there, changes, limit)
			var hosts []string
			for h := range w.Hosts {
				hosts = append(hosts, h)
			}
			slices.Sort(hosts)
			got := strings.Join(hosts, " ") + "; " + strings.Join(w.Waiting, " ") + "; " + strings.Join(w.For, " ")
			if want := tc.hosts + "; " + tc.waits + "; " + tc.before; got != want {
				t.Errorf("it is\n%s, not\n%s", got, want)
			}
		})
	}
}

// TestWaveUnseen: an object that was changed a moment ago counts until its reconciler has seen that.
func TestWaveUnseen(t *testing.T) {
	children := expand(t, sample(t, "ha"))
	there := map[cluster.Key]v1alpha1.Object{}
	for _, child := range children {
		if child.Host == "master1" {
			child.Object.SetGeneration(2)
			*child.Object.ObservedGeneration() = 1
			there[child.Key()] = child.Object
		}
	}
	if w := children.Wave(there, map[string]bool{"master2": true}, nil); len(w.Hosts) > 0 || !slices.Equal(w.For, []string{"master1"}) {
		t.Errorf("%+v", w)
	}
}
