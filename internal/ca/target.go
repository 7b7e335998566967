package ca

import (
	"context"
	"slices"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

// target is what the spec asks of the ledger, and what a new key would be made from.
type target struct {
	plan.DesiredLedger
	renewal   time.Time   // when the active CA is due for rotation; zero: never by itself
	parent    leaf.Issuer // that signs an intermediate CA
	imported  *pki.CA     // that is to be taken over
	undecided Undecided   // by what was changed, until a person does more
}

// targetOf is what the spec asks for. Where the source cannot be read now, what is there is as it should be, and the error says what
// to change.
func (m *Maker) targetOf(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record) (target, error) {
	d := desired.CA(ca)
	w := target{DesiredLedger: plan.DesiredLedger{
		SpecHash: d.Spec.Hash(), Trigger: ca.Spec.Rotation.Trigger, EmergencyTrigger: ca.Spec.Rotation.EmergencyTrigger,
	}}
	name := ca.ParentName()
	if name != "" {
		w.SpecHash += "/" + name
	}
	active, begun := record.Ledger.Active()
	pair := record.CAs[active.Number]
	if begun && pair.Cert != nil {
		if record.Ledger.Differs(w.SpecHash) { // then it is due by its own dates
			d.RenewBefore, d.Spec.Validity = 0, EndOf(active, pair).Sub(pair.Cert.NotBefore)
		}
		w.renewal = d.RenewalTime(pair.Cert.NotBefore, EndOf(active, pair))
	}
	switch {
	case ca.Spec.Source.IsImport():
		return m.targetImport(ctx, ca, record, w)
	case name != "":
		w.Outgrown = m.outgrown(d, record)
		return m.targetBelow(ctx, ca, record, w)
	case begun && pair.Cert != nil && !m.Clock.Now().Before(w.renewal):
		w.Due = plan.CARenewalDue
	}
	w.Outgrown = m.outgrown(d, record)
	return w, nil
}

// outgrown says whether the generation that is to be active next has reached its own renewal time.
func (m *Maker) outgrown(d plan.DesiredCA, record *authority.Record) bool {
	return slices.ContainsFunc(record.Ledger.Generations, func(g plan.Generation) bool {
		cert := record.CAs[g.Number].Cert
		return g.State == plan.Trusted && cert != nil && !m.Clock.Now().Before(d.RenewalTime(cert.NotBefore, cert.NotAfter))
	})
}

// targetBelow asks for a new generation of an intermediate CA where its parent has another active key.
func (m *Maker) targetBelow(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, w target) (target, error) {
	name := ca.ParentName()
	active, begun := record.Ledger.Active()
	circle, err := m.circle(ctx, ca)
	if err != nil {
		return w, err
	}
	var parent leaf.Issuer
	if circle == "" {
		if parent, err = m.Issuers.Live(ctx, ca.Namespace, name); err != nil {
			return w, err
		}
	}
	if parent.CA == nil {
		w.Trigger, w.Hold = "", true // it counts once the parent can sign
		if begun {
			w.SpecHash = active.SpecHash
		}
		if circle != "" {
			return w, inCircle(circle)
		}
		return w, stall.Because(v1alpha1.ReasonParentNotReady, "the parent CA cannot sign: %s", parent.Message)
	}
	w.parent = parent
	cert := record.CAs[active.Number].Cert
	if cert == nil {
		return w, nil
	}
	if plan.Capped(cert, parent.CA) {
		w.renewal = time.Time{}
	}
	signs := plan.Parent{Name: name, UID: parent.UID, Generation: parent.Generation}
	switch {
	case active.Parent.Name == name && active.Parent != signs && !pki.SignedBy(cert, parent.CA.Cert):
		w.Due = plan.ParentRotated
		w.Distrusted = pki.WithIdentity(parent.Roots, active.Anchor) == nil // nobody trusts the present one any more
	case !w.renewal.IsZero() && !m.Clock.Now().Before(w.renewal):
		w.Due = plan.CARenewalDue
	}
	return w, nil
}
