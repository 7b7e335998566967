package authority_test

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki/plan"
)

// TestReserve: the first who asks has a key. Nobody else gets it until whoever reserved it can no longer be about to store it; who asks
// again has it for as long again.
func TestReserve(t *testing.T) {
	s := authority.New(home, fake.NewClientBuilder().Build(), nil)
	key := root(t, "k8s").Cert.PublicKey
	const lasts = 2 * plan.LongestWrite
	begin := start
	for _, tc := range []struct {
		name string
		at   time.Duration
		ok   bool
	}{
		{"a", 0, true},
		{"b", lasts - time.Second, false},
		{"a", lasts - time.Second, true},
		{"b", lasts, false},
		{"b", 2*lasts - time.Second, true},
		{"a", 2 * lasts, false},
	} {
		now := begin.Add(tc.at)
		by, ok, err := s.Reserve(t.Context(), "prod", tc.name, key, now, now)
		if err != nil || ok != tc.ok || ok != (by.Name == tc.name) {
			t.Errorf("%s after %v: %v, %+v, %v", tc.name, tc.at, ok, by, err)
		}
	}
	if _, ok, err := s.Reserve(t.Context(), "prod", "d", key, begin.Add(-lasts), begin.Add(-lasts)); err != nil || !ok {
		t.Errorf("one since a time that lies ahead: %v, %v", ok, err)
	}
	if _, ok, err := s.Reserve(t.Context(), "prod", "b", key, begin.Add(3*lasts), begin.Add(3*lasts)); err != nil || !ok {
		t.Errorf("b later: %v, %v", ok, err)
	}
	if _, ok, err := s.Reserve(t.Context(), "prod", "c", root(t, "other").Cert.PublicKey, begin, begin); err != nil || !ok {
		t.Errorf("another key: %v, %v", ok, err)
	}
	if _, ok, err := s.Reserve(t.Context(), "other", "b", key, begin.Add(3*lasts), begin.Add(3*lasts)); err != nil || ok {
		t.Errorf("one of the same name in another namespace: %v, %v", ok, err)
	}
}
