package authority

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/delivery"
)

// NextPublic is the public half of the key that is to sign after this one; nil where there is none.
func (k *DeliveryKey) NextPublic() ed25519.PublicKey {
	if k.next == nil {
		return nil
	}
	return k.next.Public().(ed25519.PublicKey) //nolint:forcetypeassert // what a key of Ed25519 returns
}

// NextID names that public half, "" where there is none.
func (k *DeliveryKey) NextID() string {
	if k.next == nil {
		return ""
	}
	return delivery.KeyID(k.NextPublic())
}

// WithNext is a delivery key with one that is to sign after it: the one that it has, or another one, which is named now.
func (k *DeliveryKey) WithNext(now time.Time) (*DeliveryKey, error) {
	out := k.Rebound(k.Namespace, k.NamespaceUID)
	if out.next != nil {
		return out, nil
	}
	var err error
	if _, out.next, err = ed25519.GenerateKey(nil); err != nil {
		return nil, fmt.Errorf("make a delivery key: %w", err)
	}
	out.NextNamed = now.UTC().Truncate(time.Second)
	return out, nil
}

// maxFormer is how many former keys a key remembers: one for each change that a person asks for.
const maxFormer = 256

// Succeeded is the next key in the place of the present one.
func (k *DeliveryKey) Succeeded() *DeliveryKey {
	former := append(slices.Clone(k.Former), k.ID())
	return &DeliveryKey{Namespace: k.Namespace, NamespaceUID: k.NamespaceUID, Former: former[max(0, len(former)-maxFormer):], key: k.next}
}

// SameAs says whether two are one key.
func (k *DeliveryKey) SameAs(other *DeliveryKey) bool { return k.key.Equal(other.key) }

// Follows says whether a key is another one, or has come after that, at once or later.
func (k *DeliveryKey) Follows(other *DeliveryKey) bool {
	return k.SameAs(other) || slices.Contains(k.Former, other.ID())
}

// DeliveryNamespace is the namespace whose delivery key a Secret of the authority namespace holds; ok is false where it holds none.
func DeliveryNamespace(o client.Object) (namespace string, ok bool) {
	s, secret := o.(*corev1.Secret)
	if !secret || s.Type != DeliverySecretType {
		return "", false
	}
	return strings.CutPrefix(s.Name, DeliveryName(""))
}

// DeliveryVersion tells a namespace's delivery keys at one time from those at another, as the cache knows them; "" where it knows none.
func (s *Store) DeliveryVersion(ctx context.Context, namespace string) (string, error) {
	if s.cache == nil {
		return "", nil
	}
	var secret corev1.Secret
	err := s.cache.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: DeliveryName(namespace)}, &secret)
	if client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("read the version of the delivery key of namespace %q: %w", namespace, err)
	}
	return secret.ResourceVersion, nil
}

// publicHalves are what the ConfigMap of a delivery key holds.
func (k *DeliveryKey) publicHalves() (map[string]string, error) {
	out := map[string]string{}
	for name, key := range map[string]ed25519.PublicKey{DeliveryPublicKey: k.public(), DeliveryNextPublicKey: k.NextPublic()} {
		if key == nil {
			continue
		}
		text, err := delivery.EncodePublic(key)
		if err != nil {
			return nil, err
		}
		out[name] = string(text)
	}
	return out, nil
}

// publishedDelivery reads the ConfigMap of a delivery key; one without a version where there is none.
func (s *Store) publishedDelivery(ctx context.Context, namespace string) (*corev1.ConfigMap, error) {
	published := &corev1.ConfigMap{}
	err := s.live.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: DeliveryName(namespace)}, published)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read the public half of the delivery key of namespace %q: %w", namespace, err)
	}
	return published, nil
}

// maxPublished is how often it is tried to publish a key against others who do.
const maxPublished = 5

// published tries it again where others published meanwhile: what was read is none the worse for it.
func published(once func() (*DeliveryKey, error)) (*DeliveryKey, error) {
	key, err := once()
	for n := 1; n < maxPublished && apierrors.IsConflict(err); n++ {
		key, err = once()
	}
	return key, err
}

// PublishDelivery publishes the delivery key of a namespace as it is stored, and returns it; nil where there is none.
func (s *Store) PublishDelivery(ctx context.Context, namespace string) (*DeliveryKey, error) {
	return published(func() (*DeliveryKey, error) {
		published, err := s.publishedDelivery(ctx, namespace)
		if err != nil {
			return nil, err
		}
		key, err := s.StoredDelivery(ctx, namespace)
		if err != nil || key == nil {
			return nil, err
		}
		return key, s.publish(ctx, key, published)
	})
}

// publish writes the public halves of a delivery key and of the next one where whoever prepares a host reads them, if they do not stand
// there. The ConfigMap was read before the key: so nobody's later key is written over.
func (s *Store) publish(ctx context.Context, k *DeliveryKey, published *corev1.ConfigMap) error {
	halves, err := k.publicHalves()
	if err != nil {
		return err
	}
	if maps.Equal(published.Data, halves) {
		return nil
	}
	write := func() error { return s.live.Update(ctx, published) }
	if published.ResourceVersion == "" {
		write = func() error { return s.live.Create(ctx, published) }
	}
	published.Namespace, published.Name = s.namespace, DeliveryName(k.Namespace)
	published.Data = halves
	if err := write(); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("publish the delivery key of namespace %q: %w", k.Namespace, err)
	}
	return nil
}

// PublishedDelivery reads the public halves of a namespace's delivery keys, as an agent's configuration has them: of the present one, and of the
// next one if there is one.
func PublishedDelivery(ctx context.Context, from client.Reader, home, namespace string) ([]string, error) {
	var published corev1.ConfigMap
	err := from.Get(ctx, client.ObjectKey{Namespace: home, Name: DeliveryName(namespace)}, &published)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("the operator has made no delivery key of namespace %q yet, which it does once something there is issued with "+
			"delivery.mode: Agent (ConfigMap %q of the authority namespace %q): set that, and try again", namespace, DeliveryName(namespace), home)
	}
	if err != nil {
		return nil, fmt.Errorf("read the public half of the delivery key: %w", err)
	}
	var out []string
	for _, name := range []string{DeliveryPublicKey, DeliveryNextPublicKey} {
		text, there := published.Data[name]
		if !there && name == DeliveryNextPublicKey {
			continue
		}
		if _, err := delivery.ParsePublic([]byte(text)); err != nil {
			return nil, errors.Join(fmt.Errorf("ConfigMap %q of the authority namespace is damaged: delete its data, and the operator writes it "+
				"anew", published.Name), err)
		}
		out = append(out, text)
	}
	return out, nil
}
