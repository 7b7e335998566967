package rotate_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/rotate"
	"clusterpki.io/operator/internal/status"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func ready() []metav1.Condition {
	return []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued}}
}

func mounted(d time.Duration) v1alpha1.DeliverySpec {
	return v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryMounted, PropagationDelay: metav1.Duration{Duration: d}}
}

func newCA(mods ...func(*v1alpha1.ClusterCA)) *v1alpha1.ClusterCA {
	c := &v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s"}}
	c.Spec.Rotation = v1alpha1.RotationSpec{KeyPolicy: v1alpha1.KeyReplace, MaxUnavailable: new(intstr.FromString("25%"))}
	c.Status.Conditions = ready()
	c.Status.Certificate = v1alpha1.CertificateStatus{IssuerGeneration: 1, NotAfter: metav1.NewTime(now.Add(100 * 24 * time.Hour))}
	for _, m := range mods {
		m(c)
	}
	return c
}

// cluster is an API server, and credentials: one is carried by hand, and one is not Ready.
func cluster(ca *v1alpha1.ClusterCA, n int) status.Objects {
	s := v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s-master"}}
	s.Spec.CARef.Name, s.Spec.Delivery, s.Status.Conditions = "k8s", mounted(10*time.Minute), ready()
	s.Spec.Probe = &v1alpha1.ProbeSpec{}
	o := status.Objects{CAs: []v1alpha1.ClusterCA{*ca}, Servers: []v1alpha1.APIServerCertificate{s}}
	other := v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "of-another-ca"}} // and not Ready
	other.Spec.CARef.Name = "etcd"
	o.Credentials = append(o.Credentials, other)
	for i := range n {
		c := v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: fmt.Sprintf("node%d", i)}}
		c.Spec.CARef.Name, c.Spec.Delivery, c.Status.Conditions = "k8s", mounted(5*time.Minute), ready()
		switch i {
		case 0:
			c.Spec.Delivery.Mode = v1alpha1.DeliveryManual
		case 1:
			c.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: "SecretConflict", Message: "Secret is taken"}}
		}
		o.Credentials = append(o.Credentials, c)
	}
	return o
}

func TestPlan(t *testing.T) {
	ca := newCA()
	text, err := rotate.NewPlan(now, ca, cluster(ca, 7), "2026-11").Text(now, status.Style{}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := `ClusterCA/k8s in prod: generation 1 signs, until 2027-03-03 (in 100d)

To rotate it, change this one field, in Git if the object comes from there:

    apiVersion: clusterpki.io/v1alpha1
    kind: ClusterCA
    metadata:
      name: k8s
      namespace: prod
    spec:
      rotation:
        trigger: "2026-11"

or in the cluster, by this command with --apply, or by

    kubectl patch clusterca k8s -n prod --type=merge --field-manager=clusterpki-rotate -p '{"spec":{"rotation":{"trigger":"2026-11"}}}'

What happens then:

  1  DistributingTrust  a new key is made; both CAs are trusted, the old one signs
                        waits for 8 consumers, at least 10m
  2  Reissuing          the new CA signs, and every certificate is re-issued, 2 at a time
                        waits for 8 consumers, at least 20m
  3  WithdrawingTrust   the new CA is trusted alone, then the old key is deleted
                        waits for 8 consumers, at least 10m

It takes at least 40m.
It waits until delivery.acknowledged says what is in use at: NodeCredential/node0
It waits until the probe has observed the change at: APIServerCertificate/k8s-master
Before the old CA is withdrawn it stops, until a person accepts what is only assumed of NodeCredential/node1, NodeCredential/node2, NodeCredential/node3, NodeCredential/node4, NodeCredential/node5, NodeCredential/node6: by spec.rotation.approved.withdrawal when it comes to that, or by spec.delivery.acceptAssumed: Always of each.

warning  NodeCredential/node1 may hold it up: NotReady: SecretConflict: Secret is taken
`
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff, "\n", text)
	}
}

// TestPlans has the other ways to rotate a CA, and how long each takes at least.
func TestPlans(t *testing.T) {
	for name, c := range map[string]struct {
		mod     func(*v1alpha1.ClusterCA)
		none    bool
		phases  string
		least   time.Duration
		warning string
	}{
		"without consumers": {none: true, phases: "DistributingTrust Reissuing WithdrawingTrust", least: 3 * consumers.Settling},
		"emergency": {
			mod:    func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.EmergencyTrigger = "x" },
			phases: "WithdrawingTrust", least: 10 * time.Minute, warning: "distrusted at once",
		},
		"an emergency of before": {
			mod: func(c *v1alpha1.ClusterCA) {
				c.Spec.Rotation.Trigger, c.Spec.Rotation.EmergencyTrigger = "before", "before"
			},
			phases: "DistributingTrust Reissuing WithdrawingTrust", least: 30 * time.Minute,
		},
		"the same key": {
			mod:    func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.KeyPolicy = v1alpha1.KeyReuse },
			phases: "WithdrawingTrust", least: 10 * time.Minute,
		},
		"imported": {
			mod: func(c *v1alpha1.ClusterCA) {
				c.Spec.Source = &v1alpha1.CASource{Import: &v1alpha1.ImportSource{SecretRef: v1alpha1.SecretReference{Name: "corp"}}}
			},
			phases: "DistributingTrust Reissuing WithdrawingTrust", least: 30 * time.Minute, warning: `into Secret "corp"`,
		},
		"under way": {
			mod:    func(c *v1alpha1.ClusterCA) { c.Status.Rotation.Phase = "Reissuing" },
			phases: "DistributingTrust Reissuing WithdrawingTrust", least: 30 * time.Minute, warning: "is under way (Reissuing)",
		},
		"kept by Flux": {
			mod:    func(c *v1alpha1.ClusterCA) { c.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/name": "pki"} },
			phases: "DistributingTrust Reissuing WithdrawingTrust", least: 30 * time.Minute, warning: "Flux keeps this object",
		},
	} {
		t.Run(name, func(t *testing.T) {
			ca := newCA()
			if c.mod != nil {
				c.mod(ca)
			}
			o := cluster(ca, 1)
			if c.none {
				o = status.Objects{CAs: o.CAs}
			}
			p := rotate.NewPlan(now, ca, o, "x")
			var phases []string
			for _, phase := range p.Phases {
				phases = append(phases, string(phase.Phase))
			}
			if got := strings.Join(phases, " "); got != c.phases || p.Least != c.least {
				t.Errorf("%s, %s", got, p.Least)
			}
			if (c.warning == "") != (len(p.Warnings) == 0) || !strings.Contains(strings.Join(p.Warnings, "\n"), c.warning) {
				t.Errorf("the warnings are %q", p.Warnings)
			}
		})
	}
}

func TestPatch(t *testing.T) {
	text, err := rotate.Patch(`"it's"`, "7")
	if err != nil {
		t.Fatal(err)
	}
	var ca v1alpha1.ClusterCA
	if err := json.Unmarshal(text, &ca); err != nil || ca.Spec.Rotation.Trigger != `"it's"` || ca.ResourceVersion != "7" {
		t.Errorf("%v: %s", err, text)
	}
}
