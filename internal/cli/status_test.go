package cli

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
)

// TestStatus looks at a CA that is well, and at one of whose credentials the operator has not seen.
func TestStatus(t *testing.T) {
	t.Parallel()
	w := steady(t)
	out, err := w.run("status")
	if err != nil || !strings.Contains(out, "ClusterCA/k8s  Ready") {
		t.Errorf("%v\n%s", err, out)
	}
	w.create(&v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Name: "node1"}, Spec: v1alpha1.NodeCredentialSpec{
		CARef: v1alpha1.CAReference{Name: "k8s"}, HostName: "k8s-node1", Role: "Kubelet",
	}})
	out, err = w.run("status", "k8s")
	if ExitCode(err) != 2 || !strings.Contains(out, "└─ NodeCredential/node1  Unknown  system:node:k8s-node1") || !strings.Contains(out, "is it running?") {
		t.Errorf("%d: %v\n%s", ExitCode(err), err, out)
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("colours where there is no terminal: %q", out)
	}
	for format, decode := range map[string]func([]byte, any) error{
		"json": json.Unmarshal, "yaml": func(text []byte, into any) error { return yaml.UnmarshalStrict(text, into) },
	} {
		var r status.Report
		out, err := w.run("status", "-o", format)
		if ExitCode(err) != 2 || decode([]byte(out), &r) != nil || len(r.ClusterCAs) != 1 || len(r.Problems) != 1 {
			t.Errorf("%s: %v\n%s", format, err, out)
		}
	}
	all := start(t, "status", "--kubeconfig", w.kubeconfig, "--all-namespaces")
	if err := all.end(); ExitCode(err) != 2 || !strings.Contains(all.out.String(), "ClusterCA/k8s in "+w.ns) {
		t.Errorf("%v\n%s", err, all.out.String())
	}
	if out, err := w.run("status", "clusterca/k8s"); ExitCode(err) != 2 || !strings.Contains(out, "ClusterCA/k8s") {
		t.Errorf("%v\n%s", err, out)
	}
	nowhere := start(t, "status", "--kubeconfig", w.kubeconfig, "-n", "nosuchns")
	if err := nowhere.end(); err != nil || nowhere.out.String() != "There is no ClusterCA in namespace \"nosuchns\": is --namespace right?\n" {
		t.Errorf("%v\n%s", err, nowhere.out.String())
	}
	for _, args := range [][]string{{"status", "gone"}, {"status", "-o", "xml"}, {"status", "--context", "gone"}, {"rotate", "gone"}} {
		if _, err := w.run(args...); ExitCode(err) != 1 {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// TestStatusOfClusters begins with the clusters, and shows one with its hosts and with what needs a person.
func TestStatusOfClusters(t *testing.T) {
	t.Parallel()
	w := steady(t)
	c := &v1alpha1.ClusterPKI{ObjectMeta: metav1.ObjectMeta{Name: "edge"}, Spec: v1alpha1.ClusterPKISpec{
		Endpoint: "https://edge:6443", ServiceCIDRs: []string{"10.96.0.0/12"},
		ControlPlane: v1alpha1.ControlPlaneSpec{Hosts: []v1alpha1.ControlPlaneHost{{Name: "edge", Addresses: []string{"10.1.10.5"}}}},
	}}
	w.create(c)
	c.Status = v1alpha1.ClusterPKIStatus{
		ObservedGeneration: c.Generation, Hosts: new(int32(1)), HostsBehind: new(int32(1)), AttentionCount: new(int32(2)),
		Conditions: []metav1.Condition{{
			Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued, LastTransitionTime: metav1.Now(),
		}},
		Attention: []v1alpha1.ClusterAttention{{Host: "edge", Reason: v1alpha1.ReasonLeaseExpired, Edit: "start the agent there"}},
	}
	if err := w.api.Status().Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	out, err := w.run("status")
	if err != nil || !strings.HasPrefix(out, "CLUSTER ") || strings.Index(out, "ClusterPKI/edge") > strings.Index(out, "ClusterCA/k8s") ||
		!strings.Contains(out, "LeaseExpired of edge, and 1 more") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = w.run("status", "cpki/edge")
	if err != nil || strings.Contains(out, "ClusterCA/") || !strings.Contains(out, "edge LeaseExpired: start the agent there") ||
		!strings.Contains(out, "HOST ") {
		t.Errorf("%v\n%s", err, out)
	}
	var r status.Report
	out, err = w.run("status", "clusterpki/edge", "-o", "json")
	if err != nil || json.Unmarshal([]byte(out), &r) != nil || len(r.ClusterPKIs) != 1 || len(r.ClusterPKIs[0].Hosts) != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestRefusedFlags refuses a flag that does nothing.
func TestRefusedFlags(t *testing.T) {
	for args, want := range map[string]string{
		"status -A -n x":             "--all-namespaces and --namespace say two things",
		"backup -A -n x --out -":     "--all-namespaces and --namespace say two things",
		"dashboard -A -n x":          "--all-namespaces and --namespace say two things",
		"rotate k8s --timeout 1s":    "use it with --watch",
		"rotate k8s --force":         "--force is of --apply",
		"status nodecred/node1":      "nodecred/node1 is neither a ClusterPKI nor a ClusterCA: look at it with inspect",
		"status cpki/gone":           `there is no ClusterPKI "gone"`,
		"inspect cpki/k8s":           "look at it with status cpki/k8s",
		"inspect ca/k8s":             `there is no kind "ca"; there is clusterca, serviceaccountkey, apiservercertificate, nodecredential, secret`,
		"rotate k8s --watch -o json": "--watch is for people",
	} {
		c := start(t, append(strings.Fields(args), "--kubeconfig", adminKubeconfig(t, cfg.Host))...)
		if err := c.end(); ExitCode(err) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\n%s", args, err, c.out.String())
		}
	}
}
