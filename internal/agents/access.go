package agents

import (
	"slices"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/pki"
)

// Access is what the agent of a host may read, and where it may report: Secrets and Leases of the namespace of its objects, by name.
type Access struct{ Secrets, Leases []string }

// Rules are those of the Role that gives it; none where it is nothing. A rule without names would allow all that there is.
func (a Access) Rules() []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	for _, r := range []rbacv1.PolicyRule{
		{APIGroups: []string{corev1.GroupName}, Resources: []string{"secrets"}, ResourceNames: sorted(a.Secrets), Verbs: []string{"get", "watch"}},
		{APIGroups: []string{coordinationv1.GroupName}, Resources: []string{"leases"}, ResourceNames: sorted(a.Leases), Verbs: []string{"get", "update"}},
	} {
		if len(r.ResourceNames) > 0 {
			rules = append(rules, r)
		}
	}
	return rules
}

func sorted(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}

// TokenRules let a ServiceAccount make tokens of its own, and of nobody else.
func TokenRules(account string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{
		APIGroups: []string{corev1.GroupName}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{account}, Verbs: []string{"create"},
	}}
}

// Delivered is an object that is for a host, and what stands under the names that it asks for, whoever made that.
type Delivered struct {
	Object v1alpha1.Object
	Secret *corev1.Secret        // of its certificate; nil: there is none
	Lease  *coordinationv1.Lease // nil: there is none
	// Keys are the service account keys that the object's API server uses; nil: none.
	Keys       *v1alpha1.ServiceAccountKey
	KeysSecret *corev1.Secret // of these; nil: there is none
}

// AccessTo is what the agent of the host that objects are for may have: the Secrets that were verified to hold that host's certificates, and on the
// host of an API server its service account keys. What stands there under the names alone is in somebody else's hands.
func AccessTo(seal consumers.Sealer, all ...Delivered) Access {
	var a Access
	for _, d := range all {
		if d.Secret != nil && holdsCertificate(seal, d.Secret, d.Object) {
			a.Secrets = append(a.Secrets, d.Secret.Name)
		}
		if d.Lease != nil && madeFor(seal, "Lease", d.Lease) == d.Object.GetUID() {
			a.Leases = append(a.Leases, d.Lease.Name)
		}
		if d.Keys != nil && d.KeysSecret != nil && madeFor(seal, "Secret", d.KeysSecret) == d.Keys.UID {
			a.Secrets = append(a.Secrets, d.KeysSecret.Name)
		}
	}
	return a
}

// madeFor is the UID of the object that the operator made something for; "" where it did not make it, or made it for other programs.
func madeFor(seal consumers.Sealer, kind string, o metav1.Object) types.UID {
	claim, ok := consumers.ParseClaim(seal, o.GetAnnotations(), kind, o.GetNamespace(), o.GetName())
	if !ok || claim.Output != "" {
		return ""
	}
	return claim.UID
}

// holdsCertificate says whether the operator wrote a Secret for an object, and its certificate is of the host that the object is for now.
func holdsCertificate(seal consumers.Sealer, s *corev1.Secret, o v1alpha1.Object) bool {
	if madeFor(seal, "Secret", s) != o.GetUID() {
		return false
	}
	leaf, err := pki.ParseLeafCertificate(s.Data[corev1.TLSCertKey])
	if err != nil {
		return false
	}
	wanted, err := desired.Of(o)
	return err == nil && wanted.Spec.Subject.CommonName == leaf.Cert.Subject.CommonName
}
