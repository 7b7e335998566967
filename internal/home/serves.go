package home

import (
	"context"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/stall"
)

// Ready says, as a stall, why an object of a namespace cannot be served: the authority namespace cannot be used, or the object
// stands in a namespace that is not for objects.
func (h *Home) Ready(ctx context.Context, namespace string) error {
	if h.Reserved(namespace) {
		return stall.Here(v1alpha1.ReasonNamespaceReserved, "namespace %q is the operator's own or the authority's: move this object to another one", namespace)
	}
	if err := h.Ensure(ctx); err != nil {
		return stall.Here(v1alpha1.ReasonAuthorityNotReady, "%v", err)
	}
	return nil
}

// Keeps says whether a CA's Secret was written for the authority namespace of this installation.
func (h *Home) Keeps(record *authority.Record) bool { return string(record.HomeUID) == h.UID() }

// Owns says whether the status of a ClusterCA names this installation.
func (h *Home) Owns(ca *v1alpha1.ClusterCA) bool {
	own := h.UID()
	return own != "" && own == ca.Status.Authority.NamespaceUID
}

// Serves says, as a stall, where another installation of the operator serves the ClusterCA.
func (h *Home) Serves(ca *v1alpha1.ClusterCA) error {
	own, named := h.UID(), ca.Status.Authority.NamespaceUID
	if named == "" || named == own {
		return nil
	}
	return stall.Here(v1alpha1.ReasonAuthorityMissing,
		"another installation of the operator serves this ClusterCA: its status names the authority namespace of UID %s, and this one's is %s. Let only "+
			"one serve the namespace; if the other one is gone for good, delete this ClusterCA and create it again", named, own)
}
