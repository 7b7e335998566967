package authority

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/delivery"
)

// DeliverySecretType is the type of a Secret that holds the key which signs what the agents of a namespace's hosts install.
const DeliverySecretType corev1.SecretType = "clusterpki.io/delivery"

// Keys of that Secret, and of the ConfigMap of its name, which holds the public half alone.
const (
	deliveryDocument = "delivery.json"
	deliveryKey      = "delivery.key"
	deliveryNextKey  = "next.key"
	// DeliveryPublicKey is the key of the ConfigMap, and DeliveryNextPublicKey that of the one which is to sign after it.
	DeliveryPublicKey     = "delivery.pub"
	DeliveryNextPublicKey = "next.pub"
)

// DeliveryName is the name of the Secret of a namespace's delivery key, and of the ConfigMap with its public half.
func DeliveryName(namespace string) string { return "delivery." + namespace }

// DeliveryKey signs what the agents of a namespace's hosts install.
type DeliveryKey struct {
	Namespace string `json:"namespace"`
	// NamespaceUID is of the namespace that it is for: one of the same name that somebody else makes does not inherit it.
	NamespaceUID types.UID `json:"namespaceUID"`
	// Former are the IDs of those that signed before it, the last of them last: hosts have retired these.
	Former []string `json:"former,omitempty"`
	// NextNamed is when the next key was named, by the API server's clock: no report of before says that an agent has it. Zero: there is none.
	NextNamed time.Time `json:"nextNamed,omitzero"`
	key       ed25519.PrivateKey
	next      ed25519.PrivateKey // that is to sign after it, once every agent has it; nil: there is none
	version   string             // of the Secret
}

// ID names its public half.
func (k *DeliveryKey) ID() string { return delivery.KeyID(k.public()) }

func (k *DeliveryKey) public() ed25519.PublicKey {
	return k.key.Public().(ed25519.PublicKey) //nolint:forcetypeassert // what a key of Ed25519 returns
}

// Sign signs a document of its namespace.
func (k *DeliveryKey) Sign(d delivery.Document) ([]byte, error) {
	if d.Namespace != k.Namespace {
		return nil, fmt.Errorf("the delivery key of namespace %q signs nothing of namespace %q", k.Namespace, d.Namespace)
	}
	return delivery.Sign(k.key, d)
}

// String keeps it out of logs.
func (k *DeliveryKey) String() string { return "delivery key of namespace " + k.Namespace }

// RetainedError says that a namespace's delivery key belongs to another one of its name.
type RetainedError struct{ Namespace, Secret string }

func (e *RetainedError) Error() string {
	return fmt.Sprintf("the delivery key of namespace %q (Secret %q of the authority namespace) is that of another namespace of this name, which was there "+
		"before: if it is this one's, run `clusterpki authority release -n %s --all`", e.Namespace, e.Secret, e.Namespace)
}

// LostError says that a namespace had a delivery key, and the authority namespace has it no more.
type LostError struct{ Namespace, Secret string }

func (e *LostError) Error() string {
	return fmt.Sprintf("the authority namespace has no Secret %q, which holds the delivery key of namespace %q, and had it before: restore it from a backup; "+
		"or delete the ConfigMap of that name there to have another one made, which each agent's configuration must then be given", e.Secret, e.Namespace)
}

// deliveries are the keys that were read, by namespace: none waits for another namespace's.
type deliveries struct {
	mu sync.Mutex
	of map[string]*keptDelivery
}

type keptDelivery struct {
	mu   sync.Mutex
	key  *DeliveryKey
	read time.Time
}

func (d *deliveries) get(namespace string) *keptDelivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = map[string]*keptDelivery{}
	}
	if d.of[namespace] == nil {
		d.of[namespace] = &keptDelivery{}
	}
	return d.of[namespace]
}

// forget has a key read again: the cache may not know yet.
func (d *deliveries) forget(namespace string) {
	kept := d.get(namespace)
	kept.mu.Lock()
	defer kept.mu.Unlock()
	kept.key = nil
}

// damagedError says that what should hold a delivery key holds none.
type damagedError struct{ secret string }

func (e *damagedError) Error() string {
	return fmt.Sprintf("the authority namespace's Secret %q holds no delivery key: restore it from a backup", e.secret)
}

// isGone says whether an error is that the authority namespace was read, and holds the key no more. Any other one says nothing of it.
func isGone(err error) bool {
	if _, lost := errors.AsType[*LostError](err); lost {
		return true
	}
	_, damaged := errors.AsType[*damagedError](err)
	return damaged
}

// Delivery reads the delivery key of a namespace, or makes it once. uid is that of the namespace, as a CA of it was bound. As long
// as it is used, it is read again every minute, for it may have been restored. What the authority namespace holds no more signs nothing.
func (s *Store) Delivery(ctx context.Context, namespace string, uid types.UID) (*DeliveryKey, error) {
	kept := s.deliveries.get(namespace)
	kept.mu.Lock()
	defer kept.mu.Unlock()
	if s.deliveryOutdated(ctx, kept) || kept.key.NamespaceUID != uid {
		switch key, err := published(func() (*DeliveryKey, error) { return s.readDelivery(ctx, namespace, uid) }); {
		case err == nil:
			kept.key = key
		case kept.key == nil || isGone(err):
			kept.key = nil
			return nil, err
		}
		kept.read = time.Now() //nolint:forbidigo // when it was read, which decides how long it is kept
	}
	if kept.key.NamespaceUID != uid {
		return nil, &RetainedError{namespace, DeliveryName(namespace)}
	}
	return kept.key, nil
}

