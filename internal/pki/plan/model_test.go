package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is a cluster of hosts that all present a certificate of one CA and verify each other's. Everything that
// reaches a host takes two actions: it is written to its Secret, and it is installed. An agent says what is installed; of
// a mounted Secret it is known only that it is installed no later than mountDelay after it was written.
type model struct {
	now    time.Time
	ledger Ledger
	want   DesiredLedger
	erased map[int32]bool // generations whose key is deleted
	hosts  []*modelHost
	born   int
	// observed is what a manager read before its next write: another one may write first, or it may die.
	observed *modelView
	on       gates
	approved int32 // the generation whose rotation a person lets withdraw
}

const mountDelay = 4 * time.Minute

type modelHost struct {
	name               string
	seed               uint32
	mounted            bool
	written, installed modelTrust
	leaf, inUse        int32
	// changed is what the operator notes of a change; the others are when bundle and certificate were written by anybody.
	changed, trustWritten, leafWritten time.Time
	// formerLeaf is what its Secret held before leaf. spoiled: somebody has overwritten it, and the host may not have got over that.
	formerLeaf int32
	spoiled    bool
	// embedded: the process never reads its certificate again, whatever is mounted, until a person starts it anew.
	embedded bool
}

type modelTrust struct {
	revision    int64
	generations []int32
}

type modelView struct {
	ledger Ledger
	seen   Observation
	want   DesiredLedger
	at     time.Time
}

func newModel(on gates) *model {
	m := &model{now: time.Unix(1_000_000_000, 0), erased: map[int32]bool{}, want: DesiredLedger{SpecHash: "a", MaxUnavailable: 1}, on: on}
	m.ledger = Bootstrap(m.now, Ledger{}, Generation{Number: 1, SpecHash: "a"})
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
	h := &modelHost{name: fmt.Sprintf("h%03d", m.born), seed: uint32(m.born * 2654435761), mounted: m.born%3 != 1, embedded: m.born%3 == 0}
	m.hosts = append(m.hosts, h)
	m.render(h)
}

func (m *model) render(h *modelHost) {
	was, leaf := h.written.revision, h.leaf
	h.written = modelTrust{revision: m.ledger.BundleRevision}
	for _, g := range m.ledger.Published() {
		h.written.generations = append(h.written.generations, g.Number)
	}
	active, _ := m.ledger.Active()
	waits := slices.ContainsFunc(m.ledger.Published(), func(g Generation) bool { return g.Number == h.leaf }) && !m.ledger.Admits(h.seed)
	if !waits && leaf != active.Number {
		h.leaf, h.formerLeaf = active.Number, max(leaf, h.formerLeaf)
	}
	if was != h.written.revision {
		h.changed, h.trustWritten = m.now, m.now
	}
	if leaf != h.leaf {
		h.changed, h.leafWritten = m.now, m.now
	}
}

// spoil is somebody who writes a mounted Secret: no certificate, or the one that it held before. It is done while nobody decides,
// because what is overwritten between the last look and the write of the ledger helps no gate, and while a certificate of
// that CA is still accepted.
func (m *model) spoil(t *rapid.T, h *modelHost) {
	old := rapid.SampledFrom([]int32{0, h.formerLeaf}).Draw(t, "old certificate")
	published := slices.ContainsFunc(m.ledger.Published(), func(g Generation) bool { return g.Number == old })
	if !h.mounted || m.observed != nil || old != 0 && !published {
		return
	}
	h.leaf, h.leafWritten, h.spoiled = old, m.now, true
}

// observe reads what a step is decided from. An agent acknowledges what is installed, and only that.
func (m *model) observe() {
	seen := Observation{}
	for _, h := range m.hosts {
		c := Consumer{Name: h.name, Seed: h.seed, RelyingParty: true, HasLeaf: true, Issued: h.leaf}
		if h.mounted {
			c.Mounted, c.Delay, c.Changed, c.AcceptsAssumed = true, mountDelay, h.changed, !h.embedded
			c.Trusts, c.Leaf = h.written.revision == m.ledger.BundleRevision, h.leaf
		} else {
			c.Trusts, c.Leaf = h.installed.revision == m.ledger.BundleRevision, h.inUse
		}
		seen.Consumers = append(seen.Consumers, c)
	}
	m.observed = &modelView{m.ledger, seen, m.want, m.now}
}

// commit makes the step that was decided from what was observed, if nobody wrote the ledger since.
func (m *model) commit() {
	v := m.observed
	m.observed = nil
	if v == nil || v.ledger.Revision != m.ledger.Revision {
		return
	}
	v.want.WithdrawalApproved = v.ledger.Rotation != nil && v.ledger.Rotation.To == m.approved
	next, t := v.ledger.step(v.at, v.want, v.seen, m.on)
	if t == NewKey {
		g := Generation{Number: next.NextNumber(), SpecHash: v.want.SpecHash}
		next, _ = next.Enter(v.at, g, v.want)
		m.want.Due = ""
	}
	for _, g := range v.ledger.Generations {
		if !next.Names(g.Number) {
			m.erased[g.Number] = true
		}
	}
	m.ledger = next
}

