package controller_test

import (
	"context"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/records"
)

// strangersPair is a certificate of a serial number that somebody made for a key of his own.
func strangersPair(t testing.TB, of pki.Leaf) pki.Leaf {
	t.Helper()
	key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.ECDSA, Size: 256})
	if err != nil {
		t.Fatal(err)
	}
	return pki.Leaf{Cert: of.Cert, Key: key}
}

// TestForgedReports lets everybody but the agent of the host write its Lease while a rotation waits for it: nothing of that counts, and the agent is heard
// as soon as it speaks again.
func TestForgedReports(t *testing.T) {
	t.Parallel()
	const lease, name = "node1-tls", "NodeCredential/node1: "
	w := delivering(t)
	w.create(newKubelet("node2", byAgent))
	w.ready("node2", &v1alpha1.NodeCredential{})
	w.later(13 * time.Minute)
	all := w.contents("node1-tls", "node1-kubeconfig")
	pair, other := w.pair(lease), w.pair("node2-tls")
	second := ack.Report{Verified: w.contents("node2-tls", "node2-kubeconfig")}
	w.signs("node2-tls", 0, second, other)
	good := ack.Report{Installed: all, Verified: all}
	annotate := func(change func(map[string]string)) {
		edit(w, lease, &coordinationv1.Lease{}, func(l *coordinationv1.Lease) { change(l.Annotations) })
	}
	renew := func() { // what anybody can
		edit(w, lease, &coordinationv1.Lease{}, func(l *coordinationv1.Lease) {
			l.Spec.RenewTime, l.Spec.LeaseDurationSeconds = &metav1.MicroTime{Time: w.clock.Now()}, new(int32(1<<30))
		})
	}
	for _, c := range []struct {
		what   string
		do     func()
		reason string
	}{
		{"by a key of his own", func() { w.signs(lease, 0, good, strangersPair(t, pair)) }, v1alpha1.ReasonAcknowledgmentInvalid},
		{"by the key of another object", func() { w.signs(lease, 0, good, other) }, v1alpha1.ReasonAcknowledgmentInvalid},
		{"by nobody", func() {
			w.signs(lease, 0, good, pair)
			annotate(func(a map[string]string) { delete(a, v1alpha1.ReportSignatureAnnotation) })
		}, v1alpha1.ReasonAcknowledgmentInvalid},
		{"another object's, copied over", func() {
			annotate(func(a map[string]string) { maps.Copy(a, w.said("node2-tls")) })
		}, v1alpha1.ReasonAcknowledgmentInvalid},
		{"changed", func() {
			w.signs(lease, 0, ack.Report{Installed: all}, pair)
			annotate(func(a map[string]string) {
				a[v1alpha1.ReportAnnotation] = strings.Replace(a[v1alpha1.ReportAnnotation], `"installed"`, `"verified"`, 1)
			})
		}, v1alpha1.ReasonAcknowledgmentInvalid},
		{"as old as a Lease may be", func() { w.signs(lease, -15*time.Minute, good, pair); renew() }, v1alpha1.ReasonLeaseExpired},
		{"further ahead than clocks are", func() { w.signs(lease, consumers.MaxAhead+time.Second, good, pair); renew() }, v1alpha1.ReasonLeaseExpired},
		{"the agent itself, which has installed it", func() { w.signs(lease, 0, ack.Report{Installed: all}, pair) }, v1alpha1.ReasonNotInUse},
	} {
		t.Log(c.what)
		c.do()
		w.waitsFor(plan.DistributingTrust, name+c.reason)
	}
	w.signs(lease, consumers.MaxAhead-time.Second, good, pair)
	w.phase("k8s", "Reissuing")
}

// TestReplayedReports brings back what an agent signed: by the key of the certificate before, by one that was recorded and never published, and for an
// object of the same name that is gone. None of it acknowledges the certificate that is there.
func TestReplayedReports(t *testing.T) {
	t.Parallel()
	const lease, name = "node1-tls", "NodeCredential/node1: "
	w := delivering(t)
	w.later(13 * time.Minute)
	before := w.pair(lease)
	w.reports(lease, 0, ack.Report{Verified: w.contents("node1-tls", "node1-kubeconfig")})
	said := w.said(lease)
	w.phase("k8s", "Reissuing")
	w.later(13 * time.Minute)
	w.waitsFor(plan.Reissuing, name+v1alpha1.ReasonNotInUse)
	all := w.contents("node1-tls", "node1-kubeconfig")
	putBack := func() {
		edit(w, lease, &coordinationv1.Lease{}, func(l *coordinationv1.Lease) {
			maps.Copy(l.Annotations, said)
			l.Spec.RenewTime = &metav1.MicroTime{Time: w.clock.Now()}
		})
	}
	putBack() // it is young enough, and names what is not in the Secret any more
	w.waitsFor(plan.Reissuing, name+v1alpha1.ReasonNotInUse)
	w.signs(lease, 0, ack.Report{Verified: all}, before)
	w.waitsFor(plan.Reissuing, name+v1alpha1.ReasonNotInUse)
	unpublished := w.recorded("node1", w.pair(lease))
	w.signs(lease, 0, ack.Report{Verified: all}, unpublished)
	w.waitsFor(plan.Reissuing, name+v1alpha1.ReasonNotInUse)
	w.later(10 * time.Minute)
	putBack()
	w.waitsFor(plan.Reissuing, name+v1alpha1.ReasonLeaseExpired)
	w.settled() // what was recorded and never published is the last one: the pair that stands is re-issued
	w.reports(lease, 0, ack.Report{Verified: w.contents("node1-tls", "node1-kubeconfig")})
	w.phase("k8s", "WithdrawingTrust")
	said = w.said(lease)
	last := w.pair(lease)

	var c v1alpha1.NodeCredential
	w.get("node1", &c)
	w.delete(&c)
	for _, o := range []string{"node1-tls", "node1-kubeconfig"} { // as the garbage collector does
		w.delete(w.secret(o))
	}
	w.delete(w.lease(lease))
	w.create(newKubelet("node1", byAgent))
	w.ready("node1", &c)
	putBack()
	w.condition("node1", &c, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, v1alpha1.ReasonAcknowledgmentInvalid)
	w.signs(lease, 0, ack.Report{Verified: w.contents("node1-tls", "node1-kubeconfig")}, last)
	w.condition("node1", &c, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, v1alpha1.ReasonAcknowledgmentInvalid)
	w.reports(lease, 0, ack.Report{Verified: w.contents("node1-tls", "node1-kubeconfig")})
	w.condition("node1", &c, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionTrue, v1alpha1.ReasonInUse)
	if got := w.acknowledgments("node1"); !slices.Contains(got, "Warning AcknowledgmentInvalid") {
		t.Errorf("the events are %v", got)
	}
}

