package authority_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/delivery"
)

// named is when next keys are named.
var named = time.Date(2026, 11, 28, 8, 0, 0, 5e8, time.UTC)

// halves are the IDs of the keys that are published.
func halves(t *testing.T, c client.Client) []string {
	t.Helper()
	texts, err := authority.PublishedDelivery(ctx, c, home, "prod")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, text := range texts {
		key, err := delivery.ParsePublic([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, delivery.KeyID(key))
	}
	return out
}

// TestTheNextDeliveryKey stands beside the present one, which signs, is published with it, and takes its place; whoever has read them before
// asks again.
func TestTheNextDeliveryKey(t *testing.T) {
	s, c := newStore()
	first, err := s.Delivery(ctx, "prod", "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	if first.NextID() != "" || first.NextPublic() != nil {
		t.Error("there is a next key already")
	}
	change := func(next func(*authority.DeliveryKey) *authority.DeliveryKey) *authority.DeliveryKey {
		t.Helper()
		was, err := s.StoredDelivery(ctx, "prod")
		if err == nil {
			err = s.ReplaceDelivery(ctx, was, next(was))
		}
		if err != nil {
			t.Fatal(err)
		}
		now, err := s.Delivery(ctx, "prod", "uid-1")
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	withNext := func(k *authority.DeliveryKey) *authority.DeliveryKey {
		t.Helper()
		next, err := k.WithNext(named)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	both := change(withNext)
	text, err := signedDocument(t, both, "prod")
	if err != nil {
		t.Fatal(err)
	}
	if _, by, err := delivery.Open([]ed25519.PublicKey{published(t, c)}, text); err != nil || by != first.ID() {
		t.Errorf("it is signed by %q, %v", by, err)
	}
	if got := halves(t, c); both.NextID() == "" || !slices.Equal(got, []string{first.ID(), both.NextID()}) {
		t.Errorf("%q are published", got)
	}
	if again := withNext(both); again.NextID() != both.NextID() {
		t.Error("there is another next key")
	}
	if again, err := both.WithNext(named.Add(time.Hour)); err != nil || !again.NextNamed.Equal(both.NextNamed) || !both.NextNamed.Equal(named.Truncate(time.Second)) {
		t.Errorf("it was named at %s, and is at %s, %v", both.NextNamed, again.NextNamed, err)
	}
	released := both.Rebound("prod", "uid-2")
	if released.NextID() != both.NextID() || released.ID() != both.ID() || !released.NextNamed.Equal(both.NextNamed) {
		t.Error("another namespace has other keys")
	}
	after := change((*authority.DeliveryKey).Succeeded)
	if got := halves(t, c); after.ID() != both.NextID() || after.NextID() != "" || !after.NextNamed.IsZero() || !slices.Equal(got, []string{after.ID()}) {
		t.Errorf("%s signs, and %q are published", after.ID(), got)
	}
	third := change(withNext)
	fourth := change((*authority.DeliveryKey).Succeeded)
	later := func(k *authority.DeliveryKey, n int) *authority.DeliveryKey {
		for range n {
			k = withNext(k).Succeeded()
		}
		return k
	}
	for name, c := range map[string]struct {
		now, backup *authority.DeliveryKey
		want        bool
	}{
		"the same": {first, first, true}, "with a next one": {both, first, true}, "changed over since": {after, both, true},
		"from before there was a next one": {after, first, true}, "of later": {both, after, false}, "with a next one again": {third, both, true},
		"two before": {fourth, first, true}, "for another namespace": {fourth.Rebound("test", "uid-2"), first, true},
		"as many as are remembered": {later(fourth, 254), first, true}, "more": {later(fourth, 255), first, false}, "lately": {later(fourth, 255), fourth, true},
	} {
		if got := c.now.Follows(c.backup); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestADamagedNextKey is none, and the present one alone is not taken for both: what is signed would name none.
func TestADamagedNextKey(t *testing.T) {
	s, c := newStore()
	key, err := s.Delivery(ctx, "prod", "uid-1")
	if err == nil {
		var next *authority.DeliveryKey
		if next, err = key.WithNext(named); err == nil {
			err = s.ReplaceDelivery(ctx, key, next)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: authority.DeliveryName("prod")}}
	if err := c.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Fatal(err)
	}
	if namespace, ok := authority.DeliveryNamespace(secret); !ok || namespace != "prod" {
		t.Errorf("it is of namespace %q, %v", namespace, ok)
	}
	for name, damage := range map[string]func(map[string][]byte){
		"half a key":          func(d map[string][]byte) { d["next.key"] = d["next.key"][:60] },
		"a time of no key":    func(d map[string][]byte) { delete(d, "next.key") },
		"a key of no time":    func(d map[string][]byte) { d["delivery.json"] = []byte(`{"namespace":"prod"}`) },
		"a time that is none": func(d map[string][]byte) { d["delivery.json"] = []byte(`{"namespace":"prod","nextNamed":"today"}`) },
		"none":                nil,
	} {
		s := secret.DeepCopy()
		if damage != nil {
			damage(s.Data)
		}
		if _, err := authority.DeliveryOf(s); (err == nil) != (damage == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAReplacedDeliveryKeyIsPublished by whoever replaces it, against others who publish it too: configurations are written from it at once.
func TestAReplacedDeliveryKeyIsPublished(t *testing.T) {
	_, c := newStore()
	inBetween := func() {}
	live := interceptor.NewClient(c, interceptor.Funcs{Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
		if _, ok := o.(*corev1.ConfigMap); ok {
			inBetween()
		}
		return c.Update(ctx, o, opts...)
	}})
	s := authority.New(home, live, nil)
	was, err := s.Delivery(ctx, "prod", "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	replace := func() {
		t.Helper()
		next, err := was.WithNext(named)
		if err == nil {
			err = s.ReplaceDelivery(ctx, was, next.Succeeded())
		}
		if err != nil {
			t.Fatal(err)
		}
		if was, err = s.StoredDelivery(ctx, "prod"); err != nil || was.ID() != next.NextID() {
			t.Fatalf("%v is stored, %v", was, err)
		}
		if got := halves(t, c); !slices.Equal(got, []string{was.ID()}) {
			t.Errorf("%q are published, and %s signs", got, was.ID())
		}
	}
	replace()
	others := 0
	inBetween = func() {
		if others++; others > 1 {
			return
		}
		if _, err := authority.New(home, c, nil).PublishDelivery(ctx, "prod"); err != nil {
			t.Error(err)
		}
	}
	replace()
	if others == 0 {
		t.Error("nobody else published it")
	}
	// Who only reads it meets others too, and is not left with the one before.
	inBetween = func() {}
	reader := authority.New(home, live, c)
	if _, err := reader.Delivery(ctx, "prod", "uid-1"); err != nil {
		t.Fatal(err)
	}
	next, err := was.WithNext(named)
	if err != nil {
		t.Fatal(err)
	}
	others, inBetween = 0, func() {
		if others++; others > 2 {
			return
		}
		var cm corev1.ConfigMap
		if err := c.Get(ctx, client.ObjectKey{Namespace: home, Name: authority.DeliveryName("prod")}, &cm); err != nil {
			t.Error(err)
		}
		cm.Annotations = map[string]string{"changed": fmt.Sprint(others)}
		if err := c.Update(ctx, &cm); err != nil {
			t.Error(err)
		}
	}
	if err := authority.New(home, unpublished(c), nil).ReplaceDelivery(ctx, was, next.Succeeded()); err == nil || !strings.Contains(err.Error(), "is written") {
		t.Errorf("unpublished: %v", err)
	}
	if key, err := reader.Delivery(ctx, "prod", "uid-1"); err != nil || key.ID() != next.NextID() || others == 0 {
		t.Errorf("%v, %v, after %d others", key, err, others)
	}
	if key, err := s.PublishDelivery(ctx, "test"); key != nil || err != nil {
		t.Errorf("of a namespace without one it is %v, %v", key, err)
	}
}

// unpublished is an API server that takes no ConfigMap.
func unpublished(c client.WithWatch) client.Client {
	return interceptor.NewClient(c, interceptor.Funcs{Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
		if _, ok := o.(*corev1.ConfigMap); ok {
			return errors.New("no connection")
		}
		return c.Update(ctx, o, opts...)
	}})
}
