package consumers_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// TestAnObjectThatMoved to another CA depends on the one before until what its Secret holds now has arrived.
func TestAnObjectThatMoved(t *testing.T) {
	r := newRotating()
	etcd := map[string][]certificate{consumers.BundleKey: anchors(r.etcd)}
	moved := product("n-tls", "n", leaf(r.etcd), etcd)
	moved.Claim.Left = []string{"k8s"}
	often := moved // from more CAs than are noted
	often.Claim.Left = []string{"*"}
	young := moved
	young.Claim.Changed = now.Add(-time.Minute)
	still := product("n-tls", "n", leaf(r.old), r.bundle())
	serial, bundle := serialOf(moved), stated(r.all, "etcd")
	for name, tc := range map[string]struct {
		delivery v1alpha1.DeliverySpec
		product  consumers.Product
		there    bool
		trusts   bool
		leaf     int32
	}{
		"it holds all of the CA still":              {mounted, still, true, false, 0},
		"mounted, and the delay has passed":         {mounted, moved, false, false, 0},
		"mounted, and only the delay is to pass":    {mounted, young, true, true, 2},
		"an agent has not said so":                  {byAgent, moved, true, false, 0},
		"nor whether it has left any other one":     {byAgent, often, true, false, 0},
		"it has, whichever that was":                {manual(serial, bundle...), often, false, false, 0},
		"a person has stated all":                   {manual(serial, bundle...), moved, false, false, 0},
		"a person has stated the certificate alone": {manual(serial), moved, true, false, 0},
	} {
		in := consumers.Inputs{Credentials: []v1alpha1.NodeCredential{credential("n", "etcd", tc.delivery)}, Authorities: r.all, Products: []consumers.Product{tc.product}}
		c, there := ask(t, in, "k8s")["NodeCredential/n"]
		if there != tc.there || there && (!c.RelyingParty || !c.HasLeaf || c.Trusts != tc.trusts || c.Leaf != tc.leaf || c.Orphaned) {
			t.Errorf("%s: %v, %+v", name, there, c)
		}
	}
}

// TestOrphans: Secrets of the operator that no object names, which hold something of the CA. One in the form of another program is none: who reads it is no
// consumer that anybody knows.
func TestOrphans(t *testing.T) {
	r := newRotating()
	stranger := product("stranger", "x", leaf(r.old), r.bundle())
	stranger.Claimed = false
	output := product("output", "n", leaf(r.old), r.bundle())
	output.Claim.Output = string(v1alpha1.OutputCAPI)
	in := consumers.Inputs{
		Credentials: []v1alpha1.NodeCredential{credential("n", "k8s", mounted)}, Authorities: r.withdrawn(),
		Products: []consumers.Product{
			product("n-tls", "n", leaf(r.new), map[string][]certificate{consumers.BundleKey: anchors(r.new)}),
			product("both", "gone", leaf(r.old), r.bundle()), product("trusts", "gone", leaf(r.etcd), r.bundle()), product("presents", "n", leaf(r.old), nil),
			product("none", "gone", leaf(r.etcd), nil), stranger, output,
		},
	}
	got := ask(t, in, "k8s")
	if len(got) != 4 {
		t.Errorf("the consumers are %v", got)
	}
	for name, want := range map[string][2]bool{"both": {true, true}, "trusts": {true, false}, "presents": {false, true}} {
		c, there := got["Secret/"+name]
		if !there || !c.Orphaned || c.Trusts || c.Leaf != 0 || c.Reason != v1alpha1.PendingOrphaned || [2]bool{c.RelyingParty, c.HasLeaf} != want {
			t.Errorf("%s: %v, %+v", name, there, c)
		}
	}
}

