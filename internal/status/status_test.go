package status_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func after(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(d)) }

func condition(kind string, s metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: s, Reason: reason, Message: message}
}

func ready() []metav1.Condition {
	return []metav1.Condition{condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")}
}

func certificate(generation int32, start, renewal, end time.Duration) v1alpha1.CertificateStatus {
	return v1alpha1.CertificateStatus{IssuerGeneration: generation, NotBefore: after(start), RenewalTime: after(renewal), NotAfter: after(end)}
}

func ca(name string, mods ...func(*v1alpha1.ClusterCA)) v1alpha1.ClusterCA {
	c := v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name}}
	c.Status.Conditions = ready()
	c.Status.Certificate = certificate(1, -day, 2919*day, 3649*day)
	for _, m := range mods {
		m(&c)
	}
	return c
}

func server(name, by string, mods ...func(*v1alpha1.APIServerCertificate)) v1alpha1.APIServerCertificate {
	c := v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name}}
	c.Spec.CARef.Name, c.Spec.HostName = by, name
	c.Status.Conditions = ready()
	c.Status.Certificate = certificate(1, -day, 242*day, 364*day)
	for _, m := range mods {
		m(&c)
	}
	return c
}

func credential(name, by string, role v1alpha1.Role, mods ...func(*v1alpha1.NodeCredential)) v1alpha1.NodeCredential {
	c := v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name}}
	c.Spec.CARef.Name, c.Spec.Role, c.Spec.HostName = by, role, "k8s-node1"
	c.Status.Conditions = ready()
	c.Status.Certificate = certificate(1, -day, 242*day, 364*day)
	for _, m := range mods {
		m(&c)
	}
	return c
}

func parent(name string) func(*v1alpha1.ClusterCA) {
	return func(c *v1alpha1.ClusterCA) {
		c.Spec.Source = &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: v1alpha1.CAReference{Name: name}}}
	}
}

func withKubeconfig(server string) func(*v1alpha1.NodeCredential) {
	return func(c *v1alpha1.NodeCredential) {
		c.Spec.APIServerRef, c.Spec.Kubeconfig = &v1alpha1.APIServerReference{Name: server}, &v1alpha1.KubeconfigSpec{}
	}
}

func reissuing(c *v1alpha1.ClusterCA) {
	c.Status.Certificate.IssuerGeneration = 2
	c.Status.Trust = v1alpha1.TrustStatus{ConfigMapName: "k8s-trust", BundleRevision: 3, BundleSHA256: strings.Repeat("5e", 32)}
	c.Status.Generations = []v1alpha1.GenerationStatus{
		{Number: 1, State: v1alpha1.GenerationRetiring, SHA256Fingerprint: strings.Repeat("0a", 32), NotAfter: after(3649 * day)},
		{Number: 2, State: v1alpha1.GenerationActive, SHA256Fingerprint: strings.Repeat("4e", 32), NotAfter: after(3650 * day)},
	}
	switched := after(-12*time.Minute - 5*time.Second)
	c.Status.Rotation = v1alpha1.RotationStatus{
		Phase: v1alpha1.PhaseReissuing, Reason: v1alpha1.RotationSpecChanged, From: 1, To: 2, StartTime: after(-25 * time.Minute),
		Phases: []v1alpha1.PhaseStatus{
			{Name: v1alpha1.PhaseDistributingTrust, State: v1alpha1.PhaseDone, StartTime: after(-25 * time.Minute), EndTime: switched},
			{Name: v1alpha1.PhaseReissuing, State: v1alpha1.PhaseActive, StartTime: switched},
			{Name: v1alpha1.PhaseWithdrawingTrust, State: v1alpha1.PhasePending},
		},
		Acknowledged: new(int32(1)), Required: new(int32(2)), PendingCount: new(int32(1)),
		Pending: []v1alpha1.PendingConsumer{{
			Kind: "NodeCredential", Name: "node1-proxy", Host: "k8s-node1", Reason: v1alpha1.ReasonLeaseExpired, Edit: "start its agent",
		}},
	}
}

