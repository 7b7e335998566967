package controller

import (
	"context"
	"crypto"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/records"
)

// reports say what the Leases of agents are worth. A signature is verified once, and not at each visit.
type reports struct {
	records *records.Store

	mu     sync.Mutex
	judged map[client.ObjectKey]judgment // of the last version of a Lease
}

// judgment is what a report is worth, and of what that was said.
type judgment struct {
	of    [sha256.Size]byte
	proof ack.Proof
}

// recordedOwner is the object that records and reports are of.
func recordedOwner(o v1alpha1.Object) records.Object {
	return records.Object{UID: o.GetUID(), Kind: o.Kind(), Name: o.GetName()}
}

// claimedOwner is the object that a Lease says it was made for, whoever wrote that.
func claimedOwner(l *coordinationv1.Lease) records.Object {
	kind, name, _ := strings.Cut(l.Annotations[v1alpha1.OwnerAnnotation], "/")
	return records.Object{UID: consumers.Unsealed(l.Annotations).UID, Kind: kind, Name: name}
}

// of is what the Lease of an object says, and what that is worth.
func (r *reports) of(ctx context.Context, l *coordinationv1.Lease, o records.Object) (consumers.Reported, error) {
	if l == nil {
		return consumers.Reported{}, nil
	}
	issues, err := r.records.Of(ctx, l.Namespace, o)
	if err != nil {
		return consumers.Reported{Lease: l, Proof: ack.Forged}, err
	}
	return r.judge(l, o, issues), nil
}

// known is what a Lease says, as far as that can be said without asking the API server; ok is false where it cannot.
func (r *reports) known(l *coordinationv1.Lease, o records.Object) (out consumers.Reported, ok bool) {
	issues, ok := r.records.Known(l.Namespace, o)
	if !ok {
		return consumers.Reported{}, false
	}
	return r.judge(l, o, issues), true
}

func (r *reports) judge(l *coordinationv1.Lease, o records.Object, issues records.Issues) consumers.Reported {
	out := consumers.Reported{Lease: l, Report: ack.Of(l)}
	signer := issues.Numbered(out.Report.SignedBy)
	text, signature := l.Annotations[v1alpha1.ReportAnnotation], l.Annotations[v1alpha1.ReportSignatureAnnotation]
	of := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %x", o.UID, text, signature, signer.PublicKey))
	name := client.ObjectKeyFromObject(l)
	r.mu.Lock()
	was, there := r.judged[name]
	r.mu.Unlock()
	if there && was.of == of {
		out.Proof = was.proof
		return out
	}
	out.Proof = ack.ProofOf(l, string(o.UID), func(string) crypto.PublicKey { return signer.Key() })
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.judged == nil {
		r.judged = map[client.ObjectKey]judgment{}
	}
	r.judged[name] = judgment{of, out.Proof}
	return out
}

// forget drops what was said of a Lease that is gone.
func (r *reports) forget(name client.ObjectKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.judged, name)
}
