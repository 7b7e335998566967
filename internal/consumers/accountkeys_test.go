package consumers

import (
	"fmt"
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
)

var keysAt = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// keyServer is an API server that names a key, delivered to in a mode.
func keyServer(name string, mode v1alpha1.DeliveryMode) v1alpha1.APIServerCertificate {
	c := v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}}
	c.Spec.HostName, c.Spec.Delivery.Mode = name, mode
	c.Spec.Delivery.PropagationDelay.Duration = 10 * time.Minute
	return c
}

// says lets the agent of an API server's host report what it has of the keys, so long ago.
func (in *KeyInputs) says(name, installed, verified string, ago time.Duration, tokens *ack.Tokens) {
	at := in.Now.Add(-ago)
	state := func(digest string) *ack.State { return &ack.State{Contents: map[string]string{"sa/sa.pub": digest}} }
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(in.Now.Add(-24 * time.Hour))}}
	in.Leases[LeaseKey{types.UID(name), name + "-tls"}] = Reported{l, ack.Report{
		Host: name, Time: at, Installed: state(installed), Verified: state(verified), Tokens: tokens,
	}, ack.Signed}
}

// TestKeyUsers: who does not use what is published holds up those behind it, whatever these say, and by whichever way it is told.
func TestKeyUsers(t *testing.T) {
	in := KeyInputs{
		Publication: Publication{Secret: "sa", SHA256: "new", Since: keysAt.Add(-5 * time.Minute)},
		Servers: []v1alpha1.APIServerCertificate{
			keyServer("e", v1alpha1.DeliveryManual), keyServer("d", v1alpha1.DeliveryMounted), keyServer("c", v1alpha1.DeliveryAgent),
			keyServer("b", v1alpha1.DeliveryAgent), keyServer("a", v1alpha1.DeliveryAgent),
		},
		Leases: map[LeaseKey]Reported{}, Now: keysAt,
	}
	check := func(want ...string) {
		t.Helper()
		var got []string
		for _, u := range in.Users() {
			got = append(got, fmt.Sprintf("%s %t %t %s", u.Name, u.HasPublication, u.Turn, u.Reason))
		}
		if !slices.Equal(got, want) {
			t.Errorf("they are\n%q instead of\n%q", got, want)
		}
	}
	in.says("a", "old", "old", 0, nil)
	in.says("b", "new", "new", 0, nil)
	in.says("c", "old", "old", 0, nil)
	check("a false true NotInstalled", "b true false ", "c false false AwaitingTurn", "d false true Propagating", "e false false AwaitingTurn")
	in.says("a", "new", "old", 0, nil)
	check("a false true NotInUse", "b true false ", "c false false AwaitingTurn", "d false true Propagating", "e false false AwaitingTurn")
	in.says("a", "new", "new", 0, nil)
	in.says("c", "new", "new", time.Hour, nil) // it was, and is silent now
	in.Servers[0].Spec.Delivery.Acknowledged = &v1alpha1.AcknowledgedDelivery{PublicKeysSHA256: "new"}
	check("a true true ", "b true true ", "c false true LeaseExpired", "d false true Propagating", "e true false ")
	in.says("c", "new", "new", 0, nil)
	in.Now = keysAt.Add(5 * time.Minute)
	check("a true true ", "b true true ", "c true true ", "d true true ", "e true true ")
	in.Since = time.Time{}
	if u := in.Users()[3]; u.HasPublication || !u.Next.IsZero() {
		t.Errorf("what was never seen in the Secret is assumed to be in use: %+v", u)
	}
	in.SHA256 = ""
	for _, u := range in.Users() {
		if u.HasPublication {
			t.Errorf("nothing is published, and %s has it", u.Name)
		}
	}
}

// TestKeyTokens: of those who have listed all that were made before the switch, the one counts that has found most.
func TestKeyTokens(t *testing.T) {
	in := KeyInputs{
		Publication: Publication{Secret: "sa", SHA256: "new", SwitchedAt: keysAt},
		Servers:     []v1alpha1.APIServerCertificate{keyServer("a", v1alpha1.DeliveryAgent), keyServer("b", v1alpha1.DeliveryAgent)},
		Leases:      map[LeaseKey]Reported{}, Now: keysAt.Add(time.Hour),
	}
	check := func(what string, accepted []string, listed bool, left int, names ...string) {
		t.Helper()
		if got := in.Tokens(accepted); got.Listed != listed || got.Left != left || !slices.Equal(got.Names, names) {
			t.Errorf("%s: %+v", what, got)
		}
	}
	check("nobody says anything", nil, false, 0)
	check("all are accepted", []string{"*"}, true, 0)
	in.says("a", "new", "new", 0, &ack.Tokens{Listed: true, Before: keysAt.Add(-time.Second)})
	in.says("b", "new", "new", 0, &ack.Tokens{Before: keysAt})
	check("of another switch, and none listed", nil, false, 0)
	in.says("a", "new", "new", 0, &ack.Tokens{Listed: true, Before: keysAt})
	in.says("b", "new", "new", 0, &ack.Tokens{Listed: true, Before: keysAt, Count: 5, Names: []string{"x/a", "x/b"}})
	check("the most", nil, true, 5, "x/a", "x/b")
	check("one is accepted", []string{"x/a", "x/z"}, true, 4, "x/b")
	in.says("b", "new", "new", 30*time.Minute, &ack.Tokens{Listed: true, Before: keysAt, Count: 5})
	check("one is silent", nil, true, 0)
}
