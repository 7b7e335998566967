package dashboard

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(d)) }

func ready() []metav1.Condition {
	return []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued}}
}

func certificate(generation int32, start, renewal, end time.Duration) v1alpha1.CertificateStatus {
	return v1alpha1.CertificateStatus{IssuerGeneration: generation, NotBefore: after(start), RenewalTime: after(renewal), NotAfter: after(end)}
}

func ca(namespace, name string, mods ...func(*v1alpha1.ClusterCA)) v1alpha1.ClusterCA {
	c := v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	c.Status.Conditions = ready()
	c.Status.Certificate = certificate(1, -2*year, 6*year, 8*year)
	c.Status.Generations = []v1alpha1.GenerationStatus{{Number: 1, State: v1alpha1.GenerationActive, NotAfter: after(8 * year)}}
	for _, m := range mods {
		m(&c)
	}
	return c
}

func server(namespace, name, by string) v1alpha1.APIServerCertificate {
	c := v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	c.Spec.CARef.Name, c.Spec.HostName, c.Spec.Endpoint = by, name, "https://"+name+":6443"
	c.Status.Conditions, c.Status.Certificate = ready(), certificate(1, -day, 242*day, 364*day)
	return c
}

func credential(namespace, name, by string, role v1alpha1.Role) v1alpha1.NodeCredential {
	c := v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	c.Spec.CARef.Name, c.Spec.Role, c.Spec.HostName = by, role, "node1"
	c.Status.Conditions, c.Status.Certificate = ready(), certificate(1, -day, 240*day, 363*day)
	return c
}

// phase puts a CA into a phase of its rotation, which began 25 minutes ago; each phase took six minutes.
func phase(name v1alpha1.Phase, acknowledged, required int32, pending ...v1alpha1.PendingConsumer) func(*v1alpha1.ClusterCA) {
	return func(c *v1alpha1.ClusterCA) {
		states := []v1alpha1.GenerationState{v1alpha1.GenerationActive, v1alpha1.GenerationTrusted}
		switch name {
		case v1alpha1.PhaseReissuing:
			states = []v1alpha1.GenerationState{v1alpha1.GenerationRetiring, v1alpha1.GenerationActive}
		case v1alpha1.PhaseWithdrawingTrust:
			states = []v1alpha1.GenerationState{v1alpha1.GenerationWithdrawn, v1alpha1.GenerationActive}
		default:
		}
		if name != v1alpha1.PhaseDistributingTrust {
			c.Status.Certificate = certificate(2, -25*time.Minute, 8*year, 10*year)
		}
		c.Status.Generations = []v1alpha1.GenerationStatus{
			{Number: 1, State: states[0], NotAfter: after(8 * year)}, {Number: 2, State: states[1], NotAfter: after(10 * year)},
		}
		c.Status.Rotation = v1alpha1.RotationStatus{
			Phase: name, Reason: v1alpha1.RotationSpecChanged, From: 1, To: 2, StartTime: after(-25 * time.Minute), Phases: phases(name),
			Acknowledged: &acknowledged, Required: &required, PendingCount: new(required - acknowledged), Pending: pending,
		}
	}
}

// phases are all phases, where one is active.
func phases(active v1alpha1.Phase) []v1alpha1.PhaseStatus {
	var out []v1alpha1.PhaseStatus
	at, state := -25*time.Minute, v1alpha1.PhaseDone
	for _, name := range v1alpha1.Phases() {
		p := v1alpha1.PhaseStatus{Name: name, State: state}
		if state == v1alpha1.PhaseDone {
			p.StartTime, p.EndTime = after(at), after(at+6*time.Minute)
			at += 6 * time.Minute
		}
		if name == active {
			p.State, p.EndTime, state = v1alpha1.PhaseActive, metav1.Time{}, v1alpha1.PhasePending
		}
		out = append(out, p)
	}
	return out
}

// assumed is a rotation that waits for a person before the withdrawal.
func assumed(c *v1alpha1.ClusterCA) {
	c.Status.Rotation.ID, c.Status.Rotation.Assumed = "k8s/age.g2", new(int32(1))
	c.Status.Conditions = append(c.Status.Conditions, metav1.Condition{
		Type: v1alpha1.WithdrawalPendingCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAssumed,
	})
}