// deliveryOutdated says whether a delivery key must be read again: it was not for a while, or the cache has another version of it, or none.
func (s *Store) deliveryOutdated(ctx context.Context, kept *keptDelivery) bool {
	if kept.key == nil || time.Since(kept.read) >= sealLasts { //nolint:forbidigo // how long ago, not what time it is
		return true
	}
	var secret corev1.Secret
	if s.cache == nil {
		return false
	}
	err := s.cache.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: DeliveryName(kept.key.Namespace)}, &secret)
	return apierrors.IsNotFound(err) || err == nil && secret.ResourceVersion != kept.key.version
}

// readDelivery reads a delivery key, or makes it, and sees that its public half can be read.
func (s *Store) readDelivery(ctx context.Context, namespace string, uid types.UID) (*DeliveryKey, error) {
	published, err := s.publishedDelivery(ctx, namespace)
	if err != nil {
		return nil, err
	}
	key, err := s.StoredDelivery(ctx, namespace)
	if err != nil {
		return nil, err
	}
	if key == nil && published.ResourceVersion != "" {
		return nil, &LostError{namespace, DeliveryName(namespace)}
	}
	if key == nil {
		if key, err = s.makeDelivery(ctx, namespace, uid); err != nil {
			return nil, err
		}
	}
	return key, s.publish(ctx, key, published)
}

// StoredDelivery reads the delivery key of a namespace from the API server; nil where there is none.
func (s *Store) StoredDelivery(ctx context.Context, namespace string) (*DeliveryKey, error) {
	secret := &corev1.Secret{}
	err := s.live.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: DeliveryName(namespace)}, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read the delivery key of namespace %q: %w", namespace, err)
	}
	return DeliveryOf(secret)
}

func (s *Store) makeDelivery(ctx context.Context, namespace string, uid types.UID) (*DeliveryKey, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make a delivery key: %w", err)
	}
	key := &DeliveryKey{Namespace: namespace, NamespaceUID: uid, key: private}
	err = s.CreateDelivery(ctx, key)
	if !apierrors.IsAlreadyExists(err) {
		return key, err
	}
	if key, err = s.StoredDelivery(ctx, namespace); key == nil && err == nil {
		err = fmt.Errorf("make the delivery key of namespace %q: somebody else has, and has deleted it", namespace)
	}
	return key, err
}

// CreateDelivery stores a delivery key. It fails with AlreadyExists if there is one of its namespace.
func (s *Store) CreateDelivery(ctx context.Context, k *DeliveryKey) error {
	secret, err := k.secret(s.namespace)
	if err != nil {
		return err
	}
	if err := s.live.Create(ctx, secret); err != nil {
		return fmt.Errorf("store the delivery key of namespace %q: %w", k.Namespace, err)
	}
	k.version = secret.ResourceVersion
	return nil
}

// ReleaseDelivery gives a delivery key to the namespace that has its name now, if nobody wrote it since it was read.
func (s *Store) ReleaseDelivery(ctx context.Context, k *DeliveryKey, uid types.UID) error {
	return s.ReplaceDelivery(ctx, k, k.Rebound(k.Namespace, uid))
}

// ReplaceDelivery stores a delivery key in place of another one, if nobody wrote that since it was read, and publishes it.
func (s *Store) ReplaceDelivery(ctx context.Context, was, next *DeliveryKey) error {
	secret, err := next.secret(s.namespace)
	if err != nil {
		return err
	}
	secret.ResourceVersion = was.version
	if err := s.live.Update(ctx, secret); err != nil {
		return fmt.Errorf("write the delivery key of namespace %q: %w", next.Namespace, err)
	}
	s.deliveries.forget(next.Namespace)
	if _, err := s.PublishDelivery(ctx, next.Namespace); err != nil {
		return fmt.Errorf("delivery key %s of namespace %q is written, and will be published by the operator: %w", next.ID(), next.Namespace, err)
	}
	return nil
}

// Rebound is a delivery key of a backup for a namespace that another one of that name held before, or one of another name.
func (k *DeliveryKey) Rebound(namespace string, uid types.UID) *DeliveryKey {
	return &DeliveryKey{Namespace: namespace, NamespaceUID: uid, Former: k.Former, NextNamed: k.NextNamed, key: k.key, next: k.next}
}

func (k *DeliveryKey) secret(home string) (*corev1.Secret, error) {
	document, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("encode a delivery key: %w", err)
	}
	data := map[string][]byte{deliveryDocument: document}
	for name, key := range map[string]ed25519.PrivateKey{deliveryKey: k.key, deliveryNextKey: k.next} {
		if key == nil {
			continue
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("encode a delivery key: %w", err)
		}
		data[name] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: DeliveryName(k.Namespace)}, Type: DeliverySecretType, Data: data,
	}, nil
}

// DeliveryOf reads the Secret of a delivery key. Its errors quote nothing of it.
func DeliveryOf(s *corev1.Secret) (*DeliveryKey, error) {
	damaged := &damagedError{s.Name}
	k := &DeliveryKey{version: s.ResourceVersion}
	if s.Type != DeliverySecretType || json.Unmarshal(s.Data[deliveryDocument], k) != nil || s.Name != DeliveryName(k.Namespace) {
		return nil, damaged
	}
	if k.key = parseDelivery(s.Data[deliveryKey]); k.key == nil {
		return nil, damaged
	}
	if text, there := s.Data[deliveryNextKey]; there {
		if k.next = parseDelivery(text); k.next == nil {
			return nil, damaged
		}
	}
	if (k.next == nil) != k.NextNamed.IsZero() {
		return nil, damaged
	}
	return k, nil
}

// parseDelivery reads a key; nil where it is none.
func parseDelivery(text []byte) ed25519.PrivateKey {
	block, rest := pem.Decode(text)
	if block == nil || len(rest) > 0 {
		return nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil
	}
	key, _ := parsed.(ed25519.PrivateKey)
	return key
}
