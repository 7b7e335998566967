package cluster

import (
	"slices"

	"k8s.io/utils/ptr"

	"clusterpki.io/operator/api/v1alpha1"
)

// Text is a rotation.trigger as it was seen last, and its place in the order of all changes.
type Text struct {
	Text  string `json:"text,omitempty"`
	Order int64  `json:"order,omitempty"`
}

// Triggers are the texts that ask for rotations, to be recorded: which of two changed last follows from nothing else.
type Triggers struct {
	Last    int64           `json:"last,omitempty"`   // the latest order
	Cluster Text            `json:"cluster,omitzero"` // spec.rotation
	Own     map[string]Text `json:"own,omitempty"`    // of the CA's own, by the name of the ClusterCA
}

// CAState is how a ClusterCA stands.
type CAState struct {
	Trigger string // rotation.trigger of its spec
	// Settled says that its status describes that spec, and no rotation is under way.
	Settled bool
}

// Trigger is what the spec of a ClusterCA is to say.
type Trigger struct {
	Text, Emergency string
	// Queued says that another text is to follow, which waits for the CA before: Next.
	Queued bool
	Next   string
}

// Observe is the record with the texts that the spec has now. A text that changed is the latest; one that was removed leaves the other.
func (t Triggers) Observe(c *v1alpha1.ClusterPKI) Triggers {
	next := Triggers{Last: t.Last, Own: map[string]Text{}}
	next.Cluster = next.seen(t.Cluster, c.Spec.Rotation.Trigger)
	for _, ca := range authoritiesOf(c) {
		if text := next.seen(t.Own[ca.name], ptr.Deref(ca.Rotation, v1alpha1.RotationSpec{}).Trigger); text != (Text{}) {
			next.Own[ca.name] = text
		}
	}
	return next
}

func (t *Triggers) seen(was Text, text string) Text {
	if was.Text == text {
		return was
	}
	t.Last++
	return Text{text, t.Last}
}

// Rotations are what the specs of the CAs are to say, by their names. t is the record as Observe made it, and states are the ClusterCAs that there are.
//
// A CA gets the text that changed last, of the cluster's and its own. The cluster's goes to one CA after the other: cluster CA, etcd's, front
// proxy's, each once the one before has been rotated. An emergency waits for nobody.
func (t Triggers) Rotations(c *v1alpha1.ClusterPKI, states map[string]CAState) map[string]Trigger {
	out, busy := map[string]Trigger{}, false
	for _, ca := range authoritiesOf(c) {
		own := ptr.Deref(ca.Rotation, v1alpha1.RotationSpec{})
		text, shared := t.Own[ca.name].Text, false
		if t.Cluster.Text != "" && (text == "" || t.Cluster.Order > t.Own[ca.name].Order) {
			text, shared = t.Cluster.Text, true
		}
		next := Trigger{Text: text}
		if emergencies := []string{c.Spec.Rotation.EmergencyTrigger, own.EmergencyTrigger}; text != "" && slices.Contains(emergencies, text) {
			next.Emergency = text
		}
		state, exists := states[ca.name]
		if exists && shared && busy && state.Trigger != text && next.Emergency == "" {
			next = Trigger{Text: state.Trigger, Queued: true, Next: text}
		}
		busy = busy || exists && (state.Trigger != text || !state.Settled)
		out[ca.name] = next
	}
	return out
}

// Rotate gives the CAs among some children the triggers of Rotations.
func (cs Children) Rotate(triggers map[string]Trigger) {
	for _, c := range cs {
		if ca, ok := c.Object.(*v1alpha1.ClusterCA); ok {
			ca.Spec.Rotation.Trigger, ca.Spec.Rotation.EmergencyTrigger = triggers[ca.Name].Text, triggers[ca.Name].Emergency
		}
	}
}

// authority is one CA of a spec.
type authority struct {
	v1alpha1.ClusterPKICA
	name string
}

// authoritiesOf are the CAs of a ClusterPKI, in the order in which they are rotated.
func authoritiesOf(c *v1alpha1.ClusterPKI) []authority {
	of := c.Spec.CertificateAuthorities
	out := []authority{{of.Cluster, CAName(c.Name)}}
	if etcdMode(c) != v1alpha1.EtcdNone {
		out = append(out, authority{of.Etcd, EtcdCAName(c.Name)})
	}
	return append(out, authority{of.FrontProxy, FrontProxyCAName(c.Name)})
}
