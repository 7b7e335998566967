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
		return stall.Here(v1alpha1.ReasonNamespaceReserved,
			"namespace %q is the operator's own, the authority's or the agents': move this object to another one", namespace)
	}
	if err := h.Ensure(ctx); err != nil {
		return stall.Here(v1alpha1.ReasonAuthorityNotReady, "%v", err)
	}
	return nil
}

// Keeps says whether what the authority namespace keeps under an identity was written for that of this installation.
func (h *Home) Keeps(id authority.Identity) bool { return string(id.HomeUID) == h.UID() }

// Owns says whether the status of an object names this installation.
func (h *Home) Owns(o v1alpha1.Kept) bool {
	own := h.UID()
	return own != "" && own == o.AuthorityStatus().NamespaceUID
}

// Serves says, as a stall, where another installation of the operator serves the object.
func (h *Home) Serves(o v1alpha1.Kept) error {
	own, named := h.UID(), o.AuthorityStatus().NamespaceUID
	if named == "" || named == own {
		return nil
	}
	return stall.Here(v1alpha1.ReasonAuthorityMissing,
		"another installation of the operator serves this %[1]s: its status names the authority namespace of UID %[2]s, and this one's is %[3]s. Let only "+
			"one serve the namespace; if the other one is gone for good, delete this %[1]s and create it again", o.Kind(), named, own)
}
