package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is a world of hosts that all show a certificate of one CA and verify each other's. Everything that
// reaches a host takes two actions: it is written to its Secret, and it is installed.
type model struct {
	now    time.Time
	ledger Ledger
	want   Want
	stored map[int32]bool // generation Secrets
	erased map[int32]bool // those that the operator deleted itself
	hosts  []*modelHost
	born   int
	// observed is what a manager read before its next write: another one may write first, or it may die.
	observed *modelView
	on       gates
}

type modelHost struct {
	name               string
	seed               uint32
	written, installed modelTrust
	leaf, inUse        int32
}

type modelTrust struct {
	revision    int64
	generations []int32
}

type modelView struct {
	ledger Ledger
	seen   Seen
	want   Want
}

func newModel(on gates) *model {
	m := &model{
		now: time.Unix(1_000_000_000, 0), stored: map[int32]bool{1: true}, erased: map[int32]bool{},
		want: Want{RequestHash: "a", MaxUnavailable: 1}, on: on,
	}
	m.ledger = Ledger{Revision: 1, TrustRevision: 1, Last: 1, Since: m.now, Generations: []Generation{{Number: 1, State: Signing, RequestHash: "a"}}}
	for range 3 {
		m.birth()
	}
	for _, h := range m.hosts {
		h.installed, h.inUse = h.written, h.leaf
	}
	return m
}

// birth adds a consumer. It is rendered from the ledger as it is, and does nothing until that is installed.
func (m *model) birth() {
	m.born++
	h := &modelHost{name: fmt.Sprintf("h%03d", m.born), seed: uint32(m.born * 2654435761)}
	m.hosts = append(m.hosts, h)
	m.render(h)
}

func (m *model) render(h *modelHost) {
	h.written = modelTrust{revision: m.ledger.TrustRevision}
	for _, g := range m.ledger.Published() {
		h.written.generations = append(h.written.generations, g.Number)
	}
	signing, _ := m.ledger.Signing()
	waits := slices.ContainsFunc(m.ledger.Published(), func(g Generation) bool { return g.Number == h.leaf }) && !m.ledger.Admits(h.seed)
	if !waits {
		h.leaf = signing.Number
	}
}

// observe reads what a step is decided from. A host acknowledges what it has installed, and only that.
func (m *model) observe() {
	seen := Seen{Stored: map[int32]bool{}}
	for n := range m.stored {
		seen.Stored[n] = true
	}
	for _, h := range m.hosts {
		seen.Peers = append(seen.Peers, Peer{
			Name: h.name, Seed: h.seed, Trusts: true, Trust: h.installed.revision, HasLeaf: true, Leaf: h.inUse, Issued: h.leaf,
		})
	}
	m.observed = &modelView{m.ledger, seen, m.want}
}

// commit makes the step that was decided from what was observed, if nobody wrote the ledger since.
func (m *model) commit() {
	v := m.observed
	m.observed = nil
	if v == nil || v.ledger.Revision != m.ledger.Revision {
		return
	}
	next, t := v.ledger.step(m.now, v.want, v.seen, m.on)
	if t == Stage {
		g := Generation{Number: next.NextNumber(), RequestHash: v.want.RequestHash, Trigger: v.want.Trigger}
		m.stored[g.Number] = true // before the ledger names it
		m.ledger = next.Add(m.now, g, next.CauseOf(v.want))
		m.want.Due = ""
		return
	}
	for _, g := range v.ledger.Generations {
		if !slices.ContainsFunc(next.Generations, func(o Generation) bool { return o.Number == g.Number }) {
			delete(m.stored, g.Number)
			m.erased[g.Number] = true
		}
	}
	m.ledger = next
}

// lose deletes the key of a generation that does not sign: before it is read back, because nothing helps
// against losing it later.
func (m *model) lose() {
	for _, state := range []State{Staged, Trusted, Retiring, Withdrawn} {
		if g := m.ledger.in(state); g != nil && m.observed == nil {
			delete(m.stored, g.Number)
		}
	}
}

