package consumers_test

import (
	"testing"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// rotating is CA k8s, of which generation 2 signs and generation 1 is still trusted, and CA etcd, which rests.
type rotating struct {
	old, new, etcd pki.CA
	all            consumers.Authorities
}

func newRotating() rotating {
	r := rotating{old: root("k8s"), new: root("k8s g2"), etcd: root("etcd")}
	r.all = consumers.Authorities{"k8s": authorityOf([]plan.State{plan.Retiring, plan.Active}, r.old, r.new), "etcd": active(r.etcd)}
	return r
}

func (r rotating) bundle() map[string][]certificate {
	return map[string][]certificate{consumers.BundleKey: anchors(r.old, r.new)}
}

// withdrawn is r once generation 1 is removed from the trust bundle.
func (r rotating) withdrawn() consumers.Authorities {
	return consumers.Authorities{"k8s": authorityOf([]plan.State{plan.Withdrawn, plan.Active}, r.old, r.new), "etcd": r.all["etcd"]}
}

func stated(all consumers.Authorities, names ...string) (out []v1alpha1.AcknowledgedTrust) {
	for _, name := range names {
		out = append(out, v1alpha1.AcknowledgedTrust{Name: name, BundleSHA256: pki.BundleDigest(all.Bundle(name))})
	}
	return out
}

// TestACredential: what is known of it, by what its Secret holds and what is said of that.
func TestACredential(t *testing.T) {
	r := newRotating()
	right := product("n-tls", "n", leaf(r.new), r.bundle())
	late := product("n-tls", "n", leaf(r.old), r.bundle())
	unready := product("n-tls", "n", leaf(r.old), map[string][]certificate{consumers.BundleKey: anchors(r.old)})
	strange := right
	strange.Claim.UID = "other"
	forged := right
	forged.Claimed = false
	agent := func(s *ack.State, problem string) consumers.Reported {
		return lease("node1", 0, ack.Report{Verified: s, Problem: problem})
	}
	trust := stated(r.all, "k8s")
	for name, tc := range map[string]struct {
		delivery v1alpha1.DeliverySpec
		lease    consumers.Reported
		product  consumers.Product
		trusts   bool
		leaf     int32
		issued   int32
		reason   string
	}{
		"mounted":                             {mounted, none, right, true, 2, 2, ""},
		"mounted, of the old key":             {mounted, none, late, true, 1, 1, v1alpha1.PendingNotIssued},
		"mounted, without the new anchor":     {mounted, none, unready, false, 1, 1, v1alpha1.PendingNotIssued},
		"its Secret is gone":                  {mounted, none, consumers.Product{Name: "x"}, false, 0, 0, v1alpha1.PendingNotIssued},
		"its Secret is another object's":      {mounted, none, strange, false, 0, 0, v1alpha1.PendingNotIssued},
		"its Secret bears no claim":           {mounted, none, forged, false, 0, 0, v1alpha1.PendingNotIssued},
		"an agent has verified all":           {byAgent, agent(stateOf(right), ""), right, true, 2, 2, ""},
		"an agent uses the one before":        {byAgent, agent(stateOf(late), ""), right, true, 0, 2, v1alpha1.ReasonNotInUse},
		"an agent has verified nothing":       {byAgent, agent(nil, ""), right, false, 0, 2, v1alpha1.ReasonNotInUse},
		"an agent has a problem":              {byAgent, agent(nil, "disk full"), right, false, 0, 2, v1alpha1.ReasonAgentProblem},
		"no agent":                            {byAgent, none, right, false, 0, 2, v1alpha1.ReasonLeaseExpired},
		"no agent, and nothing is issued yet": {byAgent, none, unready, false, 0, 1, v1alpha1.PendingNotIssued},
		"all is stated":                       {manual(serialOf(right), trust...), none, right, true, 2, 2, ""},
		"the bundle is not stated":            {manual(serialOf(right)), none, right, false, 2, 2, v1alpha1.PendingNotAcknowledged},
		"another bundle is stated":            {manual(serialOf(right), stated(r.withdrawn(), "k8s")...), none, right, false, 2, 2, v1alpha1.PendingNotAcknowledged},
		"another CA's is stated":              {manual(serialOf(right), v1alpha1.AcknowledgedTrust{Name: "etcd", BundleSHA256: trust[0].BundleSHA256}), none, right, false, 2, 2, v1alpha1.PendingNotAcknowledged},
		"the certificate before is stated":    {manual(serialOf(late), trust...), none, right, true, 0, 2, v1alpha1.PendingNotAcknowledged},
		"what is stated is not in the Secret": {manual(serialOf(unready), trust...), none, unready, false, 1, 1, v1alpha1.PendingNotIssued},
		"a mode of a later version":           {v1alpha1.DeliverySpec{Mode: "Pigeon"}, none, right, false, 0, 2, v1alpha1.PendingUnknownDelivery},
	} {
		in := consumers.Inputs{
			Credentials: []v1alpha1.NodeCredential{credential("n", "k8s", tc.delivery)}, Authorities: r.all,
			Leases: map[consumers.LeaseKey]consumers.Reported{},
		}
		in.Products = []consumers.Product{tc.product}
		if tc.lease.Lease != nil {
			in.Leases[consumers.LeaseKey{Owner: "n", Name: "n-tls"}] = tc.lease
		}
		c, there := ask(t, in, "k8s")["NodeCredential/n"]
		if !there || !c.RelyingParty || !c.HasLeaf || c.Host != "node1" || c.Orphaned {
			t.Errorf("%s: %+v", name, c)
		}
		if c.Trusts != tc.trusts || c.Leaf != tc.leaf || c.Issued != tc.issued || c.Reason != tc.reason {
			t.Errorf("%s: trusts %v, leaf %d, issued %d, reason %q", name, c.Trusts, c.Leaf, c.Issued, c.Reason)
		}
		changed := now
		if tc.product.Claimed && tc.product.Claim.UID == "n" {
			changed = now.Add(-time.Hour)
		}
		if c.Mounted != (tc.delivery.Mode == v1alpha1.DeliveryMounted) || !c.Changed.Equal(changed) {
			t.Errorf("%s: mounted %v, changed %v", name, c.Mounted, c.Changed)
		}
		if other := ask(t, in, "etcd"); len(other) != 0 {
			t.Errorf("%s: etcd has the consumers %v", name, other)
		}
	}
}

// TestALeaseOfAnotherObjectSaysNothing: Leases are looked up by whom they were made for.
func TestALeaseOfAnotherObjectSaysNothing(t *testing.T) {
	r := newRotating()
	p := product("n-tls", "n", leaf(r.new), r.bundle())
	in := consumers.Inputs{
		Credentials: []v1alpha1.NodeCredential{credential("n", "k8s", byAgent)}, Authorities: r.all, Products: []consumers.Product{p},
		Leases: map[consumers.LeaseKey]consumers.Reported{{Owner: "m", Name: "n-tls"}: lease("node1", 0, ack.Report{Verified: stateOf(p)})},
	}
	if c := ask(t, in, "k8s")["NodeCredential/n"]; c.Reason != v1alpha1.ReasonLeaseExpired || c.Leaf != 0 {
		t.Errorf("%+v", c)
	}
}

// TestAKubeconfig is a consumer of the API server's CA, and its certificate one of the credential's own.
func TestAKubeconfig(t *testing.T) {
	r := newRotating()
	n := credential("n", "etcd", mounted)
	n.Spec.Kubeconfig, n.Spec.APIServerRef = &v1alpha1.KubeconfigSpec{}, &v1alpha1.APIServerReference{Name: "api"}
	etcd := map[string][]certificate{consumers.BundleKey: anchors(r.etcd)}
	in := consumers.Inputs{
		Credentials: []v1alpha1.NodeCredential{n}, Servers: []v1alpha1.APIServerCertificate{server("api", "k8s", mounted)}, Authorities: r.all,
		Products: []consumers.Product{
			product("n-tls", "n", leaf(r.etcd), etcd), product("n-kubeconfig", "n", leaf(r.etcd), map[string][]certificate{consumers.BundleKey: anchors(r.old)}),
		},
	}
	c := ask(t, in, "k8s")["NodeCredential/n"]
	if !c.RelyingParty || c.Trusts || c.HasLeaf || c.Reason != v1alpha1.PendingNotIssued {
		t.Errorf("with the old bundle: %+v", c)
	}
	in.Products[1].Bundles = r.bundle()
	if c := ask(t, in, "k8s")["NodeCredential/n"]; !c.RelyingParty || !c.Trusts || c.HasLeaf || c.Reason != "" {
		t.Errorf("with both: %+v", c)
	}
	if c := ask(t, in, "etcd")["NodeCredential/n"]; !c.HasLeaf || c.Leaf != 1 || !c.Trusts {
		t.Errorf("of its own CA: %+v", c)
	}
	in.Products[1].Leaf = pki.Leaf{}
	if c := ask(t, in, "etcd")["NodeCredential/n"]; c.Leaf != 0 || c.Issued != 0 || c.Reason != v1alpha1.PendingNotIssued {
		t.Errorf("where one of its two certificates is missing: %+v", c)
	}
}

// TestAnAPIServer trusts the CAs of its clients, and that of the request header.
func TestAnAPIServer(t *testing.T) {
	r := newRotating()
	api := server("api", "etcd", mounted)
	api.Spec.ClientCARefs = []v1alpha1.CAReference{ref("etcd"), ref("k8s")}
	header := ref("k8s")
	both := anchors(r.etcd, r.old, r.new)
	p := product("api-tls", "api", leaf(r.etcd), map[string][]certificate{
		consumers.BundleKey: anchors(r.etcd), consumers.ClientBundleKey: both, consumers.HeaderBundleKey: anchors(r.old, r.new),
	})
	in := consumers.Inputs{Servers: []v1alpha1.APIServerCertificate{api}, Authorities: r.all, Products: []consumers.Product{p}}
	in.Servers[0].Spec.RequestHeaderCARef = &header
	if c := ask(t, in, "k8s")["APIServerCertificate/api"]; !c.RelyingParty || !c.Trusts || c.HasLeaf || c.Host != "master1" {
		t.Errorf("%+v", c)
	}
	for _, key := range []string{consumers.ClientBundleKey, consumers.HeaderBundleKey} {
		was := p.Bundles[key]
		p.Bundles[key] = anchors(r.etcd, r.old)
		if c := ask(t, in, "k8s")["APIServerCertificate/api"]; c.Trusts || c.Reason != v1alpha1.PendingNotIssued {
			t.Errorf("without the new anchor in %s: %+v", key, c)
		}
		p.Bundles[key] = was
	}
	in.Authorities = r.withdrawn()
	if c := ask(t, in, "k8s")["APIServerCertificate/api"]; c.Trusts {
		t.Error("it holds an anchor that was withdrawn, and counts as done")
	}
	if c := ask(t, in, "etcd")["APIServerCertificate/api"]; !c.Trusts || !c.HasLeaf {
		t.Errorf("another CA's anchor is no matter of etcd: %+v", c)
	}
}
