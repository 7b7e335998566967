package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/accounts"
	"clusterpki.io/operator/internal/binding"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/limits"
	"clusterpki.io/operator/internal/pki/keyring"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

// serviceAccountKeys reconciles ServiceAccountKeys.
type serviceAccountKeys struct {
	base
	accounts *accounts.Maker
}

// accounts makes what brings service account keys to what their ServiceAccountKeys ask for.
func (b *base) accounts() *accounts.Maker {
	return &accounts.Maker{
		Binder: binding.Binder{Client: b.client, Live: b.live, Home: b.home, Wrote: b.wrote}, Clock: b.clock, Store: b.store, Secrets: b.secrets,
		Keys: b.keys, Keeper: b.keeper, Reported: b.reports.of,
	}
}

// Reconcile brings one ServiceAccountKey to what its spec asks for. Its first key is made, or taken over, once; another one takes its place in the steps
// of the ledger.
func (r *serviceAccountKeys) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var o v1alpha1.ServiceAccountKey
	if found, err := r.get(ctx, req, &o); !found {
		return skipped(err)
	}
	st, err := r.accounts.Reconcile(ctx, &o)
	err = refused(err)
	r.announceKeyStep(&o, st)
	return r.finish(ctx, &o, st, err)
}

// finish writes the status and says when to look again.
func (r *serviceAccountKeys) finish(ctx context.Context, o *v1alpha1.ServiceAccountKey, st accounts.State, err error) (ctrl.Result, error) {
	now := r.clock.Now()
	before := o.DeepCopy()
	rep := report{
		err: err, known: err == nil || stall.Is(err) || st.Published, unusable: errors.New("no key is published"),
		here: r.home.Serves(o) != nil || stall.Is(err) && st.Record == nil && !r.home.Owns(o), named: o.Status.Authority.NamespaceUID,
	}
	out := outcome{issued: st.Created, reason: plan.SecretMissing}
	if st.Published {
		rep.unusable = nil
	}
	if st.Record != nil {
		l := st.Record.Ledger
		r.reportKeys(o, st)
		active, _ := l.Active()
		rep.message = fmt.Sprintf("key %d signs, and is published with every key that is trusted, %d in all, in Secret %q",
			active.Number, len(l.Publication()), o.KeySecretName())
		if !st.Read.Now.IsZero() {
			rep.warnings = keyConditions(st.Read, l)
			out.nextCheck = r.nextLook(st, now)
		}
	}
	return r.conclude(ctx, before, o, rep, out)
}

// nextLook is when to look again. While something is to arrive, that is at a fixed interval, because consumers acknowledge by the passing of time.
func (r *serviceAccountKeys) nextLook(st accounts.State, now time.Time) time.Time {
	l := st.Record.Ledger
	next := st.Read.NextCheck(l)
	if k, retiring := l.NextRemoval(); retiring {
		if warn := k.RetainUntil(st.Read.Inputs.Retain).Add(-removalNotice); warn.After(now) {
			next = sooner(next, warn)
		}
	}
	in := st.Read.Inputs
	switch {
	case st.Moved():
		next = now.Add(time.Second)
	case l.Cause(now, in.Trigger, in.RotateEvery) != "" || l.Rotation != nil || len(l.Publication()) < len(l.Keys) || l.Published.IsZero():
		next = sooner(next, now.Add(r.poll))
	}
	return next
}

// reportKeys describes the keys, and who uses them.
func (r *serviceAccountKeys) reportKeys(o *v1alpha1.ServiceAccountKey, st accounts.State) {
	l, s := st.Record.Ledger, &o.Status
	s.SecretName, s.JWKSConfigMapName = o.KeySecretName(), o.JWKSConfigMapName()
	s.Authority.NamespaceUID = r.home.UID()
	s.Keys = keyStatuses(l, o.Spec.RetainOldKeyFor.Duration)
	s.Rotation = keyRotationStatus(o.Name, l)
	s.RenewalTime = metav1.Time{}
	if set, err := st.Record.JWKS(); err == nil {
		s.JWKSSHA256 = delivery.DigestOf(set)
	}
	if digest, err := st.Record.PublicSHA256(); err == nil {
		s.PublicKeysSHA256 = digest
	}
	if st.Read.Now.IsZero() { // nobody was asked
		return
	}
	if t := l.Renewal(st.Read.Inputs.RotateEvery); !t.IsZero() {
		s.RenewalTime = metav1.NewTime(t)
	}
	s.Pending = nil
	for _, u := range st.Read.Users {
		if !u.HasPublication && len(s.Pending) < limits.Items(v1alpha1.KindServiceAccountKey, "pending") {
			s.Pending = append(s.Pending, pendingKeyUser(st, u))
		}
	}
	s.Required, s.Acknowledged = count32(len(st.Read.Users)), count32(len(st.Read.Users)-len(st.Read.Inputs.Awaited()))
	s.TokenSecrets, s.TokenSecretCount = nil, nil
	if _, retiring := l.NextRemoval(); retiring && st.Read.Tokens.Listed {
		names := st.Read.Tokens.Names
		s.TokenSecrets = names[:min(len(names), limits.Items(v1alpha1.KindServiceAccountKey, "tokenSecrets"))]
		s.TokenSecretCount = count32(st.Read.Tokens.Left)
	}
}

// keyStatuses lists the ledger's keys for people.
func keyStatuses(l keyring.Ledger, retain time.Duration) []v1alpha1.KeyStatus {
	out := make([]v1alpha1.KeyStatus, 0, len(l.Keys))
	for _, k := range l.Keys {
		s := v1alpha1.KeyStatus{
			Number: k.Number, State: v1alpha1.GenerationState(k.State), KeyID: k.ID, Since: metav1.NewTime(k.Since), Trigger: k.Trigger,
		}
		if k.State == keyring.Retiring {
			s.RetainUntil = metav1.NewTime(k.RetainUntil(retain))
		}
		out = append(out, s)
	}
	return out
}

// keyRotationStatus describes the rotation under way; nothing where there is none.
func keyRotationStatus(name string, l keyring.Ledger) v1alpha1.KeyRotationStatus {
	r := l.Rotation
	if r == nil {
		return v1alpha1.KeyRotationStatus{}
	}
	return v1alpha1.KeyRotationStatus{
		ID: l.RotationID(name), Phase: v1alpha1.KeyPhase(l.Phase()), Reason: v1alpha1.RotationReason(r.Cause), Trigger: r.Trigger,
		From: r.From, To: r.To, StartTime: metav1.NewTime(r.StartTime),
	}
}
