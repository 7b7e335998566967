package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/status"
)

// caKey is the key of a Secret or a trust ConfigMap that holds a bundle.
const caKey = "ca.crt"

// Inputs is what was read.
type Inputs struct {
	// Objects are those of the namespace, and Kind and Name the one that is inspected; no Kind for Secrets and files.
	Objects    status.Objects
	Kind, Name string

	sources []source
	bundles map[string]bundle // by the ClusterCA
	lease   *coordinationv1.Lease
	events  []corev1.Event
	unread  []string
}

// source is one Secret, ConfigMap or file as it was read.
type source struct {
	name   string
	secret *corev1.Secret // nil for anything else
	ca     string         // the ClusterCA whose bundle verifies it, "" for none
	owner  string         // of the operator's own Secrets
	claim  consumers.Claim
	unread string
	absent bool
	items  []material
}

// bundle is what a ClusterCA publishes: what is in the ConfigMap, and what its status says.
type bundle struct {
	material
	generations []v1alpha1.GenerationStatus
	digest      string // "": the status does not tell
	unread      string
}

// Gather reads what there is about an object of the given kind. What may not be read is noted, and the rest is read.
func Gather(ctx context.Context, from client.Reader, namespace string, objects status.Objects, kind, name string) Inputs {
	s := Inputs{Objects: objects, Kind: kind, Name: name, bundles: map[string]bundle{}}
	ca, secrets, lease := s.about()
	g := gatherer{Inputs: &s, from: from, namespace: namespace}
	g.bundle(ctx, ca)
	for _, n := range secrets {
		if src := g.secret(ctx, n); src.secret != nil || src.unread != "" {
			src.ca = ca
			s.sources = append(s.sources, src)
		}
	}
	if lease != "" {
		s.lease = &coordinationv1.Lease{}
		if err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: lease}, s.lease); err != nil {
			s.lease = nil
			s.unread = append(s.unread, why("Lease/"+lease, err))
		}
	}
	g.latest(ctx)
	return s
}

// GatherSecret reads one Secret, and the bundle of the ClusterCA that signed what is in it.
func GatherSecret(ctx context.Context, from client.Reader, namespace, name string) (Inputs, error) {
	s := Inputs{bundles: map[string]bundle{}}
	g := gatherer{Inputs: &s, from: from, namespace: namespace}
	var secret corev1.Secret
	if err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &secret); err != nil {
		return Inputs{}, fmt.Errorf("read Secret %q: %w", name, err)
	}
	src := sourceOf(&secret)
	if src.ca != "" {
		var ca v1alpha1.ClusterCA
		if err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: src.ca}, &ca); err == nil {
			s.Objects.CAs = append(s.Objects.CAs, ca)
		} else {
			s.unread = append(s.unread, why("ClusterCA/"+src.ca, err))
		}
	}
	g.bundle(ctx, src.ca)
	s.sources = append(s.sources, src)
	return s, nil
}

type gatherer struct {
	*Inputs
	from      client.Reader
	namespace string
}

// about is what belongs to the object: the ClusterCA that verifies it, its Secrets and its Lease. Of a ClusterCA no Secret
// is read: its certificates are in the bundle, and its key is nobody's business.
func (s *Inputs) about() (ca string, secrets []string, lease string) {
	if s.Kind == status.KindClusterCA {
		return s.Name, nil, ""
	}
	if k := s.accountKey(); k != nil {
		return "", []string{k.KeySecretName()}, ""
	}
	if c := s.server(); c != nil {
		secrets = append(secrets, c.TLSSecretName())
		return c.Spec.CARef.Name, secrets, leaseFor(c.Spec.Delivery, c.LeaseName())
	}
	if c := s.credential(); c != nil {
		secrets = append(secrets, c.TLSSecretName())
		if file := c.KubeconfigSecretName(); file != "" {
			secrets = append(secrets, file)
		}
		return c.Spec.CARef.Name, secrets, leaseFor(c.Spec.Delivery, c.LeaseName())
	}
	return "", nil, ""
}

func leaseFor(d v1alpha1.DeliverySpec, name string) string {
	if d.Mode != v1alpha1.DeliveryAgent {
		return ""
	}
	return name
}

func (s *Inputs) ca() *v1alpha1.ClusterCA {
	if s.Kind != status.KindClusterCA {
		return nil
	}
	return s.caNamed(s.Name)
}

