package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/metrics"
	"clusterpki.io/operator/internal/probe"
	"clusterpki.io/operator/test/golden"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(hours int) metav1.Time { return metav1.NewTime(start.Add(time.Duration(hours) * time.Hour)) }

// objects are a CA in the middle of a rotation, a service account key that tokens keep, an API server, a credential that an agent delivers, and one that
// nothing was issued for.
func objects() []client.Object {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "prod", Name: name, UID: types.UID(name), Generation: 2}
	}
	cert := v1alpha1.CertificateStatus{NotBefore: at(0), NotAfter: at(100), RenewalTime: at(66), SHA256Fingerprint: "ours"}
	ready := metav1.Condition{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Issued"}
	ca := &v1alpha1.ClusterCA{ObjectMeta: meta("k8s")}
	ca.Spec.Rotation.ProgressDeadline.Duration = 72 * time.Hour
	ca.Status = v1alpha1.ClusterCAStatus{
		ObservedGeneration: 2, Certificate: cert, Revision: 1, Conditions: []metav1.Condition{ready},
		Trust: v1alpha1.TrustStatus{BundleRevision: 2},
		Generations: []v1alpha1.GenerationStatus{
			{Number: 1, State: v1alpha1.GenerationActive, NotAfter: at(100)},
			{Number: 2, State: v1alpha1.GenerationTrusted, NotAfter: at(200)},
		},
		Rotation: v1alpha1.RotationStatus{
			Phase: v1alpha1.PhaseDistributingTrust, Reason: v1alpha1.RotationSpecChanged, From: 1, To: 2, StartTime: at(1),
			Phases: []v1alpha1.PhaseStatus{
				{Name: v1alpha1.PhaseDistributingTrust, State: v1alpha1.PhaseActive, StartTime: at(2)},
				{Name: v1alpha1.PhaseReissuing, State: v1alpha1.PhasePending}, {Name: v1alpha1.PhaseWithdrawingTrust, State: v1alpha1.PhasePending},
			},
			Acknowledged: new(int32(3)), Assumed: new(int32(2)), Required: new(int32(15)), PendingCount: new(int32(10)),
		},
	}
	key := &v1alpha1.ServiceAccountKey{ObjectMeta: meta("k8s-sa")}
	key.Status = v1alpha1.ServiceAccountKeyStatus{
		ObservedGeneration: 2,
		Conditions:         []metav1.Condition{ready, {Type: "KeyRemovalDue", Status: metav1.ConditionTrue, Reason: "TokensLeft"}},
	}
	server := &v1alpha1.APIServerCertificate{ObjectMeta: meta("k8s-master")}
	server.Status = v1alpha1.APIServerCertificateStatus{
		ObservedGeneration: 2, Certificate: cert, Revision: 4,
		Conditions: []metav1.Condition{
			ready, {Type: "Serving", Status: metav1.ConditionFalse, Reason: "WrongCertificate"},
			{Type: "Mine", Status: metav1.ConditionTrue, Reason: "ByMe"}, {Type: "IssuerReady", Status: metav1.ConditionTrue, Reason: "ByMe"},
		},
	}
	credential := &v1alpha1.NodeCredential{ObjectMeta: meta("node1")}
	credential.Status = v1alpha1.NodeCredentialStatus{ObservedGeneration: 1, Certificate: cert, Revision: 1, Conditions: []metav1.Condition{ready}}
	credential.Status.Certificate.RenewalTime = metav1.Time{} // it ends with its CA
	waiting := &v1alpha1.NodeCredential{ObjectMeta: meta("node2")}
	waiting.Status = v1alpha1.NodeCredentialStatus{
		ObservedGeneration: 2, Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionUnknown, Reason: "Retrying"}},
	}
	credential.Spec.HostName = "k8s-node1"
	lease := leaseOf("node1-tls", "node1", "k8s-node1", at(5).Time)
	foreign := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "foreign"}}
	cluster := &v1alpha1.ClusterPKI{ObjectMeta: meta("prod")}
	cluster.Status = v1alpha1.ClusterPKIStatus{
		ObservedGeneration: 2, Hosts: new(int32(54)), HostsBehind: new(int32(3)), AttentionCount: new(int32(2)), NextExpiry: at(100),
		Conditions: []metav1.Condition{ready, {Type: "RemovalPending", Status: metav1.ConditionTrue, Reason: "ConfirmationRequired"}},
	}
	fresh := &v1alpha1.ClusterPKI{ObjectMeta: meta("new")}
	fresh.Status.ObservedGeneration = 2
	return []client.Object{cluster, fresh, ca, key, server, credential, waiting, lease, foreign}
}

// leaseOf is a Lease that was made for an object, and that the agent of a host has renewed.
func leaseOf(name, uid, holder string, renewed time.Time) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "prod", Name: name, Annotations: map[string]string{v1alpha1.ClaimAnnotation: fmt.Sprintf(`seal {"uid":%q}`, uid)},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: new(int32(900)), RenewTime: &metav1.MicroTime{Time: renewed}},
	}
}

// told is when the metrics are asked for.
var told = clocktesting.NewFakePassiveClock(at(5).Time)

func looked() []probe.Result {
	key := probe.Key{Namespace: "prod", Name: "k8s-master"}
	return []probe.Result{
		{Key: key, Address: "10.1.10.238:6443", At: at(9).Time, LeafSHA256: "ours"},
		{Key: key, Address: "10.1.10.239:6443", At: at(8).Time, Problem: "connection refused"},
		{Key: key, Address: "10.1.10.240:6443", At: at(8).Time, LeafSHA256: "another", Problem: "it names no client CA"},
	}
}

