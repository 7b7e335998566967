package consumers

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/pki/keyring"
)

// The keys of the Secret of service account keys, and that of the ConfigMap beside it.
const (
	AccountPrivateKey = "sa.key"
	AccountPublicKey  = ack.PublicKeysKey
	JWKSKey           = "jwks.json"
)

// Publication is what is published of service account keys.
type Publication struct {
	Secret string // that holds it
	SHA256 string // of sa.pub
	// Since is when the Secret was first seen to hold it; zero: not yet.
	Since time.Time
	// SwitchedAt is since when every API server signs by another key than those which sign no more; zero where there are none.
	SwitchedAt time.Time
}

// KeyInputs is everything that says who uses what is published of service account keys.
type KeyInputs struct {
	Publication
	Servers []v1alpha1.APIServerCertificate // that name the key
	Leases  map[LeaseKey]Reported           // only those that the operator made
	Now     time.Time
}

// KeyUser is an API server that names the key.
type KeyUser struct {
	keyring.Consumer
	// Turn says whether it is to have what is published now: those before it use it.
	Turn bool
	// Reason is why it does not use what is published, in one word, and Since when that began; zero where it is not known.
	Reason string
	Since  time.Time
	// Next is when it is assumed to use what is published; zero where time does not tell.
	Next time.Time
}

// Users are the API servers that name the key, in the order in which they take their turns: no two restart at a time, and one that does not use what
// is published holds up those behind it.
func (in KeyInputs) Users() []KeyUser {
	servers := slices.Clone(in.Servers)
	slices.SortFunc(servers, func(a, b v1alpha1.APIServerCertificate) int { return cmp.Compare(a.Name, b.Name) })
	out, turn := make([]KeyUser, 0, len(servers)), true
	for i := range servers {
		u := in.user(&servers[i])
		// Whoever mounts the Secret has it already.
		if u.Turn = turn || servers[i].Spec.Delivery.Mode == v1alpha1.DeliveryMounted; !u.Turn && !u.HasPublication {
			u.Reason, u.Since = v1alpha1.ReasonAwaitingTurn, time.Time{}
		}
		turn = turn && u.HasPublication
		out = append(out, u)
	}
	return out
}

// user is what is known of one API server.
func (in KeyInputs) user(c *v1alpha1.APIServerCertificate) KeyUser {
	reported := in.Leases[LeaseKey{c.UID, c.LeaseName()}]
	known := AcknowledgmentOf(c.Spec.Delivery, reported, c.Spec.HostName, in.Now)
	u := KeyUser{Consumer: keyring.Consumer{Name: c.Name, Host: c.Spec.HostName}, Reason: known.Reason, Since: known.Since}
	contents := ack.ContentKey(in.Secret, AccountPublicKey)
	switch {
	case known.Mounted:
		u.Assumed, u.AcceptsAssumed, u.Reason = true, known.AcceptsAssumed, v1alpha1.PendingPropagating
		if !in.Since.IsZero() {
			u.Next, u.Since = in.Since.Add(known.Delay), in.Since
			u.HasPublication = !in.Now.Before(u.Next)
		}
	case known.Manual != nil:
		u.Reason = v1alpha1.PendingNotAcknowledged
		u.HasPublication = in.SHA256 != "" && known.Manual.PublicKeysSHA256 == in.SHA256
	case known.Agent != nil:
		u.HasPublication = known.Agent.Has(contents, in.SHA256)
		installed := reported.Proof == ack.Signed && reported.Report.Installed.Has(contents, in.SHA256)
		switch {
		case u.Reason != "":
		case installed:
			u.Reason = v1alpha1.ReasonNotInUse
		default:
			u.Reason = v1alpha1.ReasonNotInstalled
		}
	}
	if u.HasPublication {
		u.Reason, u.Since, u.Next = "", time.Time{}, time.Time{}
	}
	return u
}

// KeyTokens are the tokens that never end and may have been signed by a key that signs no more.
type KeyTokens struct {
	keyring.Tokens
	// Names are the first of the Secrets that are left, as 'namespace/name', in their order.
	Names []string
}

// allTokens stands, in spec.acceptTokenLoss, for every token, listed or not.
const allTokens = "*"

// Tokens are those of the report of an agent that tells of most, apart from those whose end is accepted (spec.acceptTokenLoss). Only who has listed all
// that were made before the switch counts.
func (in KeyInputs) Tokens(accepted []string) KeyTokens {
	out := KeyTokens{}
	if slices.Contains(accepted, allTokens) {
		out.Listed = true
		return out
	}
	for i := range in.Servers {
		c := &in.Servers[i]
		reported := in.Leases[LeaseKey{c.UID, c.LeaseName()}]
		t := reported.Report.Tokens
		if c.Spec.Delivery.Mode != v1alpha1.DeliveryAgent || reported.Proof != ack.Signed || t == nil || !t.Listed || t.Before.Before(in.SwitchedAt) ||
			!Alive(reported, c.Spec.Delivery, c.Spec.HostName, in.Now) {
			continue
		}
		names := slices.DeleteFunc(slices.Clone(t.Names), func(name string) bool { return slices.Contains(accepted, name) })
		if left := t.Count - len(t.Names) + len(names); !out.Listed || left > out.Left {
			out = KeyTokens{keyring.Tokens{Listed: true, Left: left}, names}
		}
	}
	return out
}

// KeyEdit is what a person can write, or do, so that an API server uses what is published; "" where nothing but time is missing.
func (in KeyInputs) KeyEdit(u KeyUser) string {
	switch object := fmt.Sprintf("%s %q", v1alpha1.KindAPIServerCertificate, u.Name); u.Reason {
	case v1alpha1.PendingNotAcknowledged:
		return fmt.Sprintf("once the API server was started with sa.key and sa.pub of Secret %q, set spec.delivery.acknowledged.publicKeysSHA256 of %s to %q",
			in.Secret, object, in.SHA256)
	case v1alpha1.ReasonNotInstalled, v1alpha1.ReasonAwaitingTurn, v1alpha1.PendingPropagating, v1alpha1.ReasonNotInUse:
		return ""
	default:
		cluster := ""
		if i := slices.IndexFunc(in.Servers, func(c v1alpha1.APIServerCertificate) bool { return c.Name == u.Name }); i >= 0 {
			cluster = Cluster(&in.Servers[i])
		}
		return editOf(v1alpha1.KindAPIServerCertificate, u.Name, u.Host, u.Reason, cluster)
	}
}
