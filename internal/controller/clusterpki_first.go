package controller

import (
	"context"
	"strings"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
	"clusterpki.io/operator/internal/stall"
)

// Where a cluster has no CA yet, its first one is made at once: whoever has another one already would be left with two. So it is asked, as far as
// anybody can tell, whether there is a cluster.

// mayBegin refuses, as a stall, to make first keys where they are not to be made.
func (r *clusterPKIs) mayBegin(ctx context.Context, c *v1alpha1.ClusterPKI, v clusterView) error {
	first, err := r.first(ctx, c, v)
	if err != nil || len(first) == 0 {
		return err
	}
	var names []string
	for _, k := range first {
		names = append(names, k.String())
	}
	if c.Spec.Bootstrap == v1alpha1.BootstrapNever {
		return stall.Because(v1alpha1.ReasonBootstrapNever,
			"the authority namespace %q keeps nothing of %s, and spec.bootstrap is 'Never', so that nothing is made in its place: restore it from a backup, "+
				"import it by spec.certificateAuthorities or spec.serviceAccountKey, or, where there is no cluster yet, set spec.bootstrap to 'Create'",
			r.store.Namespace(), strings.Join(names, ", "))
	}
	if !v.kept && r.answers(ctx, c.Spec.Endpoint) { // once something was made, it may be the cluster's own
		return stall.Because(v1alpha1.ReasonAPIServerAnswers,
			"an API server answers at %s already, and these would be made anew for its cluster, where certificates and tokens of others are in use: %s. "+
				"Import each by its source in spec.certificateAuthorities or spec.serviceAccountKey, or change spec.endpoint. Nothing was made",
			c.Spec.Endpoint, strings.Join(names, ", "))
	}
	return nil
}

// first are the CAs and keys that would be made for the first time: neither is there an object, nor does the authority namespace keep one of the name,
// nor is it imported.
func (r *clusterPKIs) first(ctx context.Context, c *v1alpha1.ClusterPKI, v clusterView) ([]cluster.Key, error) {
	var out []cluster.Key
	for _, child := range v.wanted {
		if v.view.Children[child.Key()] != nil {
			continue
		}
		var kept bool
		var err error
		switch o := child.Object.(type) {
		case *v1alpha1.ClusterCA:
			kept, err = there(r.store.Cached(ctx, c.Namespace, o.Name))
			kept = kept || o.Spec.Source.IsImport()
		case *v1alpha1.ServiceAccountKey:
			kept, err = there(r.store.CachedAccountKeys(ctx, c.Namespace, o.Name))
			kept = kept || o.Spec.Source != nil && o.Spec.Source.Import != nil
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		if !kept {
			out = append(out, child.Key())
		}
	}
	return out, nil
}

// there says whether something was found.
func there[T any](found *T, err error) (bool, error) { return found != nil, err }
