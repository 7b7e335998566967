package controller

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// namespaceState is everything in a namespace that a CA's gates ask.
type namespaceState struct {
	cas         []v1alpha1.ClusterCA
	servers     []v1alpha1.APIServerCertificate
	credentials []v1alpha1.NodeCredential
	secrets     []corev1.Secret
	leases      map[string]*coordinationv1.Lease // by name, of the agents of hosts
	ledgers     map[string]plan.Ledger           // of every CA, by the owner of its ConfigMap
	wire        wire
	published   []*x509.Certificate // the roots in the bundle of the CA that is asked about
	withdrawn   []*x509.Certificate // those that were there
	now         time.Time
}

// readNamespace reads it from the cache or from the API server itself.
func (r *clusterCAs) readNamespace(ctx context.Context, from client.Reader, namespace string) (namespaceState, error) {
	var cas v1alpha1.ClusterCAList
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	for _, list := range []client.ObjectList{&cas, &servers, &credentials} {
		if err := from.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			return namespaceState{}, fmt.Errorf("list the consumers of the CA: %w", err)
		}
	}
	n := namespaceState{
		cas: cas.Items, servers: servers.Items, credentials: credentials.Items,
		leases: map[string]*coordinationv1.Lease{}, ledgers: map[string]plan.Ledger{}, wire: r.wire, now: r.clock.Now(),
	}
	var err error
	if n.secrets, err = r.readSecrets(ctx, from, namespace, n); err != nil {
		return namespaceState{}, fmt.Errorf("list the Secrets of the CA's consumers: %w", err)
	}
	var maps corev1.ConfigMapList
	var leases coordinationv1.LeaseList
	for _, list := range []client.ObjectList{&maps, &leases} {
		err := from.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy,
			client.MatchingLabels{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})
		if err != nil {
			return namespaceState{}, fmt.Errorf("list the ledgers, and what agents say: %w", err)
		}
	}
	for i := range leases.Items {
		n.leases[leases.Items[i].Name] = &leases.Items[i]
	}
	for i := range maps.Items {
		if l, err := plan.ParseLedger(maps.Items[i].Data[ledgerKey]); err == nil {
			n.ledgers[maps.Items[i].Annotations[v1alpha1.OwnerAnnotation]] = l
		}
	}
	return n, nil
}

