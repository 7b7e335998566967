package consumers_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki/plan"
)

// asks is what two readings of one namespace must agree on: who a phase waits for.
func asks(phase plan.Phase, emergency bool, all []plan.Consumer) []string {
	var out []string
	for _, c := range all {
		if phase.Asks(c, emergency) {
			out = append(out, fmt.Sprintf("%s/%s on %q, mounted %v %v", c.Kind, c.Name, c.Host, c.Mounted, c.Delay))
		}
	}
	slices.Sort(out)
	return out
}

// TestSpecsAndGatesAgree on who a rotation waits for, wherever the ledgers are as the specs ask for. The chain of parents is
// longer than either follows.
func TestSpecsAndGatesAgree(t *testing.T) {
	names := strings.Fields("a b c d e f g h i j k")
	some := rapid.SampledFrom(names)
	rapid.Check(t, func(t *rapid.T) {
		var s consumers.Specs
		all := consumers.Authorities{}
		for i, name := range names {
			parent := ""
			if i > 0 && rapid.IntRange(0, 9).Draw(t, "parent") > 0 {
				parent = names[i-1]
			}
			ca := clusterCA(name, parent)
			if rapid.Bool().Draw(t, "copy") {
				ca.Spec.SecretName, ca.Spec.Delivery = "copy-"+name, deliveries(t)
			}
			s.CAs = append(s.CAs, ca)
			l := plan.Ledger{Generations: []plan.Generation{{Number: 1, State: plan.Active}}}
			if parent != "" {
				l.Generations[0].Parent = plan.Parent{Name: parent, Generation: 1}
			}
			all[name] = consumers.Authority{Ledger: l}
		}
		for i := range 3 {
			api := server(fmt.Sprintf("api%d", i), some.Draw(t, "signs"), deliveries(t))
			for range rapid.IntRange(0, 2).Draw(t, "clients") {
				api.Spec.ClientCARefs = append(api.Spec.ClientCARefs, ref(some.Draw(t, "client")))
			}
			if rapid.Bool().Draw(t, "proxy") {
				api.Spec.RequestHeaderCARef = &v1alpha1.CAReference{Name: some.Draw(t, "header")}
			}
			s.Servers = append(s.Servers, api)
			c := credential(fmt.Sprintf("n%d", i), some.Draw(t, "signs"), deliveries(t))
			if rapid.Bool().Draw(t, "kubeconfig") {
				c.Spec.Kubeconfig = &v1alpha1.KubeconfigSpec{}
			}
			if rapid.Bool().Draw(t, "named") { // api3 does not exist
				c.Spec.APIServerRef = &v1alpha1.APIServerReference{Name: fmt.Sprintf("api%d", rapid.IntRange(0, 3).Draw(t, "api"))}
			}
			s.Credentials = append(s.Credentials, c)
		}
		ca := some.Draw(t, "asked about")
		var planned []plan.Consumer
		for _, d := range s.Of(ca) {
			planned = append(planned, d.Consumer)
		}
		in := consumers.Inputs{CAs: s.CAs, Servers: s.Servers, Credentials: s.Credentials, Authorities: all, Now: now, Seed: func(v1alpha1.Object) uint32 { return 0 }}
		gated := in.Of(ca)
		for _, phase := range plan.Phases {
			for _, emergency := range []bool{false, true} {
				if a, b := asks(phase, emergency, planned), asks(phase, emergency, gated); !slices.Equal(a, b) {
					t.Fatalf("phase %s of %s, emergency %v: the specs say\n%v\nand the gates\n%v", phase, ca, emergency, a, b)
				}
			}
		}
	})
}

func deliveries(t *rapid.T) v1alpha1.DeliverySpec {
	all := map[string]v1alpha1.DeliverySpec{"mounted": mounted, "by an agent": byAgent, "by hand": manual("01"), "of a later version": {Mode: "Pigeon"}}
	return all[rapid.SampledFrom(slices.Sorted(maps.Keys(all))).Draw(t, "delivery")]
}

// TestAsked: a phase of the plan waits for as many as the gate requires.
func TestAsked(t *testing.T) {
	both := consumers.Dependent{Consumer: plan.Consumer{Name: "both", RelyingParty: true, HasLeaf: true}}
	trusts := consumers.Dependent{Consumer: plan.Consumer{Name: "trusts", RelyingParty: true}}
	holds := consumers.Dependent{Consumer: plan.Consumer{Name: "holds", HasLeaf: true}}
	all := []consumers.Dependent{both, trusts, holds}
	for _, tc := range []struct {
		phase     v1alpha1.Phase
		emergency bool
		states    []plan.State
		want      string
	}{
		{v1alpha1.PhaseDistributingTrust, false, []plan.State{plan.Active, plan.Trusted}, "both trusts"},
		{v1alpha1.PhaseReissuing, false, []plan.State{plan.Retiring, plan.Active}, "both holds"},
		{v1alpha1.PhaseWithdrawingTrust, false, []plan.State{plan.Withdrawn, plan.Active}, "both trusts"},
		{v1alpha1.PhaseWithdrawingTrust, true, []plan.State{plan.Withdrawn, plan.Active}, "both trusts holds"},
		{v1alpha1.PhaseCompleted, false, []plan.State{plan.Active}, ""},
	} {
		var names []string
		for _, d := range consumers.Asked(tc.phase, tc.emergency, all) {
			names = append(names, d.Name)
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("%s asks %q", tc.phase, got)
		}
		var l plan.Ledger
		for i, state := range tc.states {
			l.Generations = append(l.Generations, plan.Generation{Number: int32(i + 1), State: state})
		}
		l.Rotation = &plan.Rotation{Emergency: tc.emergency}
		observed := plan.Observation{Consumers: []plan.Consumer{both.Consumer, trusts.Consumer, holds.Consumer}, Created: now.Add(-time.Hour)}
		if g := l.GateOf(now, observed); g.Required != len(names) || string(g.Phase) != string(tc.phase) {
			t.Errorf("the gate of %s, taken for %s, requires %d", tc.phase, g.Phase, g.Required)
		}
	}
}