// TestACopyOfTheKey must be the active pair, as its delivery says.
func TestACopyOfTheKey(t *testing.T) {
	r := newRotating()
	pair := func(ca pki.CA) consumers.Product {
		return product("pair", "k8s", pki.Leaf{Cert: ca.Cert}, nil)
	}
	for name, tc := range map[string]struct {
		delivery v1alpha1.DeliverySpec
		products []consumers.Product
		leaf     int32
		issued   int32
		reason   string
	}{
		"mounted":        {mounted, []consumers.Product{pair(r.new)}, 2, 2, ""},
		"the one before": {mounted, []consumers.Product{pair(r.old)}, 1, 1, v1alpha1.PendingNotIssued},
		"another CA's":   {mounted, []consumers.Product{pair(r.etcd)}, 0, 0, v1alpha1.PendingNotIssued},
		"not there":      {mounted, nil, 0, 0, v1alpha1.PendingNotIssued},
		"stated":         {manual(pki.SerialOf(r.new.Cert)), []consumers.Product{pair(r.new)}, 2, 2, ""},
		"not stated":     {manual(pki.SerialOf(r.old.Cert)), []consumers.Product{pair(r.new)}, 0, 2, v1alpha1.PendingNotAcknowledged},
		"emptied":        {mounted, []consumers.Product{product("pair", "k8s", pki.Leaf{}, nil)}, 0, 0, v1alpha1.PendingNotIssued},
	} {
		ca := clusterCA("k8s", "")
		ca.Spec.SecretName, ca.Spec.Delivery = "pair", tc.delivery
		c, there := ask(t, consumers.Inputs{CAs: []v1alpha1.ClusterCA{ca}, Authorities: r.all, Products: tc.products}, "k8s")["Secret/pair"]
		if !there || !c.HasLeaf || c.RelyingParty || c.Leaf != tc.leaf || c.Issued != tc.issued || c.Reason != tc.reason || c.AcceptsAssumed {
			t.Errorf("%s: %v, %+v", name, there, c)
		}
		ca.Spec.Delivery = accepting(ca.Spec.Delivery)
		c = ask(t, consumers.Inputs{CAs: []v1alpha1.ClusterCA{ca}, Authorities: r.all, Products: tc.products}, "k8s")["Secret/pair"]
		if c.AcceptsAssumed != c.Mounted {
			t.Errorf("%s, and accepted: %+v", name, c)
		}
	}
}

// TestSubordinateCAs: by what their ledgers say, also where the object is gone or names another parent.
func TestSubordinateCAs(t *testing.T) {
	r := newRotating()
	mid := below("mid", r.old)
	r.all["mid"] = under(authorityOf([]plan.State{plan.Active, plan.Trusted}, mid, below("mid g2", r.new)), 1, "k8s", 1)
	r.all["mid"] = under(r.all["mid"], 2, "k8s", 2)
	r.all["gone"] = under(active(mid), 1, "k8s", 2)
	r.all["retired"] = under(authorityOf([]plan.State{plan.Withdrawn, plan.Active}, mid, root("x")), 1, "k8s", 1)
	in := consumers.Inputs{CAs: []v1alpha1.ClusterCA{clusterCA("k8s", ""), clusterCA("mid", "etcd"), clusterCA("new", "k8s")}, Authorities: r.all}
	in.Credentials = []v1alpha1.NodeCredential{credential("n", "mid", mounted)}
	in.Products = []consumers.Product{product("n-tls", "n", leaf(mid), r.bundle())}
	got := ask(t, in, "k8s")
	for name, want := range map[string]plan.Consumer{
		"mid":  {Leaf: 1, Issued: 2, Reason: v1alpha1.PendingNotRotated},
		"gone": {Leaf: 2, Issued: 2, Reason: v1alpha1.PendingNotRotated, Orphaned: true},
		"new":  {Reason: v1alpha1.PendingNotIssued},
	} {
		c, there := got["ClusterCA/"+name]
		if !there || !c.HasLeaf || c.RelyingParty || c.Leaf != want.Leaf || c.Issued != want.Issued || c.Reason != want.Reason || c.Orphaned != want.Orphaned {
			t.Errorf("%s: %v, %+v", name, there, c)
		}
	}
	if c, there := got["NodeCredential/n"]; len(got) != 4 || !there || !c.RelyingParty || !c.Trusts || c.HasLeaf {
		t.Errorf("who trusts the intermediate CA trusts its root: %+v", got)
	}
}