// readSecrets reads the operator's own Secrets. What a gate asks is in their annotations: from the API server itself,
// the data of thousands of Secrets, with their keys, is asked for only where certificates are looked at too.
func (r *clusterCAs) readSecrets(ctx context.Context, from client.Reader, namespace string, n namespaceState) ([]corev1.Secret, error) {
	opts := []client.ListOption{
		client.InNamespace(namespace), client.UnsafeDisableDeepCopy,
		client.MatchingLabels{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
	}
	names, enough := n.looksInto()
	if from != r.live || !enough {
		var list corev1.SecretList
		err := from.List(ctx, &list, opts...)
		return list.Items, err //nolint:wrapcheck // the caller says what for
	}
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := from.List(ctx, &list, opts...); err != nil {
		return nil, err //nolint:wrapcheck // the caller says what for
	}
	out := make([]corev1.Secret, len(list.Items))
	for i := range list.Items {
		out[i].ObjectMeta = list.Items[i].ObjectMeta
		if !names[out[i].Name] {
			continue
		}
		s, err := r.liveSecret(ctx, namespace, out[i].Name)
		if err != nil {
			return nil, err
		}
		if s != nil { // else it has just gone: what it held counts, its certificate does not
			out[i] = *s
		}
	}
	return out, nil
}

// looksInto names the Secrets whose certificates are looked at: those of API servers, and those of which a person
// states which certificate has arrived. enough is false where these may be many.
func (n namespaceState) looksInto() (names map[string]bool, enough bool) {
	names = map[string]bool{}
	for i := range n.servers {
		names[n.servers[i].TLSSecretName()] = true
	}
	for i := range n.cas {
		names[n.cas[i].Spec.SecretName] = true
	}
	manual := func(c v1alpha1.NodeCredential) bool { return c.Spec.Delivery.Mode == v1alpha1.DeliveryManual }
	return names, !slices.ContainsFunc(n.credentials, manual)
}

// peers are the consumers of a CA, and what they have acknowledged: those whose specs name it, and those whose
// Secrets still depend on it. newest is the revision of the CA's ledger.
func (n namespaceState) peers(ca string, newest int64) []plan.Peer {
	a := asking{namespaceState: n, ca: ca, newest: newest, above: map[string]string{}, owners: n.byOwner(), servedBy: map[string]string{}}
	for i := range n.cas {
		a.above[n.cas[i].Name] = parentOf(&n.cas[i])
	}
	for i := range n.servers {
		a.server(&n.servers[i])
	}
	for i := range n.credentials {
		a.credential(&n.credentials[i])
	}
	for i := range n.cas {
		a.publisher(&n.cas[i])
	}
	a.authorities()
	a.orphans()
	return a.peers
}

// kept is a Secret and its record, which is read once: there may be thousands, and several questions to each.
type kept struct {
	secret *corev1.Secret
	holds  holding
}

// byOwner sorts the Secrets by the objects that they were made for.
func (n namespaceState) byOwner() map[string][]kept {
	out := map[string][]kept{}
	for i := range n.secrets {
		s := &n.secrets[i]
		owner := s.Annotations[v1alpha1.OwnerAnnotation]
		out[owner] = append(out[owner], kept{s, holdingIn(s)})
	}
	return out
}

// asking asks everybody about one CA.
type asking struct {
	namespaceState
	ca       string
	newest   int64             // revision of its ledger
	above    map[string]string // ClusterCA → the one that signs it
	owners   map[string][]kept // by owner; those of owners that are gone remain
	servedBy map[string]string // API server → the CA that signs for it
	peers    []plan.Peer
}

// roots says whether the CA asked about is another one, or above it: its bundle is part of the other's.
func (a *asking) roots(other string) bool {
	for range len(a.above) + 1 { // a circle ends too
		if other == a.ca {
			return true
		}
		if other = a.above[other]; other == "" {
			return false
		}
	}
	return false
}

// use is a bundle or a certificate that an object should have in a Secret.
type use struct {
	secret string
	key    string // of the bundle; "" for the certificate
	ca     string
}

func (a *asking) server(c *v1alpha1.APIServerCertificate) {
	a.servedBy[c.Name] = c.Spec.CARef.Name
	tls := c.TLSSecretName()
	uses := []use{{tls, "", c.Spec.CARef.Name}, {tls, bundleKey, c.Spec.CARef.Name}}
	for _, name := range c.ClientCANames() {
		uses = append(uses, use{tls, clientBundleKey, name})
	}
	if c.Spec.RequestHeaderCARef != nil {
		uses = append(uses, use{tls, headerBundleKey, c.Spec.RequestHeaderCARef.Name})
	}
	p, asked := a.peer(c, kindAPIServerCertificate, a.answer(c, kindAPIServerCertificate, c.Spec.Delivery, c.LeaseName(), c.Spec.HostName), uses)
	if asked {
		a.look(c, &p)
		a.peers = append(a.peers, p)
	}
}

func (a *asking) credential(c *v1alpha1.NodeCredential) {
	tls := c.TLSSecretName()
	uses := []use{{tls, "", c.Spec.CARef.Name}, {tls, bundleKey, c.Spec.CARef.Name}}
	if c.Spec.Kubeconfig != nil {
		uses = append(uses, use{c.KubeconfigSecretName(), "", c.Spec.CARef.Name})
		if c.Spec.APIServerRef != nil {
			if ca := a.servedBy[c.Spec.APIServerRef.Name]; ca != "" {
				uses = append(uses, use{c.KubeconfigSecretName(), bundleKey, ca})
			}
		}
	}
	if p, asked := a.peer(c, kindNodeCredential, a.answer(c, kindNodeCredential, c.Spec.Delivery, c.LeaseName(), c.Spec.HostName), uses); asked {
		a.peers = append(a.peers, p)
	}
}

// publisher asks a ClusterCA that publishes its signing pair: whoever signs with that must have got it.
func (a *asking) publisher(c *v1alpha1.ClusterCA) {
	if c.Name != a.ca || c.Spec.SecretName == "" {
		return
	}
	p := plan.Peer{Name: "Secret/" + c.Spec.SecretName, HasLeaf: true}
	owner := ownerText(kindClusterCA, c.Name)
	a.owners[owner] = slices.DeleteFunc(a.owners[owner], func(s kept) bool {
		named := s.secret.Name == c.Spec.SecretName
		if named && s.holds.Issuer == a.ca {
			p.Issued, p.Leaf = s.holds.Generation, answerOf(c.Spec.Delivery, nil, "", a.now).leaf(s)
		}
		return named
	})
	a.peers = append(a.peers, p)
}

// authorities asks the ClusterCAs that the CA signs, or signed: each has let go of a key once no generation in its
// bundle is of that key. What their ledgers say counts, beside their specs.
func (a *asking) authorities() {
	seeds := map[string]uint32{}
	for i := range a.cas {
		owner := ownerText(kindClusterCA, a.cas[i].Name)
		seeds[owner] = seedOf(&a.cas[i])
		if _, begun := a.ledgers[owner]; !begun && parentOf(&a.cas[i]) == a.ca {
			a.peers = append(a.peers, plan.Peer{Name: owner, Seed: seeds[owner], HasLeaf: true})
		}
	}
	for owner, l := range a.ledgers {
		oldest, youngest := generationsAbove(l, a.ca)
		if oldest == 0 {
			continue
		}
		seed, there := seeds[owner]
		a.peers = append(a.peers, plan.Peer{Name: owner, Seed: seed, HasLeaf: true, Leaf: oldest, Issued: youngest, Adrift: !there})
	}
}

// generationsAbove are the oldest and the youngest generation of a CA that another CA's published keys are of; 0: none is.
func generationsAbove(l plan.Ledger, ca string) (oldest, youngest int32) {
	for _, g := range l.Published() {
		if g.Parent.Name != ca {
			continue
		}
		if oldest == 0 || g.Parent.Generation < oldest {
			oldest = g.Parent.Generation
		}
		youngest = max(youngest, g.Parent.Generation)
	}
	return oldest, youngest
}

// answer is how an object acknowledges. The Lease is found by its name, which no agent can change, and not by what is
// written on it.
func (a *asking) answer(o client.Object, kind string, d v1alpha1.DeliverySpec, lease, host string) answer {
	l := a.leases[lease]
	if l != nil && !ownedBy(l, o, kind) {
		l = nil
	}
	return answerOf(d, l, host, a.now)
}

// peer asks one object about every use that it should make of the CA, and about all that its Secrets hold.
func (a *asking) peer(o client.Object, kind string, said answer, uses []use) (p plan.Peer, asked bool) {
	p = plan.Peer{Name: ownerText(kind, o.GetName()), Seed: seedOf(o), Note: said.note}
	secrets := map[string]kept{}
	a.owners[p.Name] = slices.DeleteFunc(a.owners[p.Name], func(s kept) bool {
		named := ownedBy(s.secret, o, kind) && slices.ContainsFunc(uses, func(u use) bool { return u.secret == s.secret.Name })
		if named {
			secrets[s.secret.Name] = s
		}
		return named
	})
	v := verdict{said: said, newest: a.newest}
	for _, u := range uses {
		switch h := secrets[u.secret].holds; { // of a Secret that is not there: nothing
		case u.key == "" && u.ca == a.ca && h.Issuer != a.ca:
			v.leaf(0, 0) // not issued yet
		case u.key != "" && a.roots(u.ca):
			if _, ok := h.Trust[u.key][a.ca]; !ok {
				v.trust(0) // not rendered yet
			}
		}
	}
	for _, s := range secrets {
		v.holds(s, a.ca)
	}
	p.Trusts, p.Trust, p.HasLeaf, p.Leaf, p.Issued = v.trusts, v.lowest, v.hasLeaf, v.inUse, v.issued
	return p, p.Trusts || p.HasLeaf
}

// orphans are Secrets whose objects are gone, or name others: nobody knows whether they are still in use, and
// nothing changes them any more.
func (a *asking) orphans() {
	for _, secrets := range a.owners {
		for _, s := range secrets {
			v := verdict{}
			v.holds(s, a.ca)
			if (v.trusts || v.hasLeaf) && s.secret.DeletionTimestamp == nil {
				name := "Secret/" + s.secret.Name + " (no object names it any more)"
				a.peers = append(a.peers, plan.Peer{Name: name, Trusts: v.trusts, HasLeaf: v.hasLeaf, Adrift: true})
			}
		}
	}
	slices.SortFunc(a.peers, func(x, y plan.Peer) int { return strings.Compare(x.Name, y.Name) })
}

// verdict collects the answers of one object: the least of them counts.
type verdict struct {
	said          answer
	newest        int64 // revision of the CA's ledger
	trusts        bool
	lowest        int64
	hasLeaf       bool
	inUse, issued int32
}

func (v *verdict) trust(revision int64) {
	if !v.trusts || revision < v.lowest {
		v.trusts, v.lowest = true, revision
	}
}

func (v *verdict) leaf(inUse, issued int32) {
	if !v.hasLeaf {
		v.hasLeaf, v.inUse, v.issued = true, inUse, issued
		return
	}
	v.inUse, v.issued = min(v.inUse, inUse), min(v.issued, issued)
}

// holds asks about what a Secret holds now, and what it held before that may still be in use.
func (v *verdict) holds(k kept, ca string) {
	h := k.holds
	if held, ok := h.revision(ca); ok && (held > v.newest || v.said.beyond(ca, v.newest)) {
		v.trust(0) // of a ledger that was replaced by an older one
	} else if ok {
		v.trust(v.said.trust(h, ca))
	}
	if h.Issuer == ca {
		v.leaf(v.said.leaf(k), h.Generation)
	}
	if slices.Contains(h.Left, ca) && !v.said.settled(k) {
		v.trust(0)
		v.leaf(0, 0)
	}
}