// said is what a Lease says.
func (w *env) said(lease string) map[string]string {
	w.t.Helper()
	out := maps.Clone(w.lease(lease).Annotations)
	maps.DeleteFunc(out, func(key, _ string) bool {
		return key != v1alpha1.ReportAnnotation && key != v1alpha1.ReportSignatureAnnotation
	})
	return out
}

// recorded has another certificate recorded for a credential, which is never published; the operator that starts then knows it.
func (w *env) recorded(credential string, like pki.Leaf) pki.Leaf {
	w.t.Helper()
	var c v1alpha1.NodeCredential
	w.get(credential, &c)
	w.stop()
	out := strangersPair(w.t, like)
	cert := *out.Cert
	cert.SerialNumber, cert.PublicKey = big.NewInt(0x5eed), out.Key.Public()
	out.Cert = &cert
	issue, err := records.NewIssue(records.Object{UID: c.UID, Kind: c.Kind(), Name: c.Name}, out, w.clock.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	r := w.record("k8s")
	nobody := func(context.Context, string, string, string) (types.UID, bool) { return "", false }
	place := records.Place{Namespace: w.ns, NamespaceUID: r.NamespaceUID, HomeUID: r.HomeUID}
	if err := records.New(w.authority, w.api, w.clock.Now, nobody).Record(w.t.Context(), place, issue); err != nil {
		w.t.Fatal(err)
	}
	w.start()
	return out
}

// TestFlood lets somebody write a Lease all the time, and the host itself change its mind: the operator looks at it eight times, and then once in 20
// seconds. What nobody has signed changes a status once, whatever it says.
func TestFlood(t *testing.T) {
	t.Parallel()
	w := standard(t)
	writing := func(change func(l *coordinationv1.Lease, n int)) func(string, pki.Leaf, int) {
		return func(lease string, _ pki.Leaf, n int) {
			edit(w, lease, &coordinationv1.Lease{}, func(l *coordinationv1.Lease) { change(l, n) })
		}
	}
	unsigned := func(l *coordinationv1.Lease, report string) {
		l.Annotations[v1alpha1.ReportAnnotation] = report
		delete(l.Annotations, v1alpha1.ReportSignatureAnnotation)
	}
	for i, c := range []struct {
		what  string
		write func(lease string, pair pki.Leaf, n int)
		once  bool // the status is written once
	}{
		{"a host that changes its mind", func(lease string, pair pki.Leaf, n int) {
			w.signs(lease, 0, ack.Report{Problem: fmt.Sprint("problem ", n)}, pair)
		}, false},
		{"somebody who states something", writing(func(l *coordinationv1.Lease, n int) {
			l.Annotations[v1alpha1.ReportAnnotation] = fmt.Sprintf(`{"verified":{"serialNumber":"%X"},"problem":"%d"}`, n, n)
			l.Annotations[v1alpha1.CSRAnnotation] = fmt.Sprint(n)
		}), true},
		{"somebody with a key of his own", func(lease string, pair pki.Leaf, n int) {
			w.signs(lease, 0, ack.Report{Problem: fmt.Sprint("problem ", n)}, strangersPair(t, pair))
		}, true},
		{"somebody who states nothing", writing(func(l *coordinationv1.Lease, n int) { unsigned(l, fmt.Sprintf(`{"problem":"%d"}`, n)) }), true},
		{"another host", writing(func(l *coordinationv1.Lease, n int) {
			unsigned(l, "{}")
			l.Spec.HolderIdentity = new(fmt.Sprint("host", n))
		}), true},
	} {
		host := fmt.Sprint("flood", i)
		w.create(newKubelet(host, byAgent))
		w.ready(host, &v1alpha1.NodeCredential{})
		pair := w.pair(host + "-tls")
		w.signs(host+"-tls", 0, ack.Report{Verified: w.contents(host+"-tls", host+"-kubeconfig")}, pair)
		w.condition(host, &v1alpha1.NodeCredential{}, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionTrue, v1alpha1.ReasonInUse)
		w.settled()
		const writes = 300
		requests, statuses, began := w.mgr.Requests.Made(), w.mgr.Requests.Statuses(), time.Now()
		for n := range writes {
			c.write(host+"-tls", pair, n)
		}
		w.condition(host, &v1alpha1.NodeCredential{}, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, "")
		looks := int64(8+1) + int64(time.Since(began)/(20*time.Second))
		requests, statuses = w.mgr.Requests.Made()-requests, w.mgr.Requests.Statuses()-statuses
		if requests > 2*looks || c.once && statuses > 2 { // once, and again where a cache was behind
			t.Errorf("%s: %d writes brought %d requests, %d of them writes of a status, in at most %d looks", c.what, writes, requests, statuses, looks)
		}
	}
}
