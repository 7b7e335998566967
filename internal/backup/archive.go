package backup

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/records"
)

// Archive is a backup as it was read from a file.
type Archive struct {
	// Seal is the operator's of where the backup comes from. The zero value fits nothing.
	Seal authority.Seal
	// CAs are what decides about each CA.
	CAs []*authority.Record
	// AccountKeys are what decides about each ServiceAccountKey.
	AccountKeys []*authority.AccountKeys
	// Families are which objects each ClusterPKI has made.
	Families []*authority.Family
	// Issued are the certificates that were issued, by namespace.
	Issued map[string][]records.Issue
	// Deliveries are the keys of namespaces that sign what agents install.
	Deliveries []*authority.DeliveryKey
	// Objects are those of the users' namespaces.
	Objects []unstructured.Unstructured
}

// Parse reads what Render wrote.
func Parse(text io.Reader) (Archive, error) {
	var a Archive
	decoder := yaml.NewYAMLOrJSONDecoder(text, 4096)
	for {
		var o unstructured.Unstructured
		err := decoder.Decode(&o.Object)
		switch {
		case errors.Is(err, io.EOF) && len(a.kept())+len(a.Deliveries)+len(a.Objects) == 0:
			return Archive{}, errors.New("there is nothing of clusterpki in it")
		case errors.Is(err, io.EOF):
			return a, nil
		case err != nil:
			return Archive{}, fmt.Errorf("it is no YAML: %w", err)
		case len(o.Object) == 0:
			continue
		}
		if err := a.add(o); err != nil {
			return Archive{}, err
		}
	}
}

func (a *Archive) add(o unstructured.Unstructured) error {
	if !slices.Contains(order, o.GroupVersionKind()) || o.GetName() == "" || o.GetNamespace() == "" {
		return fmt.Errorf("it holds %s %q, which `clusterpki backup` does not write", o.GetKind(), o.GetName())
	}
	if !ofAuthority(o) {
		a.Objects = append(a.Objects, o)
		return nil
	}
	var s corev1.Secret
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &s); err != nil {
		return fmt.Errorf("read Secret %q: %w", o.GetName(), err)
	}
	return a.addAuthority(&s)
}

// addAuthority adds a Secret of the authority namespace.
func (a *Archive) addAuthority(s *corev1.Secret) (err error) {
	switch s.Type {
	case authority.SealSecretType:
		a.Seal, err = authority.SealOf(s)
		return err
	case records.SecretType:
		return a.addIssued(s)
	case authority.DeliverySecretType:
		key, err := authority.DeliveryOf(s)
		a.Deliveries = append(a.Deliveries, key)
		return err
	case authority.AccountKeysSecretType:
		k, err := authority.DecodeAccountKeys(s)
		if err != nil {
			return err
		}
		if a.holds(k.Ref()) {
			return fmt.Errorf("it holds ServiceAccountKey %s twice", k.Ref().NamespacedName)
		}
		a.AccountKeys = append(a.AccountKeys, k)
		return nil
	case authority.FamilySecretType:
		f, err := authority.DecodeFamily(s)
		if err != nil {
			return err
		}
		if a.holds(f.Ref()) {
			return fmt.Errorf("it holds ClusterPKI %s twice", f.Ref().NamespacedName)
		}
		a.Families = append(a.Families, f)
		return nil
	default:
		r, err := authority.Decode(s)
		if err != nil {
			return err
		}
		if a.holds(r.Ref()) {
			return fmt.Errorf("it holds ClusterCA %s twice", r.Ref().NamespacedName)
		}
		a.CAs = append(a.CAs, r)
		return nil
	}
}

// kept is all that decides, CAs after those above them: one that came before its parent would look for another key there.
func (a Archive) kept() []authority.Kept {
	var out []authority.Kept
	for _, r := range a.parentsFirst() {
		out = append(out, r)
	}
	for _, k := range a.AccountKeys {
		out = append(out, k)
	}
	for _, f := range a.Families {
		out = append(out, f)
	}
	return out
}

// nonces are those that the objects of a ClusterPKI bear: what is restored has other UIDs, and is known by them.
func (a Archive) nonces(namespace string) map[authority.ChildKey]string {
	out := map[authority.ChildKey]string{}
	for i := range a.Objects {
		if o := &a.Objects[i]; o.GetNamespace() == namespace && o.GroupVersionKind().Group == v1alpha1.GroupVersion.Group {
			out[authority.ChildKey{Kind: o.GetKind(), Name: o.GetName()}] = o.GetAnnotations()[v1alpha1.NonceAnnotation]
		}
	}
	return out
}

