package controller

import (
	"testing"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
)

// TestOldestAgent is of all hosts' agents, and absent where none has said its version.
func TestOldestAgent(t *testing.T) {
	t.Parallel()
	var v clusterView
	v.view.Children = map[cluster.Key]v1alpha1.Object{}
	for name, version := range map[string]string{"a": "v0.10.0", "b": "", "c": "v0.9.2"} {
		o := &v1alpha1.NodeCredential{}
		o.Name, o.Status.AgentVersion = name, version
		child := cluster.Child{Object: o, Host: name}
		v.wanted = append(v.wanted, child)
		v.view.Children[child.Key()] = o
	}
	c := &v1alpha1.ClusterPKI{}
	summarize(v).status(c, v, time.Time{})
	if got := c.Status.Agents.OldestVersion; got != "v0.9.2" {
		t.Errorf("it is %q", got)
	}
	v.wanted = v.wanted[:0]
	if summarize(v).status(c, v, time.Time{}); c.Status.Agents.OldestVersion != "" {
		t.Errorf("without agents it is %q", c.Status.Agents.OldestVersion)
	}
}
