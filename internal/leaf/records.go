package leaf

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/records"
)

// Records keeps which certificates were issued, and for which keys.
type Records interface {
	// Of are the issues of an object.
	Of(ctx context.Context, namespace string, o records.Object) (records.Issues, error)
	// Refresh reads them from the API server.
	Refresh(ctx context.Context, namespace string) error
	// Record notes an issue, before the certificate is published. inUse are the serial numbers of those that the host may have.
	Record(ctx context.Context, p records.Place, i records.Issue, inUse ...string) error
}

// recorded is the object of a request, as records name it.
func (r Request) recorded() records.Object {
	return records.Object{UID: r.Owner.GetUID(), Kind: r.Owner.Kind(), Name: r.Owner.GetName()}
}

// lookUp notes whether the certificate that is there is the one that was recorded last. An earlier one, with its key, may be in anybody's hands who had
// a backup or a disk: whoever writes Secrets could put it back, and it would be signed for the agent of the host.
func (m *Maker) lookUp(ctx context.Context, r Request, c *Contents) error {
	if r.Acknowledgment.Mounted || c.Observed == nil || c.Observed.Err != nil {
		return nil //nolint:nilerr // what cannot be read is re-issued in any case
	}
	issues, err := m.Records.Of(ctx, r.Owner.GetNamespace(), r.recorded())
	if err != nil {
		return err
	}
	o := *c.Observed
	o.Unrecorded = !issues.Last().Of(o.Leaf.Cert)
	if len(issues) == 0 { // what was never but mounted has no record, and needs one only where an agent signs by it
		o.Unrecorded = r.Acknowledgment.Agent != nil
	}
	c.Observed = &o
	return nil
}

// unrecorded says whether a certificate is there that is not the one that was recorded last, and should be.
func (c Contents) unrecorded() bool { return c.Observed != nil && c.Observed.Unrecorded }

// decideRecorded says what to do about what is held, of which it is looked up whether it was recorded. Before another certificate is issued for the sake of
// a record, the API server itself is asked: a restore may have brought it, and the cache may not have yet what was recorded.
func (m *Maker) decideRecorded(ctx context.Context, r Request, issuer Issuer, c Contents, existing *corev1.Secret) (State, error) {
	if err := m.lookUp(ctx, r, &c); err != nil {
		return State{Contents: c, Issuer: issuer}, err
	}
	st := m.decide(r, issuer, c)
	if st.Decision.Action != plan.Issue || !c.unrecorded() {
		return st, nil
	}
	err := m.Records.Refresh(ctx, r.Owner.GetNamespace())
	if err == nil {
		err = m.lookUp(ctx, r, &c)
	}
	if err == nil && c.unrecorded() {
		err = m.upToDate(ctx, existing)
	}
	return m.decide(r, issuer, c), err
}

// upToDate fails with ErrBehind where a Secret is another one by now than the cache has.
func (m *Maker) upToDate(ctx context.Context, cached *corev1.Secret) error {
	live, err := m.Secrets.Live(ctx, cached.Namespace, cached.Name)
	if err == nil && (live == nil || live.ResourceVersion != cached.ResourceVersion) {
		err = fmt.Errorf("read Secret %q: %w", cached.Name, owned.ErrBehind)
	}
	return err
}

// record notes a certificate that is about to be published. What was never but mounted needs no record: nobody signs by it. Where there are records, the
// last one is of what was published last.
func (m *Maker) record(ctx context.Context, r Request, st State, leaf pki.Leaf) error {
	known, err := m.Records.Of(ctx, r.Owner.GetNamespace(), r.recorded())
	if r.Acknowledgment.Mounted && (err != nil || len(known) == 0) {
		return nil //nolint:nilerr // what cannot be read keeps nothing from being issued that needs none
	}
	if err != nil {
		return err
	}
	issue, err := records.NewIssue(r.recorded(), leaf, m.Clock.Now())
	if err != nil {
		return err
	}
	issue.ApprovedKeySHA256, issue.CAs = r.ApprovedKey, r.dependsOn(st)
	inUse := []string{r.Acknowledgment.SignedBy}
	if st.Readable() {
		inUse = append(inUse, pki.SerialOf(st.Observed.Leaf.Cert))
	}
	if len(known) >= records.MaxPerObject { // what the cache says of the Secret may be outdated
		if inUse, err = m.inUseLive(ctx, r, inUse); err != nil {
			return err
		}
	}
	return m.Records.Record(ctx, st.Issuer.Place, issue, inUse...)
}

// dependsOn are the ClusterCAs that the Secret is about to be rendered from.
func (r Request) dependsOn(st State) []string {
	claim := consumers.Claim{Issuer: r.CA, Trust: map[string]map[string]int64{}}
	for key, b := range r.rendered(st) {
		if claim.Trust[key] = b.Revisions; b.Data == nil {
			claim.Trust[key] = st.Claim.Trust[key]
		}
	}
	return claim.CAs()
}

// leftBefore are the ClusterCAs that an object whose Secret is not there may depend on still: those of every issue that counts, and whose certificate has
// not ended. The claim of the Secret, which noted them, went with it, and whoever may delete Secrets must not end what the rotation of a CA waits for.
func (m *Maker) leftBefore(ctx context.Context, r Request) ([]string, error) {
	issues, err := m.Records.Of(ctx, r.Owner.GetNamespace(), r.recorded())
	if err != nil && !r.Acknowledgment.Mounted {
		return nil, err
	}
	var out []string
	for _, i := range issues {
		if m.Clock.Now().Before(i.NotAfter) {
			out = append(out, i.CAs...)
		}
	}
	return out, nil
}

// inUseLive adds the certificate that stands in the Secret now.
func (m *Maker) inUseLive(ctx context.Context, r Request, inUse []string) ([]string, error) {
	s, err := m.Secrets.Live(ctx, r.Owner.GetNamespace(), r.Secret)
	if err != nil || s == nil {
		return inUse, err
	}
	if there, err := pki.ParseLeafCertificate(s.Data["tls.crt"]); err == nil {
		inUse = append(inUse, pki.SerialOf(there.Cert))
	}
	return inUse, nil
}
