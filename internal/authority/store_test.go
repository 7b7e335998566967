package authority_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

func TestCreateTakesNothingOver(t *testing.T) {
	first := root(t, "k8s")
	s, c, _ := created(t, first)
	if _, err := s.Create(ctx, newRecord(root(t, "k8s"))); !apierrors.IsAlreadyExists(err) {
		t.Errorf("a second one: %v", err)
	}
	if got := secret(t, c).Data["g1.key"]; string(got) != string(reveal(t, first)) {
		t.Error("the first key is another")
	}
}

// TestCommitIsCompareAndSwap: of two that decided from the same read, one is refused, and nothing of it is stored.
func TestCommitIsCompareAndSwap(t *testing.T) {
	s, c, r := created(t, root(t, "k8s"))
	winner, loser := withNext(r, root(t, "k8s g2")), withNext(r, root(t, "k8s g2"))
	after, err := s.Commit(ctx, r, winner)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(ctx, r, loser); !apierrors.IsConflict(err) {
		t.Errorf("who was slower: %v", err)
	}
	if got := secret(t, c).Data["g2.key"]; string(got) != string(reveal(t, winner.CAs[2])) {
		t.Error("the key of generation 2 is not that of who was faster")
	}
	if after.Version == r.Version || after.Ledger.Revision != r.Ledger.Revision+1 {
		t.Errorf("version %q, revision %d", after.Version, after.Ledger.Revision)
	}
	if _, err := s.Commit(ctx, after, after.Next()); err != nil {
		t.Errorf("who reads again: %v", err)
	}
}

// TestCommitOfWhatIsGone: a Secret that was deleted, or made anew, is not written over.
func TestCommitOfWhatIsGone(t *testing.T) {
	s, c, r := created(t, root(t, "k8s"))
	if err := c.Delete(ctx, secret(t, c)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(ctx, r, withNext(r, root(t, "k8s g2"))); err == nil {
		t.Error("what was deleted is back")
	}
	if got, err := s.Live(ctx, "prod", "k8s"); got != nil || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestKeysAreNeverWrittenAnew: what is stored of a generation stays byte by byte, whatever a record says of it.
func TestKeysAreNeverWrittenAnew(t *testing.T) {
	s, c, r := created(t, root(t, "k8s"))
	before := secret(t, c)
	next := withNext(r, root(t, "k8s g2"))
	first := next.CAs[1]
	first.Key, first.Root = root(t, "x").Key, root(t, "x").Cert
	next.CAs[1] = first
	if _, err := s.Commit(ctx, r, next); err != nil {
		t.Fatal(err)
	}
	after := secret(t, c)
	if string(after.Data["g1.key"]) != string(before.Data["g1.key"]) || after.Data["g1-root.crt"] != nil {
		t.Error("the key of generation 1 was written anew")
	}
}

// TestADeletedKeyLeaves the Secret with its generation, and no other does.
func TestADeletedKeyLeaves(t *testing.T) {
	s, c, r := created(t, root(t, "k8s"))
	r, err := s.Commit(ctx, r, withNext(r, root(t, "k8s g2")))
	if err != nil {
		t.Fatal(err)
	}
	observed := plan.Observation{Consumers: []plan.Consumer{{RelyingParty: true, Trusts: true, HasLeaf: true, Leaf: 2, Issued: 2}}}
	for r.Ledger.Phase() != plan.Completed {
		next := r.Next()
		next.Ledger, _ = r.Ledger.Step(start.Add(time.Hour), plan.DesiredLedger{SpecHash: "b"}, observed)
		if r, err = s.Commit(ctx, r, next); err != nil {
			t.Fatal(err)
		}
		if _, there := secret(t, c).Data["g1.key"]; there != r.Ledger.Names(1) {
			t.Fatalf("in phase %s the key of generation 1 is there: %v", r.Ledger.Phase(), there)
		}
	}
	if keys := secret(t, c).Data; len(keys) != 3 || len(keys["g2.key"]) == 0 {
		t.Errorf("%d keys are left", len(keys))
	}
}

// TestAnotherCAAfterATombstone has new numbers, and nothing of what was destroyed.
func TestAnotherCAAfterATombstone(t *testing.T) {
	s, c, r := created(t, root(t, "k8s"))
	gone := r.Next()
	gone.Ledger, gone.CAs, gone.Err = r.Ledger.Tombstone(), nil, nil
	if _, err := s.Commit(ctx, r, gone); !isInvariant(err) {
		t.Errorf("one that is not marked: %v", err)
	}
	marked := r.Next()
	marked.Deleted = start
	r, err := s.Commit(ctx, r, marked)
	if err != nil {
		t.Fatal(err)
	}
	gone.Deleted = start
	if r, err = s.Commit(ctx, r, gone); err != nil || !r.Tombstone() {
		t.Fatal(err)
	}
	if data := secret(t, c).Data; len(data) != 1 {
		t.Errorf("a tombstone has %d keys", len(data))
	}
	if _, err := r.Active(); err == nil {
		t.Error("a tombstone signs")
	}
	for number, ok := range map[int32]bool{1: false, 2: true} {
		next, ca := r.Next(), root(t, "k8s")
		next.Ledger = plan.Bootstrap(start, r.Ledger, generation(number, ca))
		next.Ledger.Last = max(number, r.Ledger.Last)
		next.CAs = map[int32]pki.CA{number: ca}
		if _, err := s.Commit(ctx, r, next); (err == nil) != ok || !ok && !isInvariant(err) {
			t.Errorf("generation %d after it: %v", number, err)
		}
	}
}

func TestListTellsWhatIsDamaged(t *testing.T) {
	s, c, _ := created(t, root(t, "k8s"))
	for name, kind := range map[string]corev1.SecretType{"ca.prod.broken": authority.SecretType, "seal": authority.SealSecretType, "ca.prod.other": corev1.SecretTypeOpaque} {
		if err := c.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: name}, Type: kind}); err != nil {
			t.Fatal(err)
		}
	}
	records, damaged, err := s.List(ctx)
	if err != nil || len(records) != 1 || records[0].Name != "k8s" || len(damaged) != 1 || damaged["ca.prod.broken"] == nil {
		t.Errorf("%d records, damaged %v, %v", len(records), damaged, err)
	}
	if _, err := s.Live(ctx, "prod", "broken"); !isUnreadable(err) {
		t.Errorf("it is read as %v", err)
	}
}