// TestText has whole outputs.
func TestText(t *testing.T) {
	for name, c := range map[string]struct {
		objects status.Objects
		ca      string
		style   status.Style
		want    string
	}{
		"nothing": {want: "There is no ClusterCA.\n"},
		"a cluster": {
			objects: status.Objects{
				CAs: []v1alpha1.ClusterCA{ca("k8s"), ca("kubelets", parent("k8s")), ca("front-proxy")},
				Servers: []v1alpha1.APIServerCertificate{server("k8s-master", "k8s", func(c *v1alpha1.APIServerCertificate) {
					c.Spec.ClientCARefs = []v1alpha1.CAReference{{Name: "k8s"}, {Name: "kubelets"}}
					c.Spec.RequestHeaderCARef = &v1alpha1.CAReference{Name: "front-proxy"}
				})},
				Credentials: []v1alpha1.NodeCredential{
					credential("node1-kubelet", "kubelets", "Kubelet", withKubeconfig("k8s-master")),
					credential("node1-proxy", "k8s", "KubeProxy", withKubeconfig("k8s-master")),
				},
			},
			want: `
NAME                                STATE  IDENTITY                        EXPIRES     IN       RENEWS      BY
ClusterCA/front-proxy               Ready  generation 1 signs              2036-11-19  9y 364d  2034-11-20
└─ trusted by APIServerCertificate/k8s-master for its aggregation layer

ClusterCA/k8s                       Ready  generation 1 signs              2036-11-19  9y 364d  2034-11-20
├─ ClusterCA/kubelets               Ready  generation 1 signs              2036-11-19  9y 364d  2034-11-20
│  ├─ NodeCredential/node1-kubelet  Ready  system:node:k8s-node1           2027-11-22  364d     2027-07-23  g1
│  └─ trusted by APIServerCertificate/k8s-master for its clients
├─ APIServerCertificate/k8s-master  Ready  k8s-master                      2027-11-22  364d     2027-07-23  g1
├─ NodeCredential/node1-proxy       Ready  system:kube-proxy on k8s-node1  2027-11-22  364d     2027-07-23  g1
└─ trusted by 1 kubeconfig for APIServerCertificate/k8s-master
`,
		},
		"a rotation, and problems": {
			ca: "k8s",
			objects: status.Objects{
				CAs: []v1alpha1.ClusterCA{ca("k8s", reissuing, func(c *v1alpha1.ClusterCA) {
					c.Status.Conditions = append(c.Status.Conditions, condition(v1alpha1.RotationBlockedCondition, metav1.ConditionTrue, "Reissuing",
						"the phase has waited for longer than spec.rotation.progressDeadline"))
				}), ca("other")},
				Credentials: []v1alpha1.NodeCredential{
					credential("node1-kubelet", "k8s", "Kubelet", func(c *v1alpha1.NodeCredential) { c.Status.Certificate.IssuerGeneration = 2 }),
					credential("node1-proxy", "k8s", "KubeProxy"),
					credential("node1-new", "k8s", "Host", func(c *v1alpha1.NodeCredential) {
						c.Status = v1alpha1.NodeCredentialStatus{Conditions: []metav1.Condition{
							condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict, "Secret \"x\" is not the operator's"),
							condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict, "Secret \"x\" is not the operator's"),
						}}
					}),
				},
			},
			style: status.Style{Width: 100},
			want: `
NAME                             STATE           IDENTITY                        EXPIRES     IN       RENEWS      BY
ClusterCA/k8s                    Ready           generation 2 signs              2036-11-19  9y 364d  2034-11-20
│  Reissuing, generation 1 → 2 (SpecChanged): 1/2 acknowledged, for 12m 5s, begun 25m ago
│  its end is not known: the lease of NodeCredential/node1-proxy has expired
│  waits for NodeCredential/node1-proxy on k8s-node1 (LeaseExpired)
│  NodeCredential/node1-proxy: start its agent
│  the trust bundle is 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e
├─ generation 1                  Retiring        SHA-256 0a0a0a0a0a0a0a0a…       2036-11-19  9y 364d
├─ generation 2                  Active          SHA-256 4e4e4e4e4e4e4e4e…       2036-11-20  10y
├─ NodeCredential/node1-kubelet  Ready           system:node:k8s-node1           2027-11-22  364d     2027-07-23  g2
├─ NodeCredential/node1-new      SecretConflict  k8s-node1
└─ NodeCredential/node1-proxy    Ready           system:kube-proxy on k8s-node1  2027-11-22  364d     2027-07-23  g1, old, waited for

2 errors, 0 warnings:
  error  ClusterCA/k8s RotationBlocked: the phase has waited for longer than
    spec.rotation.progressDeadline
  error  NodeCredential/node1-new Stalled: Secret "x" is not the operator's
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := status.Build(now, c.objects, c.ca).Text(c.style)
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), got); diff != "" {
				t.Error(diff, "\n", got)
			}
		})
	}
}

// TestProblems says what is an error, what is a warning, and what is neither.
func TestProblems(t *testing.T) {
	with := func(more ...metav1.Condition) func(*v1alpha1.ClusterCA) {
		return func(c *v1alpha1.ClusterCA) { c.Status.Conditions = append(c.Status.Conditions, more...) }
	}
	dates := func(start, renewal, end time.Duration) func(*v1alpha1.ClusterCA) {
		return func(c *v1alpha1.ClusterCA) { c.Status.Certificate = certificate(1, start, renewal, end) }
	}
	capped := func(start, end time.Duration) func(*v1alpha1.ClusterCA) {
		return func(c *v1alpha1.ClusterCA) {
			c.Status.Certificate = v1alpha1.CertificateStatus{NotBefore: after(start), NotAfter: after(end)}
		}
	}
	for name, c := range map[string]struct {
		mods []func(*v1alpha1.ClusterCA)
		want []string // severity reason, state
	}{
		"well":                  {nil, []string{"Ready"}},
		"expired":               {[]func(*v1alpha1.ClusterCA){dates(-100*day, -30*day, 0)}, []string{"Expired", "error Expired"}},
		"a second before":       {[]func(*v1alpha1.ClusterCA){capped(-day, time.Second)}, []string{"Ready", "warning Expiring"}},
		"due":                   {[]func(*v1alpha1.ClusterCA){dates(-10*day, -day, 3*day)}, []string{"Ready"}},
		"overdue":               {[]func(*v1alpha1.ClusterCA){dates(-10*day, -day-time.Second, 3*day)}, []string{"Ready", "error Overdue"}},
		"due and being rotated": {[]func(*v1alpha1.ClusterCA){dates(-10*day, -2*day, 3*day), func(c *v1alpha1.ClusterCA) { c.Status.Rotation.Phase = "Reissuing" }}, []string{"Ready"}},
		"ends with its CA":      {[]func(*v1alpha1.ClusterCA){capped(-8*day, 2*day)}, []string{"Ready"}},
		"ends with its CA soon": {[]func(*v1alpha1.ClusterCA){capped(-8*day-time.Second, 2*day)}, []string{"Ready", "warning Expiring"}},
		"never looked at":       {[]func(*v1alpha1.ClusterCA){func(c *v1alpha1.ClusterCA) { c.Status = v1alpha1.ClusterCAStatus{ObservedGeneration: -1} }}, []string{"Unknown", "error Unknown"}},
		"an older spec":         {[]func(*v1alpha1.ClusterCA){func(c *v1alpha1.ClusterCA) { c.Generation = 1 }}, []string{"Outdated", "error Outdated"}},
		"not Ready": {[]func(*v1alpha1.ClusterCA){func(c *v1alpha1.ClusterCA) {
			c.Status.Conditions[0] = condition("Ready", metav1.ConditionFalse, "IssuerNotFound", "")
		}}, []string{"IssuerNotFound", "error NotReady"}},
		"stalled and usable":    {[]func(*v1alpha1.ClusterCA){with(condition("Stalled", metav1.ConditionTrue, "InvalidSpec", ""))}, []string{"InvalidSpec", "error Stalled"}},
		"emergency":             {[]func(*v1alpha1.ClusterCA){with(condition("RedeliveryRequired", metav1.ConditionTrue, "Emergency", ""))}, []string{"Ready", "error RedeliveryRequired"}},
		"retrying":              {[]func(*v1alpha1.ClusterCA){with(condition("Reconciling", metav1.ConditionTrue, "Retrying", ""))}, []string{"Ready", "warning Reconciling"}},
		"import due":            {[]func(*v1alpha1.ClusterCA){with(condition("RotationPending", metav1.ConditionTrue, "RenewalDue", ""))}, []string{"Ready", "warning RotationPending"}},
		"a withdrawal waits":    {[]func(*v1alpha1.ClusterCA){with(condition("WithdrawalPending", metav1.ConditionTrue, "Assumed", ""))}, []string{"Ready", "warning WithdrawalPending"}},
		"observed as expected":  {[]func(*v1alpha1.ClusterCA){with(condition("Serving", metav1.ConditionTrue, "AsExpected", ""))}, []string{"Ready"}},
		"an agent reports":      {[]func(*v1alpha1.ClusterCA){with(condition("TrustAcknowledged", metav1.ConditionTrue, "InUse", ""))}, []string{"Ready"}},
		"the Lease has expired": {[]func(*v1alpha1.ClusterCA){with(condition("TrustAcknowledged", metav1.ConditionFalse, "LeaseExpired", ""))}, []string{"Ready", "warning LeaseExpired"}},
		"another is observed":   {[]func(*v1alpha1.ClusterCA){with(condition("Serving", metav1.ConditionFalse, "WrongCertificate", ""))}, []string{"Ready", "warning NotServing"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := status.Build(now, status.Objects{CAs: []v1alpha1.ClusterCA{ca("k8s", c.mods...)}}, "")
			got := []string{r.ClusterCAs[0].State.State}
			errs := 0
			for _, p := range r.Problems {
				got = append(got, string(p.Severity)+" "+p.Reason)
				if p.Severity == status.Error {
					errs++
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" || errs != r.Errors() {
				t.Error(diff, r.Errors())
			}
		})
	}
}

// TestTrees has what is no tree, or in several namespaces.
func TestTrees(t *testing.T) {
	elsewhere := credential("node1", "k8s", "Kubelet")
	elsewhere.Namespace = "test"
	r := status.Build(now, status.Objects{
		CAs:         []v1alpha1.ClusterCA{ca("a", parent("b")), ca("b", parent("a")), ca("c", parent("gone")), ca("k8s")},
		Credentials: []v1alpha1.NodeCredential{elsewhere},
	}, "")
	var got []string
	var walk func(string, []status.Authority)
	walk = func(indent string, list []status.Authority) {
		for _, a := range list {
			got = append(got, fmt.Sprintf("%s%s/%s %s %d", indent, a.Namespace, a.Name, a.State.State, len(a.Certificates)))
			walk(indent+" ", a.ClusterCAs)
		}
	}
	walk("", r.ClusterCAs)
	want := []string{"prod/a Ready 0", " prod/b Ready 0", "prod/gone NotFound 0", " prod/c Ready 0", "prod/k8s Ready 0", "test/k8s NotFound 1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if text := r.Text(status.Style{Namespaces: true}); !strings.Contains(text, "ClusterCA/k8s in test") || strings.Contains(text, "\x1b") {
		t.Error(text)
	}
	if text := r.Text(status.Style{Color: true}); !strings.Contains(text, "\x1b[31mNotFound\x1b[0m") {
		t.Errorf("%q", text)
	}
}

// TestJSON holds the names of fields that programs read.
func TestJSON(t *testing.T) {
	text, err := json.Marshal(status.Build(now, status.Objects{
		CAs:         []v1alpha1.ClusterCA{ca("k8s", reissuing)},
		Credentials: []v1alpha1.NodeCredential{credential("node1-proxy", "k8s", "KubeProxy")},
	}, ""))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"cli.clusterpki.io/v1alpha1","kind":"StatusReport","time":"2026-11-23T12:00:00Z","clusterPKIs":[],"clusterCAs":[{"namespace":"prod","name":"k8s","ready":true,"state":"Ready",` +
		`"notAfter":"2036-11-19T12:00:00Z","renewalTime":"2034-11-20T12:00:00Z","generation":2,"generations":[` +
		`{"number":1,"state":"Retiring","sha256Fingerprint":"` + strings.Repeat("0a", 32) + `","notAfter":"2036-11-19T12:00:00Z"},` +
		`{"number":2,"state":"Active","sha256Fingerprint":"` + strings.Repeat("4e", 32) + `","notAfter":"2036-11-20T12:00:00Z"}],` +
		`"rotation":{"phase":"Reissuing","reason":"SpecChanged","from":1,"to":2,"startTime":"2026-11-23T11:35:00Z","phases":[` +
		`{"name":"DistributingTrust","state":"Done","startTime":"2026-11-23T11:35:00Z","endTime":"2026-11-23T11:47:55Z"},` +
		`{"name":"Reissuing","state":"Active","startTime":"2026-11-23T11:47:55Z"},{"name":"WithdrawingTrust","state":"Pending"}],` +
		`"acknowledged":1,"required":2,"pendingCount":1,` +
		`"pending":[{"kind":"NodeCredential","name":"node1-proxy","host":"k8s-node1","reason":"LeaseExpired","edit":"start its agent"}],` +
		`"expectedUnknown":"the lease of NodeCredential/node1-proxy has expired"},` +
		`"trust":{"configMapName":"k8s-trust","bundleRevision":3,"bundleSHA256":"` + strings.Repeat("5e", 32) + `"},` +
		`"certificates":[{"kind":"NodeCredential","name":"node1-proxy","ready":true,"state":"Ready","notAfter":"2027-11-22T12:00:00Z",` +
		`"renewalTime":"2027-07-23T12:00:00Z","host":"k8s-node1","identity":"system:kube-proxy","issuerGeneration":1,"oldGeneration":true,` +
		`"pending":true}]}],"serviceAccountKeys":[],"problems":[]}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
}

func TestHumanDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 59*time.Second + 900*time.Millisecond: "59s", time.Minute: "1m", 725 * time.Second: "12m 5s", time.Hour: "1h", 25 * time.Hour: "1d 1h",
		10*day - time.Second: "9d 23h", 10 * day: "10d", 365*day - time.Second: "364d", 365 * day: "1y", 3649 * day: "9y 364d",
	} {
		if got := status.HumanDuration(d); got != want {
			t.Errorf("%v is %q instead of %q", d, got, want)
		}
	}
	if got := status.Until(now, now.Add(-time.Hour)) + ", " + status.Until(now, now.Add(time.Hour)); got != "1h ago, in 1h" {
		t.Error(got)
	}
}

// TestShortLived shows the time of day where the day says too little.
func TestShortLived(t *testing.T) {
	r := status.Build(now, status.Objects{CAs: []v1alpha1.ClusterCA{ca("k8s", func(c *v1alpha1.ClusterCA) {
		c.Status.Certificate = certificate(1, -day, 4*time.Hour, day)
	})}}, "")
	if text := r.Text(status.Style{}); !strings.Contains(text, "2026-11-24 12:00  1d  2026-11-23 16:00") {
		t.Error(text)
	}
}
