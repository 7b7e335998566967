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
	c.Status.Generations = []v1alpha1.GenerationStatus{{Number: 1, State: "Signing", SecretName: name + "-g1", NotAfter: after(8 * year)}}
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

// phase puts a CA into a phase of its replacement.
func phase(name string, acknowledged, required int32, pending ...string) func(*v1alpha1.ClusterCA) {
	return func(c *v1alpha1.ClusterCA) {
		states, signing := []string{"Signing", "Trusted"}, int32(1)
		switch name {
		case "Reissuing":
			states, signing = []string{"Retiring", "Signing"}, 2
		case "WithdrawingTrust":
			states, signing = []string{"Withdrawn", "Signing"}, 2
		}
		c.Status.Certificate.IssuerGeneration = signing
		if signing == 2 {
			c.Status.Certificate = certificate(2, -25*time.Minute, 8*year, 10*year)
		}
		c.Status.Generations = []v1alpha1.GenerationStatus{
			{Number: 1, State: states[0], SecretName: "k8s-g1", NotAfter: after(8 * year)}, {Number: 2, State: states[1], SecretName: "k8s-g2", NotAfter: after(10 * year)},
		}
		c.Status.Rotation = v1alpha1.RotationStatus{
			Phase: name, Trigger: "SpecChanged", From: 1, To: 2, StartTime: after(-25 * time.Minute), PhaseTime: after(-12 * time.Minute),
			Gates: []v1alpha1.GateStatus{{Name: name, Acknowledged: &acknowledged, Required: &required, Pending: pending}},
		}
	}
}

// world is two clusters, one of them with a replacement under way and an expired certificate.
func world() status.Objects {
	expired := credential("staging", "old", "k8s", "KubeProxy")
	expired.Status.Certificate = certificate(1, -366*day, -122*day, -day)
	return status.Objects{
		CAs: []v1alpha1.ClusterCA{
			ca("prod", "k8s", phase("Reissuing", 2, 3, "NodeCredential/node1-kubelet (NotInUse)")), ca("prod", "front-proxy"), ca("staging", "k8s"),
		},
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

// TestView has the whole view of a world, and the page that it makes.
func TestView(t *testing.T) {
	objects := world()
	v := Build(now, objects, Memory{}.Look(now, objects.CAs))
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
	objects := world()
	objects.CAs[0].Status.Rotation.Gates[0].Pending = []string{`NodeCredential/<script>alert(1)</script> ("onload=x)`}
	objects.Credentials[2].Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "False", Reason: "X", Message: `<img src=x onerror=alert(1)>`}}
	objects.Servers[0].Spec.Endpoint = `javascript:alert(1)`
	var html bytes.Buffer
	if err := templates.ExecuteTemplate(&html, "live", Build(now, objects, Memory{})); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<img", `href="javascript`, "style="} {
		if strings.Contains(html.String(), bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}

// TestMemory follows a replacement from its begin to its end, and one that is given up.
func TestMemory(t *testing.T) {
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	in := func(name string, began int) []v1alpha1.ClusterCA {
		if name == "" {
			return []v1alpha1.ClusterCA{ca("prod", "k8s")}
		}
		return []v1alpha1.ClusterCA{ca("prod", "k8s", phase(name, 0, 1), func(c *v1alpha1.ClusterCA) {
			c.Status.Rotation.StartTime, c.Status.Rotation.PhaseTime = metav1.NewTime(at(1)), metav1.NewTime(at(began))
		})}
	}
	m := Memory{}.Look(at(0), in("", 0)).Look(at(1), in("DistributingTrust", 2)).Look(at(4), in("Reissuing", 4)).
		Look(at(5), in("Reissuing", 4)).Look(at(9), in("WithdrawingTrust", 9))
	done := in("", 0)
	done[0].Status.Certificate.IssuerGeneration = 2
	finished := m.Look(at(20), done)
	var got []string
	for _, e := range finished.Log {
		got = append(got, e.Time.Format("15:04")+" "+e.Text)
	}
	want := []string{
		"12:20 replaced: generation 2 signs and is trusted alone",
		"12:09 WithdrawingTrust: the old CA is out of the bundle; its key is deleted once nothing trusts it",
		"12:04 Reissuing: the new CA signs; every certificate is issued again",
		"12:01 its replacement has begun (SpecChanged): DistributingTrust",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	v := Build(at(20), status.Objects{CAs: done}, finished)
	if len(v.Replacements) != 1 || v.Totals.Replacing != 0 {
		t.Fatalf("%d replacements are shown, %d of them under way", len(v.Replacements), v.Totals.Replacing)
	}
	got = nil
	for _, s := range v.Replacements[0].Steps {
		got = append(got, s.Phase+" "+string(s.State)+" "+s.Took.String())
	}
	if diff := cmp.Diff([]string{"Preparing done 1m0s", "DistributingTrust done 2m0s", "Reissuing done 5m0s", "WithdrawingTrust done 11m0s"}, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if later := finished.Look(at(20).Add(remembered), done); len(later.ended) != 0 {
		t.Error("a replacement is shown for ever")
	}
	abandoned := Memory{}.Look(at(0), in("DistributingTrust", 2)).Look(at(3), in("", 0))
	if !abandoned.ended[0].GivenUp || abandoned.Log[0].Text != "its replacement was given up: generation 1 signs" {
		t.Errorf("given up: %+v", abandoned.Log)
	}
}

// TestSkipped: without overlap two phases are not needed.
func TestSkipped(t *testing.T) {
	c := ca("prod", "k8s", phase("WithdrawingTrust", 0, 1), func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Mode = v1alpha1.RotationEmergency })
	r := Build(now, status.Objects{CAs: []v1alpha1.ClusterCA{c}}, Memory{}).Replacements[0]
	var got []StepState
	for _, s := range r.Steps {
		got = append(got, s.State)
	}
	if diff := cmp.Diff([]StepState{Done, Skipped, Skipped, Present}, got); diff != "" {
		t.Error(diff)
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