// serving is what was observed of an API server.
type serving struct {
	unsettled       string
	serves          bool
	trusts, dropped bool
}

func (w serving) Unsettled() string        { return w.unsettled }
func (w serving) Serves(certificate) bool  { return w.serves }
func (w serving) Trusts(certificate) bool  { return w.trusts }
func (w serving) Dropped(certificate) bool { return w.dropped }

// TestWhatAnAPIServerServesCounts against what Secrets hold.
func TestWhatAnAPIServerServesCounts(t *testing.T) {
	r := newRotating()
	client := func(all consumers.Authorities) consumers.Product {
		return product("api-tls", "api", leaf(r.new), map[string][]certificate{consumers.BundleKey: all.Bundle("k8s"), consumers.ClientBundleKey: all.Bundle("k8s")})
	}
	gone := client(r.all)
	gone.Claimed = false
	good := serving{serves: true, trusts: true, dropped: true}
	for name, tc := range map[string]struct {
		all     consumers.Authorities
		product consumers.Product
		serving serving
		reason  string
		denied  bool
	}{
		"all agrees":              {r.all, client(r.all), good, "", false},
		"it cannot be reached":    {r.all, client(r.all), serving{unsettled: v1alpha1.ReasonUnreachable}, v1alpha1.ReasonUnreachable, true},
		"it serves another":       {r.all, client(r.all), serving{trusts: true, dropped: true}, v1alpha1.ReasonWrongCertificate, true},
		"it names not every CA":   {r.all, client(r.all), serving{serves: true, dropped: true}, v1alpha1.ReasonMissingClientCA, true},
		"it names a withdrawn CA": {r.withdrawn(), client(r.withdrawn()), serving{serves: true, trusts: true}, v1alpha1.ReasonMissingClientCA, true},
		"nothing was withdrawn":   {r.all, client(r.all), serving{serves: true, trusts: true}, "", false},
		"its Secret is not there": {r.all, gone, good, v1alpha1.PendingNotIssued, true},
	} {
		api := server("api", "k8s", mounted)
		in := consumers.Inputs{Servers: []v1alpha1.APIServerCertificate{api}, Authorities: tc.all, Products: []consumers.Product{tc.product}}
		in.Serving = func(*v1alpha1.APIServerCertificate) consumers.Serving { return tc.serving }
		if c := ask(t, in, "k8s")["APIServerCertificate/api"]; c.Denied || c.Proved {
			t.Errorf("%s, and not probed: %+v", name, c)
		}
		in.Servers[0].Spec.Probe = &v1alpha1.ProbeSpec{}
		if c := ask(t, in, "k8s")["APIServerCertificate/api"]; c.Denied != tc.denied || c.Proved == tc.denied || c.Reason != tc.reason {
			t.Errorf("%s: %+v", name, c)
		}
		in.Serving = nil
		if c := ask(t, in, "k8s")["APIServerCertificate/api"]; c.Denied || c.Proved {
			t.Errorf("%s, and nobody has looked: %+v", name, c)
		}
	}
}

// TestAWithdrawnCAThatAnotherOneStillNeeds may stay among an API server's client CAs.
func TestAWithdrawnCAThatAnotherOneStillNeeds(t *testing.T) {
	r := newRotating()
	all := r.withdrawn()
	all["twin"] = active(r.old)
	api := server("api", "k8s", mounted)
	api.Spec.ClientCARefs, api.Spec.Probe = []v1alpha1.CAReference{ref("k8s"), ref("twin")}, &v1alpha1.ProbeSpec{}
	in := consumers.Inputs{Servers: []v1alpha1.APIServerCertificate{api}, Authorities: all}
	in.Products = []consumers.Product{product("api-tls", "api", leaf(r.new), map[string][]certificate{consumers.BundleKey: anchors(r.new), consumers.ClientBundleKey: anchors(r.new, r.old)})}
	in.Serving = func(*v1alpha1.APIServerCertificate) consumers.Serving { return serving{serves: true, trusts: true} }
	if c := ask(t, in, "k8s")["APIServerCertificate/api"]; c.Denied || !c.Trusts || c.Reason != "" {
		t.Errorf("%+v", c)
	}
}

