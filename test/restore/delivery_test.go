package restore_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/backup"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/test/testenv"
)

// nextDelivery makes the next delivery key, which no agent here ever reports.
func (w *fixture) nextDelivery() {
	w.t.Helper()
	key, err := w.store().StoredDelivery(w.t.Context(), w.ns)
	if err != nil || key == nil {
		w.t.Fatalf("there is no delivery key, %v", err)
	}
	next, err := key.WithNext(time.Now())
	if err == nil {
		err = w.store().ReplaceDelivery(w.t.Context(), key, next)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// deliversAs expects that what agents are to install is signed, for the objects as they are now, by the delivery key of a backup, which their
// hosts trust, and names the next one that was there too.
func (w *fixture) deliversAs(text []byte) {
	w.t.Helper()
	archive, err := backup.Parse(bytes.NewReader(text))
	if err != nil || len(archive.Deliveries) != 1 {
		w.t.Fatalf("the backup has %d delivery keys, %v", len(archive.Deliveries), err)
	}
	testenv.Eventually(w.t, "it is signed by the key of the backup", func() error {
		stored, err := w.store().StoredDelivery(w.t.Context(), w.ns)
		if err != nil || stored == nil || !stored.SameAs(archive.Deliveries[0]) || stored.NextID() == "" || stored.NextID() != archive.Deliveries[0].NextID() {
			return fmt.Errorf("the delivery key is another one, %w", err)
		}
		public, err := authority.PublishedDelivery(w.t.Context(), w.api, w.authority, w.ns)
		if err != nil {
			return err
		}
		key, err := delivery.ParsePublic([]byte(public[0]))
		if err != nil {
			return err
		}
		var s corev1.Secret
		if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: "agent-tls"}, &s); err != nil {
			return err
		}
		d, _, err := delivery.Open([]ed25519.PublicKey{key}, s.Data[consumers.DeliveryKey])
		if err != nil {
			return err
		}
		var c v1alpha1.NodeCredential
		w.get("agent", &c)
		if !d.Holds("tls.crt", s.Data["tls.crt"]) || d.UID != string(c.UID) || !d.NextKey.Equal(stored.NextPublic()) {
			return fmt.Errorf("it is signed for another object, or certificate, or names another key: %+v", d)
		}
		return nil
	})
}
