package authority_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/delivery"
)

func signedDocument(t *testing.T, k *authority.DeliveryKey, namespace string) ([]byte, error) {
	t.Helper()
	return k.Sign(delivery.Document{Statement: delivery.Statement{Kind: "K", Namespace: namespace, Name: "n", UID: "u", Host: "h"}, Time: start})
}

// published is the public half that agents' configurations are written from.
func published(t *testing.T, c client.Client) ed25519.PublicKey {
	t.Helper()
	text, err := authority.PublishedDelivery(ctx, c, home, "prod")
	if err != nil {
		t.Fatal(err)
	}
	key, err := delivery.ParsePublic([]byte(text[0]))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestADeliveryKeyIsMadeOnce for a namespace, is the same for every manager, and signs for that namespace alone.
func TestADeliveryKeyIsMadeOnce(t *testing.T) {
	s, c := newStore()
	if _, err := authority.PublishedDelivery(ctx, c, home, "prod"); err == nil || !strings.Contains(err.Error(), "delivery.mode: Agent") {
		t.Errorf("before it is made: %v", err)
	}
	first, err := s.Delivery(ctx, "prod", "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	second, err := authority.New(home, c, nil).Delivery(ctx, "prod", "uid-1")
	if err != nil || !second.SameAs(first) {
		t.Errorf("another manager has another key, %v", err)
	}
	other, err := s.Delivery(ctx, "test", "uid-2")
	if err != nil || other.SameAs(first) {
		t.Errorf("two namespaces have one key, %v", err)
	}
	text, err := signedDocument(t, first, "prod")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := delivery.Open([]ed25519.PublicKey{published(t, c)}, text); err != nil {
		t.Errorf("what it signs does not fit what is published: %v", err)
	}
	if _, err := signedDocument(t, first, "test"); err == nil {
		t.Error("it signs for another namespace")
	}
	if text := fmt.Sprintf("%v %+v %s", first, first, first); strings.Contains(text, "[") || len(text) > 200 {
		t.Errorf("it is printed: %s", text)
	}
}

// TestADeliveryKeyIsNotInherited by a namespace of the same name that was made since, until it is released.
func TestADeliveryKeyIsNotInherited(t *testing.T) {
	s, c := newStore()
	was, err := s.Delivery(ctx, "prod", "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, manager := range []*authority.Store{s, authority.New(home, c, nil)} {
		_, err = manager.Delivery(ctx, "prod", "uid-2")
		if retained, ok := errors.AsType[*authority.RetainedError](err); !ok || !strings.Contains(retained.Error(), "authority release -n prod --all") {
			t.Errorf("%v", err)
		}
	}
	stored, err := s.StoredDelivery(ctx, "prod")
	if err == nil {
		err = s.ReleaseDelivery(ctx, stored, "uid-2")
	}
	if err != nil {
		t.Fatal(err)
	}
	if now, err := s.Delivery(ctx, "prod", "uid-2"); err != nil || !now.SameAs(was) {
		t.Errorf("released, it is another one, %v", err)
	}
}

// TestALostDeliveryKeyIsNotReplaced: no host would install what another one signs. Its public half, where that is lost or was
// changed, is written again.
func TestALostDeliveryKeyIsNotReplaced(t *testing.T) {
	s, c := newStore()
	if _, err := s.Delivery(ctx, "prod", "uid-1"); err != nil {
		t.Fatal(err)
	}
	is := published(t, c)
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: authority.DeliveryName("prod")}}
	for name, change := range map[string]func() error{
		"deleted": func() error { return c.Delete(ctx, cm) },
		"edited": func() error {
			if err := c.Get(ctx, client.ObjectKeyFromObject(cm), cm); err != nil {
				return err
			}
			cm.Data[authority.DeliveryPublicKey] = "x"
			return c.Update(ctx, cm)
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if _, err := authority.New(home, c, nil).Delivery(ctx, "prod", "uid-1"); err != nil || !published(t, c).Equal(is) {
			t.Errorf("%s: the public half is not what it was, %v", name, err)
		}
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: authority.DeliveryName("prod")}}
	if err := c.Delete(ctx, secret); err != nil {
		t.Fatal(err)
	}
	_, err := authority.New(home, c, nil).Delivery(ctx, "prod", "uid-1")
	if lost, ok := errors.AsType[*authority.LostError](err); !ok || !strings.Contains(lost.Error(), "restore it from a backup") {
		t.Errorf("%v", err)
	}
}

// TestADeliveryKeyIsNotRemembered where the authority namespace holds it no more; where that cannot be read, it goes on.
func TestADeliveryKeyIsNotRemembered(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(client.Client, *corev1.Secret) error
		want   string // "": it signs
	}{
		"deleted": {func(c client.Client, s *corev1.Secret) error { return c.Delete(ctx, s) }, "restore it from a backup"},
		"damaged": {func(c client.Client, s *corev1.Secret) error {
			s.Data = nil
			return c.Update(ctx, s)
		}, "restore it from a backup"},
		"cannot be read": {func(c client.Client, s *corev1.Secret) error {
			s.Labels = map[string]string{"a": "b"}
			return c.Update(ctx, s)
		}, ""},
	} {
		_, c := newStore()
		unreadable := false
		live := interceptor.NewClient(c, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if unreadable {
				return errors.New("no connection")
			}
			return c.Get(ctx, key, o, opts...)
		}})
		s := authority.New(home, live, c)
		was, err := s.Delivery(ctx, "prod", "uid-1")
		if err != nil {
			t.Fatal(err)
		}
		secret := &corev1.Secret{}
		err = c.Get(ctx, client.ObjectKey{Namespace: home, Name: authority.DeliveryName("prod")}, secret)
		whole := secret.DeepCopy()
		if err == nil {
			err = tc.change(c, secret)
		}
		if err != nil {
			t.Fatal(err)
		}
		unreadable = tc.want == ""
		for range 2 { // the first to see it, and who comes after
			if _, err = s.Delivery(ctx, "prod", "uid-1"); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		unreadable, whole.ResourceVersion = false, ""
		if err := client.IgnoreNotFound(c.Delete(ctx, secret)); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(ctx, whole); err != nil {
			t.Fatal(err)
		}
		if now, err := s.Delivery(ctx, "prod", "uid-1"); err != nil || !now.SameAs(was) {
			t.Errorf("%s, and restored: %v", name, err)
		}
	}
}

// TestADamagedDeliveryKey says so, and nothing of itself.
func TestADamagedDeliveryKey(t *testing.T) {
	whole, c := newStore()
	if _, err := whole.Delivery(ctx, "prod", "uid-1"); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(*corev1.Secret){
		"another type": func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque },
		"no document":  func(s *corev1.Secret) { delete(s.Data, "delivery.json") },
		"half a key":   func(s *corev1.Secret) { s.Data["delivery.key"] = s.Data["delivery.key"][:60] },
		"another's": func(s *corev1.Secret) {
			s.Data["delivery.json"] = []byte(`{"namespace":"test","namespaceUID":"uid-1"}`)
		},
	} {
		secret := &corev1.Secret{}
		if err := c.Get(ctx, client.ObjectKey{Namespace: home, Name: authority.DeliveryName("prod")}, secret); err != nil {
			t.Fatal(err)
		}
		damage(secret)
		if k, err := authority.DeliveryOf(secret); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
}