// over puts an end to the rotation of a CA.
func over(result v1alpha1.RotationResult, end time.Duration) func(*v1alpha1.ClusterCA) {
	return func(c *v1alpha1.ClusterCA) {
		r := c.Status.Rotation
		for i := range r.Phases {
			r.Phases[i].State = v1alpha1.PhaseDone
			if r.Phases[i].EndTime.IsZero() {
				r.Phases[i].EndTime = after(end)
			}
		}
		c.Status.LastRotation = v1alpha1.LastRotationStatus{
			From: r.From, To: r.To, Reason: r.Reason, Result: result, StartTime: r.StartTime, EndTime: after(end), Phases: r.Phases,
		}
		c.Status.Rotation = v1alpha1.RotationStatus{}
	}
}

// accountKey is a ServiceAccountKey; the one in prod is being rotated, and tokens keep an earlier key.
func accountKey(namespace string) v1alpha1.ServiceAccountKey {
	k := v1alpha1.ServiceAccountKey{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "k8s-sa", CreationTimestamp: after(-100 * day)}}
	k.Status.Conditions = ready()
	k.Status.Keys = []v1alpha1.KeyStatus{{Number: 2, State: v1alpha1.GenerationActive, Since: after(-90 * day)}}
	if namespace != "prod" {
		return k
	}
	k.Status.Keys = []v1alpha1.KeyStatus{
		{Number: 1, State: v1alpha1.GenerationRetiring, Since: after(-90 * day), RetainUntil: after(20 * day)}, k.Status.Keys[0],
		{Number: 3, State: v1alpha1.GenerationTrusted, Since: after(-time.Hour)},
	}
	k.Status.Rotation = v1alpha1.KeyRotationStatus{
		Phase: v1alpha1.KeyDistributingTrust, Reason: v1alpha1.RotationTriggerChanged, From: 2, To: 3, StartTime: after(-time.Hour),
	}
	k.Status.Acknowledged, k.Status.Required = new(int32(1)), new(int32(2))
	k.Status.Pending = []v1alpha1.PendingConsumer{{
		Kind: "APIServerCertificate", Name: "master2", Host: "master2", Reason: v1alpha1.ReasonLeaseExpired, Since: after(-time.Minute), Edit: "start its agent",
	}}
	k.Status.TokenSecrets, k.Status.RenewalTime = []string{"monitoring/prometheus-token"}, after(200*day)
	return k
}

// pkiOf is a ClusterPKI of three hosts, with what needs a person.
func pkiOf(namespace, name string, attention ...v1alpha1.ClusterAttention) v1alpha1.ClusterPKI {
	c := v1alpha1.ClusterPKI{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	c.Spec.Endpoint = "https://" + name + "." + namespace + ".example:6443"
	c.Status.Conditions, c.Status.NextExpiry = ready(), after(363*day)
	c.Status.Hosts, c.Status.HostsBehind = new(int32(3)), new(int32(len(attention)))
	c.Status.Attention, c.Status.AttentionCount = attention, new(int32(len(attention)))
	return c
}

// fixture is two clusters, one of them with rotations under way and an expired certificate, and service account keys without a cluster.
func fixture() status.Objects {
	expired := credential("staging", "old", "k8s", "KubeProxy")
	expired.Status.Certificate = certificate(1, -366*day, -122*day, -day)
	return status.Objects{
		Clusters: []v1alpha1.ClusterPKI{pkiOf("prod", "k8s", v1alpha1.ClusterAttention{
			Host: "node1", Object: "NodeCredential/node1-kubelet", Reason: v1alpha1.ReasonLeaseExpired, Since: after(-time.Hour), Edit: "start its agent",
		})},
		CAs: []v1alpha1.ClusterCA{
			ca("prod", "k8s", phase(v1alpha1.PhaseReissuing, 2, 3, v1alpha1.PendingConsumer{
				Kind: "NodeCredential", Name: "node1-kubelet", Host: "node1", Reason: "NotInUse", Since: after(-time.Minute), Edit: "restart the kubelet",
			})), ca("prod", "front-proxy"), ca("staging", "k8s", phase(v1alpha1.PhaseReissuing, 0, 1, v1alpha1.PendingConsumer{
				Kind: "APIServerCertificate", Name: "master", Reason: "Assumed", Since: after(-time.Hour), Edit: "approve it",
			}), assumed),
		},
		Keys:    []v1alpha1.ServiceAccountKey{accountKey("prod"), accountKey("staging"), accountKey("keys-alone")},
		Servers: []v1alpha1.APIServerCertificate{server("prod", "master", "k8s"), server("staging", "master", "k8s")},
		Credentials: []v1alpha1.NodeCredential{
			credential("prod", "node1-kubelet", "k8s", "Kubelet"), credential("prod", "node1-proxy", "k8s", "KubeProxy"), expired,
		},
	}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got); with -update it is written anew:\n%s", file, diff)
	}
}

