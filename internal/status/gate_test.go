package status_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
)

func gated(phase string, acknowledged, required int32, pending ...string) func(*v1alpha1.ClusterCA) {
	return func(c *v1alpha1.ClusterCA) {
		reissuing(c)
		c.Status.Rotation.Phase = phase
		c.Status.Rotation.Gates = []v1alpha1.GateStatus{{Name: phase, Acknowledged: &acknowledged, Required: &required, Pending: pending}}
	}
}

func on(host string) func(*v1alpha1.NodeCredential) {
	return func(c *v1alpha1.NodeCredential) { c.Spec.HostName = host }
}

// TestGate says who is asked in each phase, and what is known of the answers.
func TestGate(t *testing.T) {
	objects := status.Objects{
		Servers: []v1alpha1.APIServerCertificate{server("master", "k8s"), server("other", "other", func(c *v1alpha1.APIServerCertificate) {
			c.Spec.ClientCARefs = []v1alpha1.CAReference{{Name: "k8s"}}
		})},
		Credentials: []v1alpha1.NodeCredential{credential("kubelet", "k8s", "Kubelet", on("node1")), credential("proxy", "k8s", "KubeProxy", on("node2"))},
	}
	for name, c := range map[string]struct {
		ca   func(*v1alpha1.ClusterCA)
		want []string
	}{
		"trust: whoever verifies with it": {
			gated("DistributingTrust", 3, 4, "NodeCredential/kubelet (AgentSilent)"),
			[]string{"NodeCredential/kubelet node1 Waiting AgentSilent", "APIServerCertificate/master master Acknowledged", "APIServerCertificate/other other Acknowledged", "NodeCredential/proxy node2 Acknowledged"},
		},
		"certificates: whoever has one": {
			gated("Reissuing", 2, 3, "APIServerCertificate/master"),
			[]string{"APIServerCertificate/master master Waiting", "NodeCredential/kubelet node1 Acknowledged", "NodeCredential/proxy node2 Acknowledged"},
		},
		"what comes after the tenth name is not known": {
			gated("Reissuing", 1, 13, "APIServerCertificate/a", "NodeCredential/kubelet (NotInUse)", "and 10 more"),
			[]string{"APIServerCertificate/a Waiting", "NodeCredential/kubelet node1 Waiting NotInUse", "NodeCredential/proxy node2 Unknown", "APIServerCertificate/master master Acknowledged"},
		},
		"what no spec names is named all the same": {
			gated("WithdrawingTrust", 4, 5, "Secret/old (no object names it any more)", "consumers that may not be there yet"),
			[]string{"/consumers that may not be there yet Waiting", "Secret/old Waiting no object names it any more", "APIServerCertificate/master master Acknowledged", "APIServerCertificate/other other Acknowledged", "NodeCredential/kubelet node1 Acknowledged", "NodeCredential/proxy node2 Acknowledged"},
		},
		"not counted yet": {
			func(c *v1alpha1.ClusterCA) { reissuing(c); c.Status.Rotation.Gates = nil },
			[]string{"APIServerCertificate/master master Unknown", "NodeCredential/kubelet node1 Unknown", "NodeCredential/proxy node2 Unknown"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			subject := ca("k8s", c.ca)
			all := objects
			all.CAs = []v1alpha1.ClusterCA{subject, ca("other")}
			gate, ok := all.GateOf(&subject)
			if !ok {
				t.Fatal("there is no gate")
			}
			var got []string
			for _, a := range gate.Answers {
				line := a.Kind + "/" + a.Name
				for _, s := range []string{a.Host, string(a.State), a.Note} {
					if s != "" {
						line += " " + s
					}
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		})
	}
	steady := ca("k8s")
	if gate, ok := objects.GateOf(&steady); ok {
		t.Errorf("a CA that is not replaced has a gate: %v", gate)
	}
}
