package authority

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
)

// check says what is wrong with a family by itself.
func (f *Family) check() error {
	if f.Namespace == "" || f.Name == "" || f.NamespaceUID == "" || f.HomeUID == "" {
		return errors.New("it does not say whose it is")
	}
	if len(f.Children) > MaxChildren {
		return &FamilyTooLargeError{len(f.Children)}
	}
	of := make(map[types.UID]ChildKey, len(f.Children))
	for key, c := range f.Children {
		other, twice := of[c.UID]
		switch {
		case key.Kind == "" || key.Name == "":
			return errors.New("a child has no kind, or no name")
		case (c.Nonce == "") == (c.UID == ""):
			return fmt.Errorf("%s must have either a nonce or a UID", key)
		case c.Nonce != "" && len(c.Nonce) < minNonce:
			return fmt.Errorf("the nonce of %s can be guessed", key)
		case c.UID != "" && twice:
			return fmt.Errorf("%s and %s have one UID", key, other)
		case c.UID != "":
			of[c.UID] = key
		}
	}
	return nil
}

// checkFamily says what is wrong with a write that puts next in place of what was read. was is nil for a new family.
//
// That a child is made before it is known by its UID is what keeps others' objects out: a UID comes only in the place of a nonce that was
// stored, so that whoever writes it has found an object that bears that nonce.
func checkFamily(was, next *Family) error {
	if err := next.check(); err != nil {
		if large, ok := errors.AsType[*FamilyTooLargeError](err); ok {
			return large
		}
		return broken("%v", err)
	}
	if was == nil {
		was = &Family{Identity: Identity{Namespace: next.Namespace, Name: next.Name}}
	}
	if was.Namespace != next.Namespace || was.Name != next.Name {
		return broken("it is that of ClusterPKI %s/%s", was.Namespace, was.Name)
	}
	for key, c := range next.Children {
		old, known := was.Children[key]
		switch {
		case c.UID == "" && known && old.Nonce != "" && old.Nonce != c.Nonce:
			return broken("the nonce of %s is another one, and what bears the old one may be there", key)
		case c.UID != "" && c.UID != old.UID && old.Nonce == "":
			return broken("%s has UID %s, and it was not recorded before that it would be made", key, c.UID)
		}
	}
	return nil
}