// TestView has the whole view of a fixture, and the page that it makes.
func TestView(t *testing.T) {
	objects := fixture()
	v := Build(now, objects)
	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "view.yaml", text)
	var html bytes.Buffer
	if err := templates.ExecuteTemplate(&html, "live", v); err != nil {
		t.Fatal(err)
	}
	golden(t, "live.html", html.Bytes())
}

// TestHostile: what a person writes into an object stays text.
func TestHostile(t *testing.T) {
	objects := fixture()
	objects.CAs[0].Status.Rotation.Pending = []v1alpha1.PendingConsumer{{
		Kind: "NodeCredential", Name: `<script>alert(1)</script>`, Host: `"onload=x`, Reason: `"onload=x`, Edit: `<script>alert(1)</script>`,
	}}
	objects.Credentials[2].Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "False", Reason: "X", Message: `<img src=x onerror=alert(1)>`}}
	objects.Servers[0].Spec.Endpoint = `javascript:alert(1)`
	var html bytes.Buffer
	if err := templates.ExecuteTemplate(&html, "live", Build(now, objects)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<img", `href="javascript`, "style="} {
		if strings.Contains(html.String(), bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}

// drawn are the phases of the rotations that are shown.
func drawn(v View) []string {
	var out []string
	for _, r := range v.Rotations {
		for _, s := range r.Steps {
			out = append(out, string(s.Phase)+" "+s.Word+" "+s.Took.String())
		}
	}
	return out
}

// TestRotations shows rotations, and what has ended for a while; all of it is in the status, whenever the dashboard began to look.
func TestRotations(t *testing.T) {
	one := func(mods ...func(*v1alpha1.ClusterCA)) status.Objects {
		return status.Objects{CAs: []v1alpha1.ClusterCA{ca("prod", "k8s", mods...)}}
	}
	withdrawing := phase(v1alpha1.PhaseWithdrawingTrust, 0, 1)
	emergency := func(c *v1alpha1.ClusterCA) {
		r := &c.Status.Rotation
		r.Emergency = new(true)
		for i := range 2 {
			r.Phases[i] = v1alpha1.PhaseStatus{Name: r.Phases[i].Name, State: v1alpha1.PhaseSkipped}
		}
	}
	specEdited := func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.KeyPolicy = v1alpha1.KeyReuse }
	for name, c := range map[string]struct {
		objects status.Objects
		want    []string
		log     string // the latest entry
	}{
		"under way": {
			one(withdrawing), []string{"DistributingTrust done 6m0s", "Reissuing done 6m0s", "WithdrawingTrust under way 13m0s"},
			"11:47 WithdrawingTrust: the old CA is removed from the trust bundle; its key is deleted once nothing trusts it",
		},
		"what was done was needed, whatever the spec says now": {
			one(withdrawing, specEdited), []string{"DistributingTrust done 6m0s", "Reissuing done 6m0s", "WithdrawingTrust under way 13m0s"},
			"11:47 WithdrawingTrust: the old CA is removed from the trust bundle; its key is deleted once nothing trusts it",
		},
		"an emergency": {
			one(withdrawing, emergency), []string{"DistributingTrust not needed -1ns", "Reissuing not needed -1ns", "WithdrawingTrust under way 13m0s"},
			"11:47 WithdrawingTrust: the new CA signs and is trusted alone; what has anything older stops working until it is delivered",
		},
		"completed": {
			one(withdrawing, over(v1alpha1.RotationCompleted, -5*time.Minute)),
			[]string{"DistributingTrust done 6m0s", "Reissuing done 6m0s", "WithdrawingTrust done 8m0s"},
			"11:55 completed: generation 2 signs and is trusted alone",
		},
		"rolled back": {
			one(withdrawing, over(v1alpha1.RotationRolledBack, -5*time.Minute)),
			[]string{"DistributingTrust broken off 6m0s", "Reissuing not reached -1ns", "WithdrawingTrust done 8m0s"},
			"11:55 rolled back: generation 1 signs as before, and generation 2 has signed nothing",
		},
		"completed before": {
			one(withdrawing, over(v1alpha1.RotationCompleted, -5*time.Minute)), nil, "11:55 completed: generation 2 signs and is trusted alone",
		},
		"nothing": {one(), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			at := now
			if name == "completed before" {
				at = now.Add(shown - 5*time.Minute)
			}
			v := Build(at, c.objects)
			if diff := cmp.Diff(c.want, drawn(v)); diff != "" {
				t.Errorf("the phases (-want +got):\n%s", diff)
			}
			latest := ""
			if len(v.Log) > 0 {
				latest = v.Log[0].Time.Format("15:04") + " " + v.Log[0].Text
			}
			if latest != c.log {
				t.Errorf("the log says %q instead of %q", latest, c.log)
			}
			if under := c.objects.CAs[0].Status.Rotation.Phase != ""; under != (v.Totals.Rotating == 1) {
				t.Errorf("%d rotations are under way", v.Totals.Rotating)
			}
		})
	}
}

// TestLog has a rotation from its begin, with the begin of each phase, and nothing of the day before.
func TestLog(t *testing.T) {
	c := ca("prod", "k8s", phase(v1alpha1.PhaseReissuing, 0, 1))
	c.CreationTimestamp = after(-time.Hour)
	old := ca("prod", "old")
	old.CreationTimestamp = after(-logged)
	var got []string
	for _, e := range logOf(now, status.Objects{CAs: []v1alpha1.ClusterCA{old, c}}) {
		got = append(got, e.Time.Format("15:04")+" "+e.Text)
	}
	want := []string{
		"11:41 Reissuing: the new CA signs; every certificate is re-issued",
		"11:35 DistributingTrust: both CAs are in the trust bundle; the old one signs until every consumer trusts both",
		"11:35 a rotation has begun: generation 1 → 2 (SpecChanged)",
		"11:00 it was created",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestAxis: labels for any length, none at the very end, and every bar within.
func TestAxis(t *testing.T) {
	for name, c := range map[string]struct {
		bars []Bar
		want []string
	}{
		"nothing":       {nil, []string{"11:59", "12:00"}},
		"an hour":       {[]Bar{{Start: now.Add(-10 * time.Minute), End: now.Add(50 * time.Minute)}}, []string{"12:00", "12:15", "12:30", "12:45"}},
		"ten days":      {[]Bar{{Start: now, End: now.Add(10 * day)}}, []string{"25 Nov", "27 Nov", "29 Nov", "1 Dec", "3 Dec"}},
		"ten years":     {[]Bar{{Start: now, End: now.Add(10 * year)}}, []string{"2028", "2030", "2032", "2034", "2036"}},
		"start unknown": {[]Bar{{End: now.Add(10 * year)}}, []string{"2028", "2030", "2032", "2034", "2036"}},
		"over":          {[]Bar{{End: now.Add(-10 * day)}}, []string{"15 Nov", "17 Nov", "19 Nov", "21 Nov", "23 Nov"}},
		"a century":     {[]Bar{{Start: now, End: now.Add(100 * year)}}, []string{"2025", "2050", "2075", "2100", "2125"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := axisOf(now, c.bars)
			var got []string
			for _, tick := range a.Ticks {
				got = append(got, tick.Label)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("ticks (-want +got):\n%s", diff)
			}
			for _, b := range c.bars {
				b.place(a)
				if b.X < 0 || b.Width <= 0 || b.X+b.Width > 100.5 {
					t.Errorf("a bar at %v, %v wide", b.X, b.Width)
				}
			}
			if a.Now <= 0 || a.Now >= 100 {
				t.Errorf("now is at %v", a.Now)
			}
		})
	}
}
