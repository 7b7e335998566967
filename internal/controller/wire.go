package controller

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/probe"
)

// wire is what was seen of API servers by looking at them.
type wire interface {
	Set(key probe.Key, t probe.Target)
	Remove(key probe.Key)
	Seen(key probe.Key) probe.Seen
}

// newProber makes the wire, and the events that tell of what it sees.
func newProber(looked func(error)) (*probe.Prober, <-chan event.GenericEvent) {
	seen := make(chan event.GenericEvent)
	return probe.New(probe.Options{Looked: looked, Notify: func(ctx context.Context, key probe.Key) {
		o := &v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		select {
		case seen <- event.GenericEvent{Object: o}:
		case <-ctx.Done():
		}
	}}), seen
}

func probeKey(o client.ObjectKey) probe.Key { return probe.Key{Namespace: o.Namespace, Name: o.Name} }

// watch looks at an API server from now on, if it says where.
func (r *apiServerCertificates) watch(c *v1alpha1.APIServerCertificate) {
	key := probeKey(client.ObjectKeyFromObject(c))
	if c.Spec.Probe == nil {
		r.wire.Remove(key)
		return
	}
	r.wire.Set(key, probe.Target{Addresses: c.Spec.Probe.Addresses, Interval: c.Spec.Probe.Interval.Duration})
}

// serving says, as a condition, whether what was seen of an API server is what its Secret holds.
func (r *apiServerCertificates) serving(c *v1alpha1.APIServerCertificate, st leafState, clients []*x509.Certificate) []metav1.Condition {
	if c.Spec.Probe == nil || st.observed == nil || st.observed.Err != nil {
		return nil
	}
	seen := r.wire.Seen(probeKey(client.ObjectKeyFromObject(c)))
	out := metav1.Condition{Type: v1alpha1.ServingCondition, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNotSeen}
	unknown := slices.IndexFunc(clients, func(ca *x509.Certificate) bool { return !seen.Trusts(ca) })
	switch {
	case !seen.Settled:
		out.Message = strings.Join(seen.Problems, "; ")
	case !seen.Serves(st.observed.Pair.Cert):
		out.Message = fmt.Sprintf("it serves another certificate than the one in Secret %q: has the Secret reached it?", c.TLSSecretName())
	case unknown >= 0:
		out.Message = fmt.Sprintf("it does not accept clients of the CA %q, which is in the bundle of Secret %q: has the Secret reached it?",
			clients[unknown].Subject, c.TLSSecretName())
	default:
		out.Status, out.Reason = metav1.ConditionTrue, v1alpha1.ReasonSeen
		out.Message = "every address serves the certificate in the Secret, and accepts the clients of every CA in its bundle"
	}
	return []metav1.Condition{out}
}

// look lets what an API server really serves and trusts count too, where it can be looked at.
func (a *asking) look(c *v1alpha1.APIServerCertificate, p *plan.Peer) {
	if c.Spec.Probe == nil {
		return
	}
	seen := a.wire.Seen(probeKey(client.ObjectKeyFromObject(c)))
	clients := c.ClientCANames()
	if c.Spec.RequestHeaderCARef != nil {
		clients = append(clients, c.Spec.RequestHeaderCARef.Name)
	}
	stored := a.stored(c)
	ours := serves(seen, stored) // or it may be anybody
	if slices.ContainsFunc(clients, a.roots) && (!ours || !a.agrees(seen, stored)) {
		p.Trust = 0
	}
	if c.Spec.CARef.Name == a.ca && !ours {
		p.Leaf = 0
	}
}

// agrees says whether an API server names every CA that is published, and none that was withdrawn, unless its Secret
// holds that one for the sake of another CA.
func (a *asking) agrees(seen probe.Seen, stored *corev1.Secret) bool {
	for _, ca := range a.published {
		if !seen.Trusts(ca) {
			return false
		}
	}
	kept := slices.Clone(a.published)
	for _, key := range []string{clientBundleKey, headerBundleKey} {
		if certs, err := pki.ParseCertificates(stored.Data[key]); err == nil {
			kept = append(kept, certs...)
		}
	}
	for _, ca := range a.withdrawn {
		named := slices.ContainsFunc(kept, func(k *x509.Certificate) bool { return string(k.RawSubject) == string(ca.RawSubject) })
		if !named && !seen.Dropped(ca) { // one of the same name cannot be told apart
			return false
		}
	}
	return true
}

// stored is the Secret of an API server, empty where there is none.
func (a *asking) stored(c *v1alpha1.APIServerCertificate) *corev1.Secret {
	i := slices.IndexFunc(a.secrets, func(s corev1.Secret) bool { return s.Name == c.TLSSecretName() })
	if i < 0 {
		return &corev1.Secret{}
	}
	return &a.secrets[i]
}

// serves says whether an API server serves the certificate that is in its Secret.
func serves(seen probe.Seen, stored *corev1.Secret) bool {
	certs, err := pki.ParseCertificates(stored.Data[corev1.TLSCertKey])
	return err == nil && seen.Serves(certs[0])
}
