package visits

import (
	"encoding/json"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki/plan"
)

// TestConcerns changes one thing at a time in a CA's Secret, and says which of the leaves of the seeds 1 to 4 may act upon it.
func TestConcerns(t *testing.T) {
	all, none := []uint32{1, 2, 3, 4}, []uint32(nil)
	for name, tc := range map[string]struct {
		change func(*ledgerOf)
		want   []uint32
	}{
		"nothing":               {func(*ledgerOf) {}, none},
		"the revision":          {func(l *ledgerOf) { l.Ledger.Revision++ }, none},
		"a copy is recorded":    {func(l *ledgerOf) { l.Copies = []authority.Copy{{Name: "copy", UID: "z"}} }, all},
		"the next wave":         {func(l *ledgerOf) { l.Ledger.Wave = 4 }, []uint32{2, 3}},
		"everyone":              {func(l *ledgerOf) { l.Ledger.Wave = plan.Everyone }, []uint32{2, 3, 4}},
		"nothing retires":       {func(l *ledgerOf) { l.Ledger.Generations = l.Ledger.Generations[1:] }, []uint32{2, 3, 4}},
		"the bundle's revision": {func(l *ledgerOf) { l.Ledger.BundleRevision++ }, all},
		"the object":            {func(l *ledgerOf) { l.UID = "y" }, all},
		"the one that signs": {func(l *ledgerOf) {
			l.Ledger.Generations[0].State, l.Ledger.Generations[1].State = plan.Active, plan.Trusted
		}, all},
		"its certificate":        {func(l *ledgerOf) { l.Ledger.Generations[1].SHA256 = "03" }, all},
		"the ledger is damaged":  {func(l *ledgerOf) { l.damage = "{" }, all},
		"the ledger is not read": {func(l *ledgerOf) { l.Ledger.Revision = 0 }, all},
	} {
		was, now := storedLedger(t, func(*ledgerOf) {}), storedLedger(t, tc.change)
		for direction, concerns := range map[string]func(uint32, string) bool{"to": concernsOnly(was, now), "back": concernsOnly(now, was)} {
			got := all
			if concerns != nil {
				got = slices.DeleteFunc(slices.Clone(all), func(seed uint32) bool { return !concerns(seed, "b") })
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%s, %s: concerns %v instead of %v", name, direction, got, tc.want)
			}
		}
	}
}

// TestCopyOfARoot concerns nobody: its bundle is the same with a copy of its key and without.
func TestCopyOfARoot(t *testing.T) {
	t.Parallel()
	root := func(l *ledgerOf) {
		for i := range l.Ledger.Generations {
			l.Ledger.Generations[i].Root = true
		}
	}
	copied := func(l *ledgerOf) { root(l); l.Copies = []authority.Copy{{Name: "copy", UID: "z"}} }
	concerns := concernsOnly(storedLedger(t, root), storedLedger(t, copied))
	if concerns == nil || concerns(1, "a") {
		t.Error("it concerns leaves")
	}
}

// TestKeyPutBack: all leaves may be served again, though the cache, which holds no key, shows no difference.
func TestKeyPutBack(t *testing.T) {
	t.Parallel()
	was, now := storedLedger(t, func(*ledgerOf) {}), storedLedger(t, func(*ledgerOf) {})
	was.ResourceVersion, now.ResourceVersion = "1", "2"
	if concernsOnly(was, now) != nil {
		t.Error("it concerns some leaves only")
	}
}

// TestConcernsOfATurn: it concerns the objects of the host whose turn has come.
func TestConcernsOfATurn(t *testing.T) {
	t.Parallel()
	distributing := func(turn string) func(*ledgerOf) {
		return func(l *ledgerOf) {
			l.Ledger.Generations[0].State, l.Ledger.Generations[1].State, l.Ledger.Turn = plan.Active, plan.Trusted, turn
		}
	}
	concerns := concernsOnly(storedLedger(t, distributing("a")), storedLedger(t, distributing("b")))
	if concerns == nil || concerns(1, "a") || !concerns(1, "b") || concerns(1, "c") {
		t.Error("it concerns others than the host b")
	}
}

// ledgerOf is what a CA's Secret says, as it is stored.
type ledgerOf struct {
	authority.Identity
	Copies []authority.Copy `json:"copies,omitempty"`
	Ledger plan.Ledger      `json:"ledger"`
	damage string           // stands in its place
}

// storedLedger is the Secret of a CA that is being rotated.
func storedLedger(t *testing.T, change func(*ledgerOf)) *corev1.Secret {
	t.Helper()
	d := ledgerOf{
		Identity: authority.Identity{Namespace: "prod", Name: "k8s", NamespaceUID: "n", UID: "x", HomeUID: "h"},
		Ledger: plan.Ledger{Revision: 7, BundleRevision: 3, Last: 2, Wave: 2, Generations: []plan.Generation{
			{Number: 1, State: plan.Retiring, SHA256: "01"}, {Number: 2, State: plan.Active, SHA256: "02"},
		}},
	}
	change(&d)
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if d.damage != "" {
		text = []byte(d.damage)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: authority.SecretName(d.Namespace, d.Name)}, Type: authority.SecretType,
		Data: map[string][]byte{"ledger.json": text},
	}
}