func (s *Inputs) caNamed(name string) *v1alpha1.ClusterCA {
	for i := range s.Objects.CAs {
		if c := &s.Objects.CAs[i]; c.Name == name {
			return c
		}
	}
	return nil
}

func (s *Inputs) accountKey() *v1alpha1.ServiceAccountKey {
	for i := range s.Objects.Keys {
		if k := &s.Objects.Keys[i]; s.Kind == status.KindServiceAccountKey && k.Name == s.Name {
			return k
		}
	}
	return nil
}

func (s *Inputs) server() *v1alpha1.APIServerCertificate {
	for i := range s.Objects.Servers {
		if c := &s.Objects.Servers[i]; s.Kind == status.KindAPIServerCertificate && c.Name == s.Name {
			return c
		}
	}
	return nil
}

func (s *Inputs) credential() *v1alpha1.NodeCredential {
	for i := range s.Objects.Credentials {
		if c := &s.Objects.Credentials[i]; s.Kind == status.KindNodeCredential && c.Name == s.Name {
			return c
		}
	}
	return nil
}

// secret reads a Secret, or notes why not.
func (g *gatherer) secret(ctx context.Context, name string) source {
	var secret corev1.Secret
	if err := g.from.Get(ctx, client.ObjectKey{Namespace: g.namespace, Name: name}, &secret); err != nil {
		return source{name: "Secret/" + name, unread: why("", err), absent: apierrors.IsNotFound(err)}
	}
	return sourceOf(&secret)
}

func sourceOf(secret *corev1.Secret) source {
	out := source{name: "Secret/" + secret.Name, secret: secret, claim: consumers.Unsealed(secret.Annotations)}
	if out.claim.UID != "" { // else it is not the operator's, or not any more
		out.owner = secret.Annotations[v1alpha1.OwnerAnnotation]
	}
	for _, key := range slices.Sorted(maps.Keys(secret.Data)) {
		out.items = append(out.items, read(key, secret.Data[key]))
	}
	match(out.items)
	out.ca = out.claim.Issuer
	if kind, name, ok := strings.Cut(out.owner, "/"); ok && out.ca == "" && kind == status.KindClusterCA {
		out.ca = name
	}
	return out
}

// bundle reads what a ClusterCA publishes.
func (g *gatherer) bundle(ctx context.Context, ca string) {
	if ca == "" {
		return
	}
	var cm corev1.ConfigMap
	key := client.ObjectKey{Namespace: g.namespace, Name: v1alpha1.TrustConfigMapName(ca)}
	if err := g.from.Get(ctx, key, &cm); err != nil {
		g.bundles[ca] = bundle{unread: why("", err)}
		return
	}
	b := bundle{material: read(caKey, []byte(cm.Data[caKey]))}
	if c := g.caNamed(ca); c != nil {
		b.generations, b.digest = c.Status.Generations, c.Status.Trust.BundleSHA256
	}
	g.bundles[ca] = b
}

// maxEvents is how many events are shown.
const maxEvents = 8

// latest reads the last events of the object.
func (g *gatherer) latest(ctx context.Context) {
	var list corev1.EventList
	only := client.MatchingFields{"involvedObject.kind": g.Kind, "involvedObject.name": g.Name}
	if err := g.from.List(ctx, &list, client.InNamespace(g.namespace), only); err != nil {
		g.unread = append(g.unread, why("the events", err))
		return
	}
	slices.SortFunc(list.Items, func(a, b corev1.Event) int { return timeOf(&a).Compare(timeOf(&b)) })
	g.events = list.Items[max(0, len(list.Items)-maxEvents):]
}

// why says in short why something could not be read.
func why(what string, err error) string {
	text := err.Error()
	switch {
	case apierrors.IsNotFound(err):
		text = "it does not exist"
	case apierrors.IsForbidden(err):
		text = "you may not read it"
		if s, ok := errors.AsType[*apierrors.StatusError](err); ok && s.Status().Details != nil {
			text += fmt.Sprintf(": that needs the right to get %s", s.Status().Details.Kind)
		}
	}
	if what == "" {
		return text
	}
	return what + ": " + text
}

// timeOf is when an event was last seen.
func timeOf(e *corev1.Event) time.Time {
	for _, t := range []metav1.Time{e.LastTimestamp, {Time: e.EventTime.Time}, e.CreationTimestamp} {
		if !t.IsZero() {
			return t.Time
		}
	}
	return time.Time{}
}
