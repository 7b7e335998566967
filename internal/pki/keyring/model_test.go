package keyring

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is a cluster of API servers that share a ledger. Each has the files of some publication: it trusts the keys of one, and signs by
// the key of another, because an API server and a controller manager start one after the other. Of one with an agent it is known what
// it uses; of another one only that it trusts what is published no later than mountDelay after that, and, unless it is stuck, signs by it.
type model struct {
	now      time.Time
	ledger   Ledger
	want     Inputs
	servers  []*modelServer
	tokens   []modelToken
	made     int
	observed *modelView // what a manager read before its next write: another one may write first, or it may die
	on       gates
	stuck    bool // so are those without an agent
}

const (
	modelRetain = 40 * time.Minute
	mountDelay  = 4 * time.Minute
)

// modelPublication is what sa.pub holds. The first key signs.
type modelPublication []int32

type modelServer struct {
	name           string
	mounted, stuck bool // stuck: it goes on signing by the key that it began with, until a person starts it anew
	trusts, signs  modelPublication
	before         modelPublication // what it had installed before
	back           bool             // it was set back, and has not got over that
}

// modelToken is valid for modelRetain, or for ever.
type modelToken struct {
	key   int32
	at    time.Time
	never bool
}

type modelView struct {
	ledger Ledger
	in     Inputs
}

func newModel(t *rapid.T, on gates) *model {
	m := &model{now: time.Unix(1_000_000_000, 0), on: on, want: Inputs{Retain: modelRetain}, stuck: rapid.Bool().Draw(t, "stuck")}
	m.ledger = Bootstrap(m.now, Ledger{}, Origin{Active: "k1"})
	for range 3 {
		m.birth()
	}
	return m
}

func (m *model) publication() modelPublication {
	var out modelPublication
	for _, k := range m.ledger.Publication() {
		out = append(out, k.Number)
	}
	return out
}

// birth adds an API server. It begins with what is published.
func (m *model) birth() {
	m.made++
	p := m.publication()
	m.servers = append(m.servers, &modelServer{
		name: fmt.Sprintf("s%d", m.made), mounted: m.made%3 == 0, stuck: m.stuck, trusts: p, signs: p, before: p,
	})
}

func (m *model) install(s *modelServer) {
	if p := m.publication(); !slices.Equal(s.trusts, p) {
		s.before = s.trusts
	}
	s.trusts = m.publication()
}

// mounts brings what is published to those without an agent, when its time has come.
func (m *model) mounts() {
	for _, s := range m.servers {
		if m.arrivedByTime(s) {
			m.install(s)
			if !s.stuck {
				s.signs = s.trusts
			}
		}
	}
}

func (m *model) arrivedByTime(s *modelServer) bool {
	return s.mounted && !m.ledger.Published.IsZero() && !m.now.Before(m.ledger.Published.Add(mountDelay))
}

// observe reads what a step is decided from.
func (m *model) observe() {
	in := m.want
	in.Now, in.Tokens.Listed = m.now, true
	for _, s := range m.servers {
		c := Consumer{Name: s.name, Host: s.name}
		if s.mounted {
			c.Assumed, c.AcceptsAssumed, c.HasPublication = true, !s.stuck, m.arrivedByTime(s)
		} else {
			c.HasPublication = slices.Equal(s.trusts, m.publication()) && slices.Equal(s.signs, s.trusts)
		}
		in.Consumers = append(in.Consumers, c)
	}
	for _, t := range m.tokens {
		if t.never && t.at.Before(m.ledger.SwitchedAt()) {
			in.Tokens.Left++
		}
	}
	m.observed = &modelView{m.ledger, in}
}

// commit makes the step that was decided from what was observed, if nobody wrote the ledger since.
func (m *model) commit() {
	v := m.observed
	m.observed = nil
	if v == nil || v.ledger.Revision != m.ledger.Revision {
		return
	}
	next, t := v.ledger.step(v.in, m.on)
	if t == NewKey {
		next, _ = next.Enter(v.in, fmt.Sprintf("k%d", next.NextNumber()))
	}
	m.ledger = next
}

// sign makes a token at an API server. What one signs that was set back is promised to nobody.
func (m *model) sign(s *modelServer, never bool) {
	if !s.back {
		m.tokens = append(m.tokens, modelToken{s.signs[0], m.now, never})
	}
}

// begins starts a controller manager with what its API server has.
func (m *model) begins(s *modelServer) {
	s.signs = s.trusts
	s.back = s.back && !slices.Equal(s.signs, m.publication())
}

// setBack is a host that comes back from a snapshot. It is done while nobody decides, and where what it has then is as good as what is
// published: it trusts what anybody signs by or will, and everybody trusts what it signs by, and will.
func (m *model) setBack(s *modelServer) {
	published := m.publication()
	if m.observed != nil || s.mounted || !slices.Contains(s.before, published[0]) || !slices.Contains(published, s.before[0]) {
		return
	}
	trusts, signs, back := s.trusts, s.signs, s.back
	s.trusts, s.signs, s.back = s.before, s.before, true
	if m.check() != nil {
		s.trusts, s.signs, s.back = trusts, signs, back
	}
}

