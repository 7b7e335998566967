package authority

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Ref implements Kept.
func (f *Family) Ref() Ref {
	return Ref{KindFamily, types.NamespacedName{Namespace: f.Namespace, Name: f.Name}}
}

// Whose implements Kept.
func (f *Family) Whose() Identity { return f.Identity }

// Tombstone implements Kept: it has no keys, so that nothing is left of what is deleted.
func (f *Family) Tombstone() bool { return false }

// MarkedAt implements Kept: a ClusterPKI's objects outlive it.
func (f *Family) MarkedAt() time.Time { return time.Time{} }

// CreatedAt implements Kept.
func (f *Family) CreatedAt() time.Time { return time.Time{} }

// States implements Kept.
func (f *Family) States() []NumberedState { return nil }

// Given implements Kept.
func (f *Family) Given(id Identity, _ time.Time) Kept {
	next := f.Next()
	next.Identity = id
	return next
}

// Destroyed implements Kept: there is nothing to destroy before it is removed.
func (f *Family) Destroyed() Kept { return f.Next() }

// Rebound implements Kept.
func (f *Family) Rebound(namespace string, uid, home types.UID) Kept {
	next := f.Next()
	next.Identity = Identity{Namespace: namespace, Name: f.Name, NamespaceUID: uid, HomeUID: home}
	return next
}

// InPlaceOf implements Kept.
func (f *Family) InPlaceOf(Kept) Kept { return f.Next() }

// SameAs implements Kept. By which UIDs the children are known is no step: after a restore they have others.
func (f *Family) SameAs(other Kept) bool {
	o, ok := other.(*Family)
	if !ok || len(f.Children) != len(o.Children) || !bytes.Equal(f.Triggers, o.Triggers) || !bytes.Equal(f.Names, o.Names) {
		return false
	}
	for key, c := range f.Children {
		if theirs, there := o.Children[key]; !there || theirs.Host != c.Host {
			return false
		}
	}
	return true
}

// KnownBy is a family whose children were made anew, as by a restore: their UIDs are others, and they are known by the nonces that they bear. One that is
// not there, or bears none, is forgotten.
func (f *Family) KnownBy(nonces map[ChildKey]string) *Family {
	next := f.Next()
	for key, c := range f.Children {
		nonce := nonces[key]
		switch {
		case c.UID == "":
		case len(nonce) < minNonce:
			delete(next.Children, key)
		default:
			c.Nonce, c.UID = nonce, ""
			next.Children[key] = c
		}
	}
	return next
}

// listFamilies reads those of all ClusterPKIs from the API server. Secrets that cannot be read are told by their names.
func (s *Store) listFamilies(ctx context.Context) (families []*Family, damaged map[string]error, err error) {
	damaged = map[string]error{}
	opts := client.ListOptions{Namespace: s.namespace, Limit: 100}
	for {
		var list corev1.SecretList
		if err := s.live.List(ctx, &list, &opts); err != nil {
			return nil, nil, fmt.Errorf("list what belongs to ClusterPKIs: %w", err)
		}
		for i := range list.Items {
			if list.Items[i].Type != FamilySecretType {
				continue
			}
			f, err := DecodeFamily(&list.Items[i])
			if err != nil {
				damaged[list.Items[i].Name] = err
				continue
			}
			families = append(families, f)
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			return families, damaged, nil
		}
	}
}

// removeFamily deletes the Secret of a family, if nobody wrote it since it was read.
func (s *Store) removeFamily(ctx context.Context, f *Family) error {
	o := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: FamilyName(f.Namespace, f.Name)}}
	s.families.forget(o.Name)
	if err := s.live.Delete(ctx, o, client.Preconditions{UID: &f.uid, ResourceVersion: &f.Version}); err != nil {
		return fmt.Errorf("delete what is recorded of ClusterPKI %s/%s: %w", f.Namespace, f.Name, err)
	}
	return nil
}