func yes() bool { return true }

func scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	return s
}

func gather(t testing.TB, g prometheus.Gatherer) []byte {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// TestExposition compares all that is told of known objects with a file, and follows Prometheus' own rules of naming.
func TestExposition(t *testing.T) {
	cache := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects()...).Build()
	counts := metrics.NewCounts(map[string][]string{"NodeCredential": {"SecretMissing", "RenewalDue"}})
	counts.Issued("NodeCredential", "RenewalDue")
	counts.Attempted(nil)
	counts.Attempted(errors.New("connection refused"))
	counts.Attempted(nil)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewObjects(cache, looked, yes, told, unproved), counts)
	golden.Check(t, "testdata/metrics.txt", gather(t, registry))
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// TestForged tells the same although others wrote Leases, or words into a status, that the operator never does.
func TestForged(t *testing.T) {
	all := append(objects(),
		leaseOf("second", "node1", "k8s-node1", at(5).Time), leaseOf("node2-tls", "before", "", at(5).Time), leaseOf("label", "label", "", at(5).Time))
	for _, o := range all {
		if ca, ok := o.(*v1alpha1.ClusterCA); ok {
			other := ca.DeepCopy()
			ca.Status.Generations[1].State = "Forged"
			ca.Status.Rotation.Phases[1].Name = "Forged"
			other.Name, other.Status.Rotation.Phase = "other", "Forged"
			all = append(all, other)
		}
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewObjects(fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(all...).Build(), looked, yes, told, unproved))
	got := gather(t, registry)
	if bytes.Contains(got, []byte("Forged")) {
		t.Errorf("it repeats what others wrote:\n%s", got)
	}
	const report = "\nclusterpki_agent_report_timestamp_seconds{"
	if !bytes.Contains(got, []byte(report+`kind="NodeCredential",name="node1",namespace="prod"} 1.7672436e+09`)) || bytes.Count(got, []byte(report)) != 1 {
		t.Errorf("it tells of other agents than that of node1:\n%s", got)
	}
}

// unproved takes the words of whoever wrote a Lease.
func unproved(_ v1alpha1.Object, l *coordinationv1.Lease) (consumers.Reported, bool) {
	return consumers.Reported{Lease: l}, true
}

// TestAgentReports: an agent was last heard of when it last renewed its Lease in a way that a rotation can count.
func TestAgentReports(t *testing.T) {
	for name, c := range map[string]struct {
		holder  string
		renewed time.Time
		want    float64 // 0: nothing is told
	}{
		"now":                         {"k8s-node1", at(5).Time, 1.7672436e+09},
		"its Lease has expired since": {"k8s-node1", at(1).Time, 1.7672292e+09},
		"the agent of another host":   {"k8s-node2", at(5).Time, 0},
		"nobody holds it":             {"", at(5).Time, 0},
		"a clock that is ahead":       {"k8s-node1", at(6).Time, 0},
	} {
		t.Run(name, func(t *testing.T) {
			all := slices.DeleteFunc(objects(), func(o client.Object) bool { return o.GetName() == "node1-tls" })
			all = append(all, leaseOf("node1-tls", "node1", c.holder, c.renewed))
			registry := prometheus.NewPedanticRegistry()
			registry.MustRegister(metrics.NewObjects(fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(all...).Build(), looked, yes, told, unproved))
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			var got float64
			for _, f := range families {
				if f.GetName() == "clusterpki_agent_report_timestamp_seconds" {
					got = f.GetMetric()[0].GetGauge().GetValue()
				}
			}
			if got != c.want {
				t.Errorf("it is told as %v", got)
			}
		})
	}
}

// TestNothingStaysBehind forgets what is told of an object with the object.
func TestNothingStaysBehind(t *testing.T) {
	cache := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects()...).Build()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewObjects(cache, func() []probe.Result { return nil }, yes, told, unproved))
	for _, o := range objects() {
		if err := cache.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if got := gather(t, registry); !bytes.HasSuffix(got, []byte("\nclusterpki_leader 1\n")) || bytes.Count(got, []byte("\n")) != 3 {
		t.Errorf("it still says\n%s", got)
	}
}

// TestStandby tells of no object on a replica that another one works for.
func TestStandby(t *testing.T) {
	cache := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects()...).Build()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewObjects(cache, looked, func() bool { return false }, told, unproved))
	if got := gather(t, registry); !bytes.HasSuffix(got, []byte("\nclusterpki_leader 0\n")) || bytes.Count(got, []byte("\n")) != 3 {
		t.Errorf("it says\n%s", got)
	}
}

// TestUnreadable fails the scrape, rather than telling of no objects, where they cannot be read.
func TestUnreadable(t *testing.T) {
	broken := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme(t)).Build(), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("the cache is gone")
		},
	})
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewObjects(broken, looked, yes, told, unproved))
	if _, err := registry.Gather(); err == nil || !strings.Contains(err.Error(), "the cache is gone") {
		t.Errorf("it says %v", err)
	}
}

// TestNilCounts counts nothing where nobody asks for metrics.
func TestNilCounts(*testing.T) {
	var none *metrics.Counts
	none.Issued("ClusterCA", "SecretMissing")
	none.Attempted(nil)
}

// TestBuildInfo says which Go built it, in a form that Prometheus likes.
func TestBuildInfo(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewBuildInfo())
	if got := string(gather(t, registry)); !strings.Contains(got, `clusterpki_build_info{go_version="go1.`) {
		t.Errorf("it says\n%s", got)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