// check says what is wrong with the cluster.
func (m *model) check() error {
	if err := m.ledger.Check(); err != nil {
		return err
	}
	for _, a := range m.servers {
		if !m.ledger.KeepsPrivate(a.signs[0]) && !a.back && !a.stuck {
			return fmt.Errorf("%s signs by key %d, whose private half is gone", a.name, a.signs[0])
		}
		for _, b := range m.servers {
			if !slices.Contains(b.trusts, a.signs[0]) {
				return fmt.Errorf("%s, which trusts %v, refuses the tokens of %s, which signs by key %d", b.name, b.trusts, a.name, a.signs[0])
			}
		}
		for _, t := range m.tokens {
			if !slices.Contains(a.trusts, t.key) {
				return fmt.Errorf("%s, which trusts %v, refuses a token that was signed %v ago by key %d", a.name, a.trusts, m.now.Sub(t.at), t.key)
			}
		}
	}
	return nil
}

// expire forgets the tokens that have ended.
func (m *model) expire() {
	m.tokens = slices.DeleteFunc(m.tokens, func(t modelToken) bool { return !t.never && !m.now.Before(t.at.Add(modelRetain)) })
}

// act does one random thing.
func (m *model) act(t *rapid.T) {
	pick := func() *modelServer { return m.servers[rapid.IntRange(0, len(m.servers)-1).Draw(t, "server")] }
	switch rapid.IntRange(0, 15).Draw(t, "action") {
	case 0, 1:
		m.observe()
	case 2, 3:
		m.commit()
	case 4: // the product Secret is seen to hold what is published
		if m.ledger.Published.IsZero() {
			m.ledger = m.ledger.Seen(m.now)
		}
	case 5, 6, 7: // an API server starts with what is published
		if s := pick(); !s.mounted {
			m.install(s)
		}
	case 8, 9: // and so does its controller manager
		if s := pick(); !s.mounted {
			m.begins(s)
		}
	case 10: // a person starts a controller manager anew
		if s := pick(); s.mounted {
			m.begins(s)
		}
	case 11:
		m.want.Trigger = rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e"}).Draw(t, "trigger")
	case 12:
		m.sign(pick(), rapid.IntRange(0, 3).Draw(t, "never") == 0)
	case 13: // a Secret whose token never ends is deleted
		if i := slices.IndexFunc(m.tokens, func(t modelToken) bool { return t.never }); i >= 0 {
			m.tokens = slices.Delete(m.tokens, i, i+1)
		}
	case 14:
		if rapid.Bool().Draw(t, "dies") {
			m.observed = nil
		} else if len(m.servers) < 5 {
			m.birth()
		} else {
			m.servers = slices.Delete(m.servers, 3, 4)
		}
	case 15:
		if rapid.Bool().Draw(t, "age") {
			m.want.RotateEvery = rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(t, "rotateEvery")
		} else {
			m.setBack(pick())
		}
	}
}

func run(t *rapid.T, on gates) error {
	m := newModel(t, on)
	for range rapid.IntRange(20, 600).Draw(t, "steps") {
		m.now = m.now.Add(time.Minute)
		m.mounts()
		m.expire()
		m.act(t)
		if err := m.check(); err != nil {
			return err
		}
	}
	return nil
}

// TestModel: with every gate, each API server accepts the tokens of every other one's key at every moment, and a token for as long as
// it was promised, whatever the order of events.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if err := run(t, allGates); err != nil {
			t.Fatal(err)
		}
	})
}

// TestEveryGateIsNeeded takes the gates away one by one: the world must go wrong without it.
func TestEveryGateIsNeeded(t *testing.T) {
	for name, without := range map[string]func(*gates){
		"distributed": func(g *gates) { g.distributed = false },
		"switched":    func(g *gates) { g.switched = false },
		"settled":     func(g *gates) { g.settled = false },
		"retained":    func(g *gates) { g.retained = false },
		"tokens":      func(g *gates) { g.tokens = false },
		"assumed":     func(g *gates) { g.assumed = false },
	} {
		t.Run(name, func(t *testing.T) {
			on := allGates
			without(&on)
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

// TestModelGoesThrough: whole rotations, and withdrawals, happen in it.
func TestModelGoesThrough(t *testing.T) {
	runs := rapid.Custom(func(t *rapid.T) map[Transition]bool {
		m, seen := newModel(t, allGates), map[Transition]bool{}
		for range 600 {
			m.now = m.now.Add(time.Minute)
			m.mounts()
			m.expire()
			if m.observed != nil && m.observed.ledger.Revision == m.ledger.Revision {
				_, step := m.observed.ledger.Step(m.observed.in)
				seen[step] = true
			}
			m.act(t)
		}
		return seen
	})
	all := map[Transition]bool{}
	for seed := range 200 {
		for step := range runs.Example(seed) {
			all[step] = true
		}
	}
	for _, step := range []Transition{NewKey, Switch, Complete, Withdraw, Forget, Rollback} {
		if !all[step] {
			t.Errorf("no run has the step %s", cmp.Or(string(step), "Nothing"))
		}
	}
}
