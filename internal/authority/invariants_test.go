package authority_test

import (
	"strings"
	"testing"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// entering is a CA, and the right write of a second generation.
func entering(t *testing.T) (s *authority.Store, was, next *authority.Record) {
	s, _, was = created(t, root(t, "k8s"))
	return s, was, withNext(was, root(t, "k8s g2"))
}

// leaving is a CA whose second generation was rolled back, and the right write that deletes its key.
func leaving(t *testing.T) (s *authority.Store, was, next *authority.Record) {
	s, was, next = entering(t)
	was, err := s.Commit(ctx, was, next)
	if err != nil {
		t.Fatal(err)
	}
	next = was.Next()
	next.Ledger, _ = was.Ledger.Step(start, plan.DesiredLedger{SpecHash: "a"}, plan.Observation{})
	if was, err = s.Commit(ctx, was, next); err != nil {
		t.Fatal(err)
	}
	next = was.Next()
	next.Ledger, _ = was.Ledger.Step(start, plan.DesiredLedger{SpecHash: "a"}, plan.Observation{Consumers: []plan.Consumer{{RelyingParty: true, Trusts: true}}})
	return s, was, next
}

// left is a CA whose second generation came and went, and the write of a third one.
func left(t *testing.T) (s *authority.Store, was, next *authority.Record) {
	s, was, next = leaving(t)
	was, err := s.Commit(ctx, was, next)
	if err != nil {
		t.Fatal(err)
	}
	return s, was, withNext(was, root(t, "k8s g3"))
}

// TestInvariants: each rule refuses a write that is right without the one change that breaks it.
func TestInvariants(t *testing.T) {
	other := root(t, "other")
	for name, tc := range map[string]struct {
		write func(*testing.T) (s *authority.Store, was, next *authority.Record)
		mod   func(r *authority.Record)
		want  string
	}{
		"the ledger is none":          {entering, func(r *authority.Record) { r.Ledger.Generations[0].State = plan.Trusted }, "0 active generations"},
		"it does not say whose it is": {entering, func(r *authority.Record) { r.NamespaceUID = "" }, "whose it is"},
		"it does not say where it is": {entering, func(r *authority.Record) { r.HomeUID = "" }, "whose it is"},
		"it is another CA's":          {entering, func(r *authority.Record) { r.Name = "etcd" }, "prod/k8s"},
		"it is another namespace's":   {entering, func(r *authority.Record) { r.Namespace = "test" }, "prod/k8s"},
		"a revision is left out":      {entering, func(r *authority.Record) { r.Ledger.Revision++ }, "does not follow"},
		"the revision is the same":    {entering, func(r *authority.Record) { r.Ledger.Revision-- }, "does not follow"},
		"the bundle's revision is":    {entering, func(r *authority.Record) { r.Ledger.BundleRevision-- }, "another bundle"},
		"the new key is not there":    {entering, func(r *authority.Record) { delete(r.CAs, 2) }, "certificate of generation 2 is not there"},
		"a certificate without its key": {entering, func(r *authority.Record) { r.CAs[2] = pki.CA{Cert: r.CAs[2].Cert} },
			"key of generation 2 is not there"},
		"another key":                           {entering, func(r *authority.Record) { r.CAs[2] = pki.CA{Cert: r.CAs[2].Cert, Key: other.Key} }, "key of generation 2"},
		"another certificate than the ledger's": {entering, func(r *authority.Record) { r.CAs[2] = other }, "another certificate of generation 2"},
		"another certificate than before":       {entering, func(r *authority.Record) { r.CAs[1] = other }, "another certificate than before"},
		"a certificate is gone":                 {entering, func(r *authority.Record) { delete(r.CAs, 1) }, "certificate of generation 1 is not there"},
		"a key in force leaves": {entering, func(r *authority.Record) {
			r.Ledger.Generations = r.Ledger.Generations[1:]
			r.Ledger.Generations[0].State = plan.Active
		}, "generation 1 is Active, and its key would be deleted"},
		"a CA that is not marked ends": {entering, func(r *authority.Record) {
			r.Ledger = plan.Ledger{Revision: r.Ledger.Revision, Last: r.Ledger.Last}
		}, "not marked"},
		"a generation goes back in its life": {leaving, func(r *authority.Record) {
			back := generation(2, r.CAs[2])
			back.State = plan.Trusted
			r.Ledger.Generations = append(r.Ledger.Generations, back)
		}, "generation 2 is Withdrawn, and would be Trusted again"},
		"the last number goes back": {left, func(r *authority.Record) {
			r.Ledger.Last, r.Ledger.Generations = 1, r.Ledger.Generations[:1]
		}, "goes back from 2 to 1"},
		"a number is given again": {left, func(r *authority.Record) {
			r.Ledger.Generations[1].Number, r.CAs[2] = 2, r.CAs[3]
		}, "its number is not given again"},
	} {
		s, was, next := tc.write(t)
		tc.mod(next)
		if _, err := s.Commit(ctx, was, next); !isInvariant(err) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := s.Live(ctx, "prod", "k8s"); err != nil || now.Version != was.Version {
			t.Errorf("%s: something is written, %v", name, err)
		}
	}
	for name, write := range map[string]func(*testing.T) (s *authority.Store, was, next *authority.Record){"entering": entering, "leaving": leaving, "left": left} {
		s, was, next := write(t)
		if _, err := s.Commit(ctx, was, next); err != nil {
			t.Errorf("%s without a change: %v", name, err)
		}
	}
}

// TestInvariantsOfANewCA hold as well.
func TestInvariantsOfANewCA(t *testing.T) {
	for name, mod := range map[string]func(*authority.Record){
		"whose it is":                 func(r *authority.Record) { r.Namespace = "" },
		"certificate of generation 1": func(r *authority.Record) { r.CAs = nil },
		"key of generation 1":         func(r *authority.Record) { r.CAs[1] = pki.CA{Cert: r.CAs[1].Cert} },
		"no revision":                 func(r *authority.Record) { r.Ledger.Revision = 0 },
	} {
		s, _ := newStore()
		r := newRecord(root(t, "k8s"))
		mod(r)
		if _, err := s.Create(ctx, r); !isInvariant(err) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