// TestEveryReasonHasAnEdit, unless only time is missing, or nobody but the operator can do anything.
func TestEveryReasonHasAnEdit(t *testing.T) {
	source, err := os.ReadFile("../../api/v1alpha1/pending.go")
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, m := range regexp.MustCompile(`(?m)^\tPending\w+ += "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		reasons = append(reasons, m[1])
	}
	if len(reasons) < 8 {
		t.Fatalf("only %v are found", reasons)
	}
	reasons = append(reasons, v1alpha1.ReasonLeaseExpired, v1alpha1.ReasonAgentProblem, v1alpha1.ReasonUnreachable, v1alpha1.ReasonWrongCertificate,
		v1alpha1.ReasonMissingClientCA, v1alpha1.ReasonNotInUse, v1alpha1.ReasonPolicyDenied, v1alpha1.ReasonInvalidSpec, v1alpha1.ReasonClientCAShared,
		v1alpha1.ReasonAssumed)
	waits := []string{v1alpha1.PendingPropagating, v1alpha1.PendingAwaitingWave, v1alpha1.PendingSettling, v1alpha1.ReasonNotInUse,
		v1alpha1.PendingNotIssued, v1alpha1.PendingNotRotated}
	for _, reason := range reasons {
		edit := consumers.Edit(plan.Consumer{Kind: "NodeCredential", Name: "n", Host: "node1", Reason: reason}, consumers.Approval{CA: "k8s", ID: "k8s/age.g2"})
		if (edit == "") != slices.Contains(waits, reason) {
			t.Errorf("%s: %q", reason, edit)
		}
		// What a ClusterPKI has made is edited there: it makes what was deleted again, and leaves no field of another's.
		edit = consumers.Edit(plan.Consumer{Kind: "NodeCredential", Name: "n", Host: "node1", Reason: reason},
			consumers.Approval{CA: "k8s", ID: "k8s/age.g2", Cluster: "prod"})
		if reason != v1alpha1.PendingOrphaned && strings.Contains(edit, "delete") || strings.Contains(edit, "spec.delivery.acceptAssumed") {
			t.Errorf("%s, in a ClusterPKI: %q", reason, edit)
		}
	}
	if plan.ReasonPropagating != v1alpha1.PendingPropagating || plan.ReasonAssumed != v1alpha1.ReasonAssumed {
		t.Errorf("%s and %s are one reason, and %s and %s", plan.ReasonPropagating, v1alpha1.PendingPropagating, plan.ReasonAssumed, v1alpha1.ReasonAssumed)
	}
}

// TestWhoAcceptsWhatIsAssumed: the edit names the object whose delivery that is, and the rotation.
func TestWhoAcceptsWhatIsAssumed(t *testing.T) {
	for object, c := range map[string]plan.Consumer{
		`NodeCredential "n"`: {Kind: "NodeCredential", Name: "n", Reason: v1alpha1.ReasonAssumed},
		`ClusterCA "k8s"`:    {Kind: "Secret", Name: "k8s-pair", Reason: v1alpha1.ReasonAssumed},
	} {
		byHand := c
		byHand.Reason = v1alpha1.PendingNotAcknowledged
		command := "clusterpki acknowledge " + strings.ReplaceAll(strings.ReplaceAll(object, `"`, ""), " ", "/") + "'"
		if edit := consumers.Edit(byHand, consumers.Approval{CA: "k8s"}); !strings.Contains(edit, command) {
			t.Errorf("%s: %q", object, edit)
		}
		edit := consumers.Edit(c, consumers.Approval{CA: "k8s", ID: "k8s/age.g2"})
		for _, text := range []string{"spec.delivery.acceptAssumed of " + object, `spec.rotation.approved.withdrawal of ClusterCA "k8s" to 'k8s/age.g2'`} {
			if !strings.Contains(edit, text) {
				t.Errorf("%s: %q", object, edit)
			}
		}
	}
}
