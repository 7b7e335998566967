package agents

import (
	"encoding/json"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
)

// Host is a host of a namespace.
type Host struct{ Namespace, Name string }

// String is how annotations name it: no name of a namespace has a slash.
func (h Host) String() string { return h.Namespace + "/" + h.Name }

// HostOf is the host that something was made for, as its annotation has it, which proves nothing.
func HostOf(annotations map[string]string) (Host, bool) {
	namespace, name, found := strings.Cut(annotations[v1alpha1.AgentAnnotation], "/")
	return Host{namespace, name}, found && namespace != "" && name != ""
}

// Record is what a ServiceAccount is for, and what it was given. It stands on the ServiceAccount itself, under the operator's seal.
type Record struct {
	Host Host `json:"host"`
	// NamespaceUID is that of the host's namespace: another one of its name, perhaps somebody else's, is no namespace of this agent.
	NamespaceUID types.UID `json:"namespaceUID"`
	// Grants are the names of what counts, by namespace.
	Grants map[string]string `json:"grants,omitempty"`
	// GoneTime is since when there is no object of the host; the zero value while there is one.
	GoneTime metav1.Time `json:"goneTime,omitzero"`
}

// KeptFor is how long an agent keeps its identity after the last object of its host went: what went by a slip is back by then.
const KeptFor = 7 * 24 * time.Hour

// Ends is when the identity of an agent ends; never, the zero time, while there is an object of its host.
func (r Record) Ends() time.Time {
	if r.GoneTime.IsZero() {
		return time.Time{}
	}
	return r.GoneTime.Add(KeptFor)
}

// Equal says whether two records of one host say the same.
func (r Record) Equal(as Record) bool {
	return r.NamespaceUID == as.NamespaceUID && maps.Equal(r.Grants, as.Grants) && r.GoneTime.Equal(&as.GoneTime)
}

// Grant is a Role and its RoleBinding, which have the same name. Neither is ever changed: what is to be allowed otherwise is a grant of
// another name, which nobody could have guessed. So whoever binds himself to a Role of the operator's has no more of it than he had.
type Grant struct{ Namespace, Name string }

// kindAccount is the kind for which a record is sealed.
const kindAccount = "ServiceAccount"

// Account is the ServiceAccount of a host, in the agents' namespace.
func Account(seal consumers.Sealer, namespace string, r Record) (*corev1.ServiceAccount, error) {
	a := &corev1.ServiceAccount{
		ObjectMeta:                   metav1.ObjectMeta{Namespace: namespace, Name: AccountName(r.Host.Namespace, r.Host.Name)},
		AutomountServiceAccountToken: new(false),
	}
	mark(a, r.Host)
	return a, r.Enter(seal, a)
}

// Enter writes the record onto a ServiceAccount.
func (r Record) Enter(seal consumers.Sealer, a *corev1.ServiceAccount) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err //nolint:wrapcheck // strings cannot fail
	}
	a.Annotations[v1alpha1.ClaimAnnotation] = seal.Of(kindAccount, a.Namespace, a.Name, string(text)) + " " + string(text)
	return nil
}

// RecordOf is what stands on a ServiceAccount; ok is false where the operator did not write it, for that one.
func RecordOf(seal consumers.Sealer, a *corev1.ServiceAccount) (r Record, ok bool) {
	if !consumers.Sealed(seal, a.Annotations, kindAccount, a.Namespace, a.Name) {
		return r, false
	}
	_, text, _ := strings.Cut(a.Annotations[v1alpha1.ClaimAnnotation], " ")
	err := json.Unmarshal([]byte(text), &r)
	return r, err == nil && AccountName(r.Host.Namespace, r.Host.Name) == a.Name
}

// Stray says whether the operator has made a Role or RoleBinding for the agent of a host, and it is none that counts: the record of it was lost, or the
// operator was stopped before it could remove it.
func (r Record) Stray(seal consumers.Sealer, kind string, o metav1.Object) bool {
	return r.Grants[o.GetNamespace()] != o.GetName() && consumers.Sealed(seal, o.GetAnnotations(), kind, o.GetNamespace(), o.GetName())
}

// Role is the Role of a grant.
func (r Record) Role(seal consumers.Sealer, g Grant, rules []rbacv1.PolicyRule) *rbacv1.Role {
	out := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: g.Namespace, Name: g.Name}, Rules: rules}
	mark(out, r.Host)
	out.Annotations[v1alpha1.ClaimAnnotation] = consumers.Claim{UID: r.NamespaceUID}.Text(seal, "Role", g.Namespace, g.Name)
	return out
}

// Binding is the RoleBinding of a grant, to a ServiceAccount.
func (r Record) Binding(seal consumers.Sealer, g Grant, account types.NamespacedName) *rbacv1.RoleBinding {
	out := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: g.Namespace, Name: g.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: g.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
	}
	mark(out, r.Host)
	out.Annotations[v1alpha1.ClaimAnnotation] = consumers.Claim{UID: r.NamespaceUID}.Text(seal, "RoleBinding", g.Namespace, g.Name)
	return out
}

// Grants says whether a Role and a RoleBinding that stand there allow what they should, and nothing else.
func Grants(role, wantedRole *rbacv1.Role, binding, wantedBinding *rbacv1.RoleBinding) bool {
	return role != nil && binding != nil && equality.Semantic.DeepEqual(role.Rules, wantedRole.Rules) &&
		binding.RoleRef == wantedBinding.RoleRef && equality.Semantic.DeepEqual(binding.Subjects, wantedBinding.Subjects)
}

// mark puts onto an object by what the cache selects, and whose it is.
func mark(o metav1.Object, of Host) {
	o.SetLabels(map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedValue, v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})
	o.SetAnnotations(map[string]string{v1alpha1.AgentAnnotation: of.String()})
}
