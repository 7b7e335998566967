package backup

import (
	"context"
	"fmt"
	"slices"

	"clusterpki.io/operator/internal/authority"
)

// planDelivery decides about the delivery key of a namespace: hosts install nothing that another one signs. Its public half is published by
// the operator. One that has come after that of the backup is kept, whatever may be replaced: hosts have retired those before it.
func (r *restore) planDelivery(ctx context.Context, key *authority.DeliveryKey) error {
	namespace := r.to(key.Namespace)
	next := key.Rebound(namespace, r.uids[key.Namespace])
	there, err := r.store.StoredDelivery(ctx, namespace)
	switch {
	case err != nil:
		return err
	case there == nil:
		r.writes = append(r.writes, func(ctx context.Context) error { return r.store.CreateDelivery(ctx, next) })
	case there.Follows(key) && there.NamespaceUID == next.NamespaceUID:
		r.result.Kept++
	case !there.Follows(key) && slices.ContainsFunc(r.Replace, func(of authority.Ref) bool { return of.Namespace == namespace }):
		r.writes = append(r.writes, func(ctx context.Context) error { return r.store.ReplaceDelivery(ctx, there, next) })
	case !there.Follows(key):
		r.exists = append(r.exists, fmt.Sprintf("namespace %q has another delivery key than in the backup, which the agents of its hosts trust: --replace "+
			"of one of its CAs puts that of the backup in its place", namespace))
	default:
		r.exists = append(r.exists, fmt.Sprintf("the delivery key of namespace %q is kept for a namespace that held it before: "+
			"`clusterpki authority release -n %s --all` gives it to this one", namespace, namespace))
	}
	return nil
}
