package authority_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/delivery"
)

// FuzzDeliveryOf reads whatever stands in the Secret of a delivery key: what is taken signs for the namespace that its name says, and for no other;
// what is not gives an error that quotes nothing of it.
func FuzzDeliveryOf(f *testing.F) {
	s, c := newStore()
	if _, err := s.Delivery(ctx, "prod", "uid-1"); err != nil {
		f.Fatal(err)
	}
	good := &corev1.Secret{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: home, Name: authority.DeliveryName("prod")}, good); err != nil {
		f.Fatal(err)
	}
	document, key := good.Data["delivery.json"], good.Data["delivery.key"]
	_, cas, _ := created(f, root(f, "k8s"))
	for _, name := range []string{good.Name, "delivery.test", "delivery."} {
		f.Add(name, document, key)
	}
	f.Add(good.Name, document, key[:60])
	f.Add(good.Name, document, append(key, key...))
	f.Add(good.Name, document, append([]byte("a text\n"), key...))
	f.Add(good.Name, document, secret(f, cas).Data["g1.key"]) // of another algorithm
	f.Add(good.Name, []byte(`{"namespace":"prod","namespace":"test"}`), key)
	f.Add("delivery.", []byte("null"), key)
	f.Fuzz(func(t *testing.T, name string, document, key []byte) {
		k, err := authority.DeliveryOf(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Type: authority.DeliverySecretType, Data: map[string][]byte{"delivery.json": document, "delivery.key": key},
		})
		if err != nil {
			if want := fmt.Sprintf("the authority namespace's Secret %q holds no delivery key: restore it from a backup", name); err.Error() != want {
				t.Errorf("the error is %q", err)
			}
			return
		}
		if authority.DeliveryName(k.Namespace) != name || k.ID() == "" || strings.Contains(fmt.Sprintf("%v %+v %s", k, k, k), "PRIVATE") {
			t.Errorf("it is taken for %q, as %q", k.Namespace, name)
		}
		if text, err := signedDocument(t, k, k.Namespace+"x"); err == nil {
			t.Errorf("it signs for another namespace: %s", text)
		}
		if text, err := signedDocument(t, k, k.Namespace); err == nil && len(text) > delivery.MaxEnvelope {
			t.Error("it signs more than is read")
		}
		if back := k.Rebound(k.Namespace, k.NamespaceUID); !back.SameAs(k) {
			t.Error("bound anew, it is another key")
		}
	})
}

// FuzzReservationOf reads whatever stands in the Secret of a reservation: what is taken is of a CA, and is written and read the same.
func FuzzReservationOf(f *testing.F) {
	s, c := newStore()
	ca := root(f, "k8s")
	if _, ok, err := s.Reserve(ctx, "prod", "k8s", ca.Key.Public(), start, start); err != nil || !ok {
		f.Fatal(ok, err)
	}
	var all corev1.SecretList
	if err := c.List(ctx, &all); err != nil || len(all.Items) != 1 {
		f.Fatal(all.Items, err)
	}
	good := all.Items[0]
	f.Add(good.Data["reservation.json"])
	f.Add([]byte("null"))
	f.Add([]byte(`{"namespace":"prod","name":"","since":"2026-11-01T12:00:00Z"}`))
	f.Add([]byte(`{"namespace":"prod","name":"k8s","since":"9999-12-31T23:59:59Z"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		o := good.DeepCopy()
		o.Data = map[string][]byte{"reservation.json": text}
		by, err := authority.ReservationOf(o)
		if err != nil {
			if want := fmt.Sprintf("the authority namespace's Secret %q is damaged: delete it", o.Name); err.Error() != want {
				t.Errorf("the error is %q", err)
			}
			return
		}
		if o.Data["reservation.json"], err = json.Marshal(by); err != nil {
			t.Fatal(err)
		}
		if again, err := authority.ReservationOf(o); err != nil || !again.Since.Equal(by.Since) || again.Namespace == "" || again.Name == "" {
			t.Errorf("written again, it is %+v, and not %+v: %v", again, by, err)
		}
	})
}