// check says what is wrong with the cluster.
func (m *model) check() error {
	if err := m.ledger.Check(); err != nil {
		return err
	}
	for _, h := range m.hosts {
		for _, g := range h.installed.generations {
			if m.erased[g] {
				return fmt.Errorf("%s still trusts generation %d, and its key is deleted", h.name, g)
			}
		}
	}
	if n := m.flying(); n > m.want.MaxUnavailable {
		return fmt.Errorf("%d certificates were re-issued and are not in use, at once", n)
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
	active, _ := m.ledger.Active()
	n := 0
	for _, h := range m.hosts {
		if m.ledger.in(Retiring) != nil && h.leaf == active.Number && h.inUse != 0 && h.inUse != h.leaf && !h.spoiled && !h.embedded {
			n++
		}
	}
	return n
}

// mounts installs what mounted Secrets hold, no later than the delay says.
func (m *model) mounts() {
	active, _ := m.ledger.Active()
	for _, h := range m.hosts {
		leaf := h.mounted && h.leaf != 0 && !m.now.Before(h.leafWritten.Add(mountDelay))
		if begins := h.inUse == 0 && leaf; begins || h.mounted && h.inUse != 0 && !m.now.Before(h.trustWritten.Add(mountDelay)) {
			h.installed = h.written
		}
		if leaf && (!h.embedded || h.inUse == 0) {
			h.inUse, h.spoiled = h.leaf, h.spoiled && h.leaf != active.Number
		}
	}
}

// act does one random thing.
func (m *model) act(t *rapid.T) {
	pick := func() *modelHost { return m.hosts[rapid.IntRange(0, len(m.hosts)-1).Draw(t, "host")] }
	switch rapid.IntRange(0, 15).Draw(t, "action") {
	case 0, 1:
		m.observe()
	case 2, 3:
		m.commit()
	case 4, 5:
		m.render(pick())
	case 6, 7: // the trust bundle reaches the process
		if h := pick(); h.inUse != 0 {
			h.installed = h.written
		}
	case 8, 9: // the certificate reaches the process
		if h := pick(); h.inUse != 0 && h.leaf != 0 && !h.embedded { // what cannot be read is not loaded
			h.inUse = h.leaf
		}
	case 10: // a new host begins, with both
		if len(m.hosts) < 5 {
			m.birth()
		}
		for _, h := range m.hosts {
			if h.inUse == 0 && h.leaf != 0 && rapid.Bool().Draw(t, "begins") {
				h.installed, h.inUse = h.written, h.leaf
			}
		}
	case 11:
		m.want.SpecHash = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "spec")
	case 12:
		if rapid.Bool().Draw(t, "expiry") {
			m.want.Due = CARenewalDue
		} else {
			m.observed = nil // the manager dies
		}
	case 13:
		m.spoil(t, pick())
	case 14: // a person starts a process anew
		if h := pick(); h.embedded && h.inUse != 0 && h.leaf != 0 && !m.takesBack(h) {
			h.installed, h.inUse = h.written, h.leaf
		}
	case 15:
		m.approve()
	}
}

// approve is a person who has looked at every process that never reads its certificate again.
func (m *model) approve() {
	active, _ := m.ledger.Active()
	old := slices.ContainsFunc(m.hosts, func(h *modelHost) bool { return h.embedded && h.inUse != 0 && h.inUse != active.Number })
	if m.ledger.in(Retiring) != nil && !old {
		m.approved = m.ledger.Rotation.To
	}
}

// takesBack says whether a process that is started now would use the old CA again although a person has let it be withdrawn: whoever
// approves looks at what he starts afterwards too.
func (m *model) takesBack(h *modelHost) bool {
	active, _ := m.ledger.Active()
	return m.ledger.Rotation != nil && m.approved == m.ledger.Rotation.To && h.leaf != active.Number
}

func run(t *rapid.T, on gates) error {
	m := newModel(on)
	for range rapid.IntRange(20, 600).Draw(t, "steps") { // a whole rotation takes some 200
		m.now = m.now.Add(time.Minute)
		m.mounts()
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
		"trusted":   {trusted: false, reissued: true, withdrawn: true, assumed: true},
		"reissued":  {trusted: true, reissued: false, withdrawn: true, assumed: true},
		"withdrawn": {trusted: true, reissued: true, withdrawn: false, assumed: true},
		"assumed":   {trusted: true, reissued: true, withdrawn: true, assumed: false},
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