// check says what is wrong with the world.
func (m *model) check() error {
	if signing, _ := m.ledger.Signing(); !m.stored[signing.Number] {
		return fmt.Errorf("generation %d signs, and its key is not there", signing.Number)
	}
	for _, h := range m.hosts {
		for _, g := range h.installed.generations {
			if m.erased[g] {
				return fmt.Errorf("%s still trusts generation %d, and its key is deleted", h.name, g)
			}
		}
	}
	if n := m.flying(); n > m.want.MaxUnavailable {
		return fmt.Errorf("%d certificates were issued again and are not in use, at once", n)
	}
	for _, a := range m.hosts {
		for _, b := range m.hosts {
			if a.inUse == 0 || b.inUse == 0 {
				continue
			}
			if !slices.Contains(b.installed.generations, a.inUse) {
				return fmt.Errorf("%s meets %s, whose certificate is of generation %d, with a bundle of %v", b.name, a.name, a.inUse, b.installed.generations)
			}
		}
	}
	return nil
}

// flying counts the hosts that have a new certificate and still use the one before, while a CA is being retired.
func (m *model) flying() int {
	signing, _ := m.ledger.Signing()
	n := 0
	for _, h := range m.hosts {
		if m.ledger.in(Retiring) != nil && h.leaf == signing.Number && h.inUse != 0 && h.inUse != h.leaf {
			n++
		}
	}
	return n
}

// act does one random thing.
func (m *model) act(t *rapid.T) {
	pick := func() *modelHost { return m.hosts[rapid.IntRange(0, len(m.hosts)-1).Draw(t, "host")] }
	switch rapid.IntRange(0, 13).Draw(t, "action") {
	case 0, 1:
		m.observe()
	case 2, 3:
		m.commit()
	case 4:
		m.lose()
	case 5, 6:
		m.render(pick())
	case 7, 8: // the trust bundle reaches the process
		if h := pick(); h.inUse != 0 {
			h.installed = h.written
		}
	case 9, 10: // the certificate reaches the process
		if h := pick(); h.inUse != 0 {
			h.inUse = h.leaf
		}
	case 11: // a new host begins, with both
		if len(m.hosts) < 5 {
			m.birth()
		}
		for _, h := range m.hosts {
			if h.inUse == 0 && rapid.Bool().Draw(t, "begins") {
				h.installed, h.inUse = h.written, h.leaf
			}
		}
	case 12:
		m.want.RequestHash = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "spec")
	case 13:
		if rapid.Bool().Draw(t, "expiry") {
			m.want.Due = CARenewalDue
		} else {
			m.observed = nil // the manager dies
		}
	}
}

func run(t *rapid.T, on gates) error {
	m := newModel(on)
	for range rapid.IntRange(20, 120).Draw(t, "steps") {
		m.now = m.now.Add(time.Minute)
		m.act(t)
		if err := m.check(); err != nil {
			return err
		}
	}
	return nil
}

// TestModel: with every gate, no consumer ever meets a peer that it cannot verify, and no key that is
// trusted is lost, whatever the order of events.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if err := run(t, allGates); err != nil {
			t.Fatal(err)
		}
	})
}

// TestEveryGateIsNeeded takes the gates away one by one: the world must go wrong without it.
func TestEveryGateIsNeeded(t *testing.T) {
	for name, on := range map[string]gates{
		"stored":    {stored: false, trusted: true, reissued: true, withdrawn: true},
		"trusted":   {stored: true, trusted: false, reissued: true, withdrawn: true},
		"reissued":  {stored: true, trusted: true, reissued: false, withdrawn: true},
		"withdrawn": {stored: true, trusted: true, reissued: true, withdrawn: false},
	} {
		t.Run(name, func(t *testing.T) {
			runs := rapid.Custom(func(t *rapid.T) error { return run(t, on) })
			for seed := range 100_000 {
				if err := runs.Example(seed); err != nil {
					t.Logf("run %d: %v", seed+1, err)
					return
				}
			}
			t.Error("the world is as safe without this gate: it does nothing, or the model does not see what it is for")
		})
	}
}