func (a Archive) holds(of authority.Ref) bool {
	return slices.ContainsFunc(a.kept(), func(k authority.Kept) bool { return k.Ref() == of })
}

func (a *Archive) addIssued(s *corev1.Secret) error {
	namespace, issues, err := records.Decode(s)
	if err != nil {
		return err
	}
	if a.Issued == nil {
		a.Issued = map[string][]records.Issue{}
	}
	a.Issued[namespace] = append(a.Issued[namespace], issues...)
	return nil
}

func (a *Archive) ca(namespace, name string) *authority.Record {
	i := slices.IndexFunc(a.CAs, func(r *authority.Record) bool { return r.Namespace == namespace && r.Name == name })
	if i < 0 {
		return nil
	}
	return a.CAs[i]
}

// parentsFirst are the CAs, each after those above it.
func (a Archive) parentsFirst() []*authority.Record {
	out := slices.Clone(a.CAs)
	slices.SortStableFunc(out, func(x, y *authority.Record) int { return a.depth(x, 0) - a.depth(y, 0) })
	return out
}

// depth is how many CAs are above one.
func (a Archive) depth(r *authority.Record, below int) int {
	deepest := 0
	for _, g := range r.Ledger.Generations {
		if parent := a.ca(r.Namespace, g.Parent.Name); parent != nil && below < authority.MaxChain {
			deepest = max(deepest, 1+a.depth(parent, below+1))
		}
	}
	return deepest
}

// Only is what an archive holds of one namespace.
func (a Archive) Only(namespace string) Archive {
	a.CAs = slices.DeleteFunc(slices.Clone(a.CAs), func(r *authority.Record) bool { return r.Namespace != namespace })
	a.AccountKeys = slices.DeleteFunc(slices.Clone(a.AccountKeys), func(k *authority.AccountKeys) bool { return k.Namespace != namespace })
	a.Families = slices.DeleteFunc(slices.Clone(a.Families), func(f *authority.Family) bool { return f.Namespace != namespace })
	a.Issued = maps.Clone(a.Issued)
	maps.DeleteFunc(a.Issued, func(of string, _ []records.Issue) bool { return of != namespace })
	a.Deliveries = slices.DeleteFunc(slices.Clone(a.Deliveries), func(k *authority.DeliveryKey) bool { return k.Namespace != namespace })
	a.Objects = slices.DeleteFunc(slices.Clone(a.Objects), func(o unstructured.Unstructured) bool { return o.GetNamespace() != namespace })
	return a
}

// Namespaces are those that an archive holds something of.
func (a Archive) Namespaces() []string {
	var out []string
	for _, k := range a.kept() {
		out = append(out, k.Ref().Namespace)
	}
	for namespace := range a.Issued {
		out = append(out, namespace)
	}
	for _, k := range a.Deliveries {
		out = append(out, k.Namespace)
	}
	for i := range a.Objects {
		out = append(out, a.Objects[i].GetNamespace())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// isCopy says whether a Secret is the copy of a CA's key: the operator makes it again, and fills only the one that it made.
func (a Archive) isCopy(o unstructured.Unstructured) bool {
	return o.GroupVersionKind() == secrets && slices.ContainsFunc(a.CAs, func(r *authority.Record) bool {
		return r.Namespace == o.GetNamespace() && slices.ContainsFunc(r.Copies, func(c authority.Copy) bool { return c.Name == o.GetName() })
	})
}

// ofAccountKeys says whether a Secret was made for a ServiceAccountKey whose keys are in the archive too.
func (a Archive) ofAccountKeys(o unstructured.Unstructured, claim consumers.Claim) bool {
	if o.GroupVersionKind() != secrets || claim.Keyring == 0 {
		return false
	}
	for i := range a.Objects {
		object := &a.Objects[i]
		if object.GroupVersionKind() != accountKeys || object.GetNamespace() != o.GetNamespace() {
			continue
		}
		name, found, err := unstructured.NestedString(object.Object, "spec", "secretName")
		if err == nil && (name == o.GetName() || !found && object.GetName() == o.GetName()) {
			return a.holds(refOf(*object))
		}
	}
	return false
}

// claimOf reads the claim of a product; ok is false where the operator did not make it.
func (a Archive) claimOf(o unstructured.Unstructured) (c consumers.Claim, ok bool) {
	return consumers.ParseClaim(a.Seal, o.GetAnnotations(), o.GetKind(), o.GetNamespace(), o.GetName())
}