func isUnreadable(err error) bool {
	_, ok := errors.AsType[*authority.UnreadableError](err)
	return ok
}

// TestCached: without keys, without damage because of that, parsed once, and never to be written from.
func TestCached(t *testing.T) {
	_, c, r := created(t, root(t, "k8s"))
	stripped, err := authority.WithoutKeys(secret(t, c))
	if err != nil {
		t.Fatal(err)
	}
	damaged := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "ca.prod.x"}, Type: authority.SecretType}
	cache := fake.NewClientBuilder().WithObjects(stripped.(*corev1.Secret), damaged).
		WithIndex(&corev1.Secret{}, authority.NamespaceIndex, authority.NamespaceOf).Build()
	s := authority.New(home, c, cache)
	one, err := s.Cached(ctx, "prod", "k8s")
	if err != nil || !one.WithoutKeys || len(one.Err) > 0 || one.CAs[1].Key.Public() != nil || !one.CAs[1].Cert.Equal(r.CAs[1].Cert) {
		t.Fatalf("%+v, %v", one, err)
	}
	if again, err := s.Cached(ctx, "prod", "k8s"); err != nil || again != one {
		t.Errorf("it is parsed anew, %v", err)
	}
	if all, err := s.CachedIn(ctx, "prod"); err != nil || !slices.Equal(all, []*authority.Record{one}) {
		t.Errorf("of the namespace: %v, %v", all, err)
	}
	if none, err := s.CachedIn(ctx, "test"); err != nil || len(none) != 0 {
		t.Errorf("of another: %v, %v", none, err)
	}
	if none, err := s.Cached(ctx, "prod", "none"); err != nil || none != nil {
		t.Errorf("one that is not: %v, %v", none, err)
	}
	if _, err := s.Cached(ctx, "prod", "x"); !isUnreadable(err) {
		t.Errorf("a damaged one: %v", err)
	}
	if _, err := s.Commit(ctx, one, one.Next()); !isInvariant(err) || !strings.Contains(err.Error(), "cache") {
		t.Errorf("written from the cache: %v", err)
	}
	if len(secret(t, c).Data["g1.key"]) == 0 {
		t.Error("the key is lost")
	}
}

// TestStoreTellsErrors of the API server as they are: they are no damage.
func TestStoreTellsErrors(t *testing.T) {
	down := errors.New("down")
	c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return down
		},
	}).Build()
	s := authority.New(home, c, c)
	for name, read := range map[string]func(context.Context, string, string) (*authority.Record, error){"live": s.Live, "cached": s.Cached} {
		if _, err := read(ctx, "prod", "k8s"); !errors.Is(err, down) || isUnreadable(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Seal(ctx); !errors.Is(err, down) {
		t.Errorf("the seal: %v", err)
	}
}
