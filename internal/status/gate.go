package status

import (
	"cmp"
	"slices"
	"strings"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// Gate is what the present phase of a CA's replacement waits for, consumer by consumer.
type Gate struct {
	Phase string
	// Acknowledged of Required have; Counted is false where the operator has not counted them yet.
	Acknowledged, Required int32
	Counted                bool
	// Answers are those that are asked, by kind and name: first those that have not acknowledged.
	Answers []Answer
}

// Answer is what one consumer has said.
type Answer struct {
	Kind, Name string
	// Host is that of a certificate; "" where it has none.
	Host  string
	State Acknowledgment
	// Note is, in a word, why it has not acknowledged; "" where that is not known.
	Note string
}

// Acknowledgment says whether a consumer has acknowledged.
type Acknowledgment string

// The answers.
const (
	Waiting      Acknowledgment = "Waiting"
	Unknown      Acknowledgment = "Unknown" // the status names only the first ten that are waited for
	Acknowledged Acknowledgment = "Acknowledged"
)

// GateOf says who has acknowledged the present phase of a CA's replacement; ok is false while there is none. The
// objects are those of its namespace. The status names who has not, and the specs say who is asked.
func (o Objects) GateOf(ca *v1alpha1.ClusterCA) (gate Gate, ok bool) {
	r := ca.Status.Rotation
	if r.Phase == "" {
		return Gate{}, false
	}
	gate.Phase = r.Phase
	var pending []string
	for _, g := range r.Gates {
		if g.Name == r.Phase {
			pending = g.Pending
			gate.Counted = g.Acknowledged != nil && g.Required != nil
			if gate.Counted {
				gate.Acknowledged, gate.Required = *g.Acknowledged, *g.Required
			}
		}
	}
	named, last, more := readPending(pending)
	hosts := o.hosts()
	for _, c := range o.ConsumersOf(ca.Name) {
		if !asks(ca, c) {
			continue
		}
		a := Answer{Kind: c.Kind, Name: c.Name, Host: hosts[c.Kind+"/"+c.Name], State: Acknowledged}
		name := c.Kind + "/" + c.Name
		if waiting, is := named[name]; is {
			a.State, a.Note = waiting.State, waiting.Note
			delete(named, name)
		} else if !gate.Counted || more && name > last {
			a.State = Unknown
		}
		gate.Answers = append(gate.Answers, a)
	}
	for _, a := range named { // what no spec names any more
		gate.Answers = append(gate.Answers, a)
	}
	order := []Acknowledgment{Waiting, Unknown, Acknowledged}
	slices.SortFunc(gate.Answers, func(x, y Answer) int {
		return cmp.Or(slices.Index(order, x.State)-slices.Index(order, y.State), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Name, y.Name))
	})
	return gate, true
}

// asks says whether the present phase asks a consumer. It is plan's question, from the specs.
func asks(ca *v1alpha1.ClusterCA, c Consumer) bool {
	switch plan.Phase(ca.Status.Rotation.Phase) {
	case plan.DistributingTrust:
		return c.Trusts
	case plan.Reissuing:
		return c.HasCertificate
	case plan.WithdrawingTrust:
		return c.Trusts || c.HasCertificate && ca.Spec.Rotation.Mode == v1alpha1.RotationEmergency
	default:
		return false
	}
}

// readPending takes the names that a gate waits for apart. They are sorted; the status holds the first ten, and last is
// the last of those where there are more.
func readPending(pending []string) (named map[string]Answer, last string, more bool) {
	named = map[string]Answer{}
	for _, p := range pending {
		name, note, _ := strings.Cut(strings.TrimSuffix(p, ")"), " (")
		kind, object, isName := strings.Cut(name, "/")
		switch {
		case isName:
			named[name] = Answer{Kind: kind, Name: object, State: Waiting, Note: note}
			last = p
		case strings.HasPrefix(p, "and "):
			more = true
		default: // 'consumers that may not be there yet'
			named[p] = Answer{Name: p, State: Waiting}
		}
	}
	return named, last, more
}

// hosts are the hosts of the certificates, by kind and name.
func (o Objects) hosts() map[string]string {
	out := map[string]string{}
	for i := range o.Servers {
		out[KindAPIServerCertificate+"/"+o.Servers[i].Name] = o.Servers[i].Spec.HostName
	}
	for i := range o.Credentials {
		out[KindNodeCredential+"/"+o.Credentials[i].Name] = o.Credentials[i].Spec.HostName
	}
	return out
}
