package leaf_test

import (
	"crypto/ed25519"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

// toAgent is a request for what an agent delivers.
func (w *world) toAgent() leaf.Request {
	r := w.request()
	r.Delivery = &leaf.Delivery{Host: "node1", OwnServer: true, Kubeconfig: &delivery.Kubeconfig{
		Server: "https://k8s:6443", ClusterName: "k8s", ContextName: "default", UserName: "kubelet",
	}}
	return r
}

// visit is what a visit leaves.
func (w *world) visit(r leaf.Request) {
	w.t.Helper()
	var there *corev1.Secret
	if w.secret() != nil {
		there = w.noted()
	}
	if _, err := w.Make(ctx, r, there); err != nil {
		w.t.Fatal(err)
	}
}

// signed is the document that stands in the Secret, as an agent reads it.
func (w *world) signed() delivery.Document {
	w.t.Helper()
	text, err := authority.PublishedDelivery(ctx, w.api, home, "prod")
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := delivery.ParsePublic([]byte(text[0]))
	if err != nil {
		w.t.Fatal(err)
	}
	d, _, err := delivery.Open([]ed25519.PublicKey{key}, w.secret().Data[consumers.DeliveryKey])
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// writes to the Secret by somebody who may.
func (w *world) edit(change func(*corev1.Secret)) {
	w.t.Helper()
	s := w.secret()
	change(s)
	if err := w.api.Update(ctx, s); err != nil {
		w.t.Fatal(err)
	}
	w.asked = nil
}

// TestDeliveryIsSigned with what it is about, in the write that issues; what says the same is not signed, nor written, again.
func TestDeliveryIsSigned(t *testing.T) {
	w := newWorld(t)
	w.visit(w.toAgent())
	d, s := w.signed(), w.secret()
	if d.Subject() != (delivery.Subject{Kind: "NodeCredential", Namespace: "prod", Name: "node1", Host: "node1"}) || d.UID != "node1" || d.Kubeconfig.Server != "https://k8s:6443" {
		t.Errorf("it says %+v", d)
	}
	if got := slices.Sorted(maps.Keys(d.Contents)); !slices.Equal(got, []string{"apiserver-ca.crt", "ca.crt", "tls.crt"}) {
		t.Errorf("it is about %q", got)
	}
	for key := range d.Contents {
		if !d.Holds(key, s.Data[key]) {
			t.Errorf("%s is not what is signed", key)
		}
	}
	if d.Trust["ca.crt"]["k8s"] != 1 || d.Trust["apiserver-ca.crt"]["k8s"] != 1 {
		t.Errorf("its revisions are %v", d.Trust)
	}
	if n := len(slices.DeleteFunc(slices.Clone(w.asked), func(a string) bool { return !strings.HasSuffix(a, " node1-tls") })); n != 1 {
		t.Errorf("it took %d writes: %q", n, w.asked)
	}
	w.asked = nil
	w.visit(w.toAgent())
	if !slices.Equal(w.asked, []string{"read ca.prod.k8s"}) { // there is no cache here
		t.Errorf("a second visit asks %q", w.asked)
	}
}

// TestDeliveryIsSignedAnew where what is to be said changes, or what was signed does not stand there, and each time with a later time.
func TestDeliveryIsSignedAnew(t *testing.T) {
	w := newWorld(t)
	w.visit(w.toAgent())
	last := w.signed()
	for name, c := range map[string]struct {
		change func(*leaf.Request)
		edit   func(*corev1.Secret)
	}{
		"endpoint":         {func(r *leaf.Request) { r.Delivery.Kubeconfig.Server = "https://other:6443" }, nil},
		"host":             {func(r *leaf.Request) { r.Delivery.Host = "node2" }, nil},
		"UID":              {func(r *leaf.Request) { r.Owner.SetUID("made anew") }, nil},
		"service accounts": {func(r *leaf.Request) { r.Delivery.ServiceAccounts = &delivery.ServiceAccounts{SHA256: "x"} }, nil},
		"certificate":      {nil, func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("damaged") }},
		"removed":          {nil, func(s *corev1.Secret) { delete(s.Data, consumers.DeliveryKey) }},
		"damaged":          {nil, func(s *corev1.Secret) { s.Data[consumers.DeliveryKey] = []byte("{}") }},
	} {
		r := w.toAgent()
		if c.change != nil {
			c.change(&r)
		}
		if c.edit != nil {
			w.edit(c.edit)
		}
		w.visit(r)
		if now := w.signed(); !now.Time.After(last.Time) {
			t.Errorf("%s: it was signed at %v, and before at %v", name, now.Time, last.Time)
		} else {
			last = now
		}
	}
}

// TestDeliveryOfAWrongClock: what was signed as of a time that is far ahead, which no host takes, is signed again once the clock is right.
func TestDeliveryOfAWrongClock(t *testing.T) {
	w := newWorld(t)
	w.Clock = apitime.Of(clocktesting.NewFakePassiveClock(now.Add(2 * time.Hour)))
	w.visit(w.toAgent())
	if d := w.signed(); !d.Time.Equal(now.Add(2 * time.Hour)) {
		t.Fatalf("it is signed as of %v", d.Time)
	}
	w.Clock = apitime.Of(clocktesting.NewFakePassiveClock(now))
	w.visit(w.toAgent())
	if d := w.signed(); !d.Time.Equal(now) {
		t.Errorf("it is signed as of %v, and it is %v", d.Time, now)
	}
}

// TestReplayedDelivery: an earlier state of a Secret that is put back, with the claim which says that it is signed, is signed anew once the host says
// what it has taken: later than that, by no more than has to be, and once. Of a time far ahead nothing is believed.
func TestReplayedDelivery(t *testing.T) {
	for name, c := range map[string]struct {
		taken, want time.Duration // since the last document; want 0: what was put back stays
	}{
		"the host has said nothing":      {-1000 * time.Hour, 0},
		"the host has taken the earlier": {-time.Minute, 0},
		"the host has taken the last":    {0, time.Millisecond},
		"as of later":                    {time.Minute, time.Minute + time.Millisecond},
		"as of almost an hour ahead":     {time.Hour - time.Millisecond, time.Hour},
		"as of an hour ahead":            {time.Hour, 0},
		"as of far ahead":                {1000 * time.Hour, 0},
	} {
		w := newWorld(t)
		r := w.toAgent()
		w.visit(r)
		earlier := w.secret()
		w.passes(time.Minute)
		other := w.toAgent()
		other.Delivery.Kubeconfig.Server = "https://other:6443"
		w.visit(other)
		last := w.signed().Time
		w.edit(func(s *corev1.Secret) { s.Data, s.Annotations = earlier.Data, earlier.Annotations })
		put := w.secret().ResourceVersion
		r.Delivery.Taken = last.Add(c.taken)
		for range 3 {
			w.visit(r)
			want := w.Clock.Now().Add(-time.Minute).UTC().Truncate(time.Millisecond)
			if c.want > 0 {
				want = last.Add(c.want)
			}
			if got := w.signed().Time; !got.Equal(want) {
				t.Errorf("%s: it is signed as of %v, and not %v", name, got, want)
			}
			if c.want == 0 && w.secret().ResourceVersion != put {
				t.Errorf("%s: it is written", name)
			}
		}
	}
}

// TestDeliverySignsNoEdit: what somebody puts into the Secret is repaired, and is never signed, also where it cannot be repaired now.
func TestDeliverySignsNoEdit(t *testing.T) {
	evil, err := pki.SelfSign(now, pki.CertificateSpec{Subject: pki.Subject{CommonName: "k8s"}, Key: p256, Validity: 1000 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.Issue(now, newWorld(t).request().Desired.Spec, evil)
	if err != nil {
		t.Fatal(err)
	}
	pairKey, err := pair.Key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	forged := pair.CertPEM()
	for name, c := range map[string]struct {
		key    string
		change func(*world, *leaf.Request)
	}{
		"a bundle":                            {"ca.crt", func(*world, *leaf.Request) {}},
		"a bundle beside":                     {"apiserver-ca.crt", func(*world, *leaf.Request) {}},
		"a bundle that cannot be had":         {"apiserver-ca.crt", func(_ *world, r *leaf.Request) { r.Delivery.OwnServer = false }},
		"a bundle while something is held":    {"ca.crt", func(_ *world, r *leaf.Request) { r.Delivery.Held = true }},
		"a certificate, the spec is invalid":  {"tls.crt", func(_ *world, r *leaf.Request) { r.Invalid = stall.Because("InvalidSpec", "no") }},
		"a key that is not the operator's":    {"client-ca.crt", func(*world, *leaf.Request) {}},
		"a certificate while its CA is gone":  {"tls.crt", func(_ *world, r *leaf.Request) { r.CA = "gone" }},
		"a bundle that is to be had no more":  {"client-ca.crt", func(_ *world, r *leaf.Request) { r.Absent = []string{"client-ca.crt"} }},
		"a bundle of a CA that is not signed": {"apiserver-ca.crt", func(_ *world, r *leaf.Request) { r.Delivery.Kubeconfig, r.Delivery.Held = nil, true }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.visit(w.toAgent())
			for range 3 {
				w.edit(func(s *corev1.Secret) {
					if s.Data[c.key] = forged; c.key == corev1.TLSCertKey {
						s.Data[corev1.TLSPrivateKeyKey] = pairKey
					}
				})
				r := w.toAgent()
				c.change(w, &r)
				_, err := w.Make(ctx, r, w.noted())
				if err != nil && !stall.Is(err) {
					t.Fatal(err)
				}
				if d := w.signed(); d.Holds(c.key, forged) {
					t.Fatalf("the edit is signed")
				}
			}
		})
	}
}

// TestNothingIsSignedForOthers: where no agent delivers, there is no signature, and what there was goes.
func TestNothingIsSignedForOthers(t *testing.T) {
	w := newWorld(t)
	w.visit(w.toAgent())
	r := w.request()
	r.Absent = []string{consumers.ServerBundleKey}
	w.visit(r)
	if got := slices.Sorted(maps.Keys(w.secret().Data)); !slices.Equal(got, []string{"ca.crt", "tls.crt", "tls.key"}) {
		t.Errorf("it holds %q", got)
	}
	if c := leaf.ClaimOf(w.keeper, w.secret()); c.Delivery != nil {
		t.Errorf("its claim says %+v", c.Delivery)
	}
}

// TestDeliveryKeyOfAnother: a namespace that was made anew has nothing signed by the key of the one before, and one whose key was lost has
// none made in its place.
func TestDeliveryKeyOfAnother(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*world) error
		reason string
	}{
		"of another namespace": {func(w *world) error {
			_, err := w.Store.Delivery(ctx, "prod", "the one before")
			return err
		}, v1alpha1.ReasonAuthorityRetained},
		"lost": {func(w *world) error {
			return w.api.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: authority.DeliveryName("prod")}})
		}, v1alpha1.ReasonAuthorityMissing},
	} {
		w := newWorld(t)
		if err := c.before(w); err != nil {
			t.Fatal(err)
		}
		_, err := w.Make(ctx, w.toAgent(), nil)
		if st, ok := stall.Of(err); !ok || st.Reason != c.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHeldDeliveryStays: while something that belongs to a delivery cannot be had, what was signed before stays, and nothing is signed without it.
func TestHeldDeliveryStays(t *testing.T) {
	w := newWorld(t)
	w.visit(w.toAgent())
	was := w.signed()
	r := w.toAgent()
	r.Delivery.Kubeconfig, r.Delivery.ServiceAccounts, r.Delivery.Held = nil, &delivery.ServiceAccounts{SHA256: "x"}, true
	w.visit(r)
	if now := w.signed(); !now.Time.Equal(was.Time) {
		t.Errorf("it says %+v now", now)
	}
	other := newWorld(t)
	other.visit(func() leaf.Request { r := other.toAgent(); r.Delivery.Held = true; return r }())
	if _, there := other.secret().Data[consumers.DeliveryKey]; there {
		t.Error("it is signed without what is to be waited for")
	}
}

// TestAwaitsItsTurn: until its turn comes a host has the bundles that it had, under a document of the operator's, and gets certificates all the same. Whoever
// edits the Secret or deletes it does not change that.
func TestAwaitsItsTurn(t *testing.T) {
	w := newWorld(t)
	w.visit(w.toAgent())
	keys := []string{consumers.BundleKey, consumers.ServerBundleKey}
	was := w.secret()
	w.goesOn(func(l plan.Ledger) bool { return l.Phase() == plan.DistributingTrust })
	waits := w.toAgent()
	waits.Awaits = func(ca string, _ plan.Ledger) bool { return ca == "k8s" }
	check := func(when string, kept bool) {
		t.Helper()
		now, d := w.secret(), w.signed()
		for _, key := range keys {
			if string(now.Data[key]) == string(was.Data[key]) != kept {
				t.Errorf("%s: %s is kept: %t", when, key, !kept)
			}
			if d.Contents[key] != delivery.DigestOf(now.Data[key]) || kept && d.Trust[key]["k8s"] != 1 {
				t.Errorf("%s: the document is not of %s, or says it is of %v", when, key, d.Trust[key])
			}
		}
	}
	w.visit(waits)
	check("it awaits its turn", true)
	waits.Desired.Spec.Validity /= 2
	w.quiet()
	w.visit(waits)
	if now := w.secret(); string(now.Data[corev1.TLSCertKey]) == string(was.Data[corev1.TLSCertKey]) {
		t.Error("who awaits its turn gets no certificate")
	}
	check("it got another certificate", true)
	w.edit(func(s *corev1.Secret) { s.Data[consumers.BundleKey] = s.Data[corev1.TLSCertKey] })
	w.visit(waits)
	check("somebody wrote there", true)
	if err := w.api.Delete(ctx, w.secret()); err != nil {
		t.Fatal(err)
	}
	w.quiet()
	w.visit(waits)
	check("somebody deleted it", true)
	waits.Awaits = nil
	w.visit(waits)
	check("its turn has come", false)
}
