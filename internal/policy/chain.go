package policy

import (
	"slices"

	"clusterpki.io/operator/api/v1alpha1"
)

// Spec is what the spec of a ClusterCA says of what is issued from it.
type Spec struct {
	Policy *v1alpha1.CAPolicy
	Parent string // "" where it names none
}

// Chain are a CA and all above it whose policies count: those that specs name, and those below which it is by its certificates, whatever the specs
// say by now. None where the CA itself is not there. of is nil for a ClusterCA that does not exist.
func Chain(name string, above []string, of func(name string) (*Spec, error)) ([]Authority, error) {
	var out []Authority
	_, _, err := Parents(name, func(name string) (string, error) {
		spec, err := of(name)
		if err != nil || spec == nil { // nothing was signed by one that a spec alone names
			return "", err
		}
		out = append(out, Authority{Name: name, Policy: spec.Policy})
		return spec.Parent, nil
	})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	rest, err := Above(slices.DeleteFunc(slices.Clone(above), func(name string) bool {
		return slices.ContainsFunc(out, func(a Authority) bool { return a.Name == name })
	}), of)
	return append(out, rest...), err
}

// Above are the CAs below which another one is by its certificates.
func Above(names []string, of func(name string) (*Spec, error)) ([]Authority, error) {
	var out []Authority
	for _, name := range names {
		spec, err := of(name)
		switch {
		case err != nil:
			return nil, err
		case spec == nil:
			out = append(out, Authority{Name: name, Missing: true})
		default:
			out = append(out, Authority{Name: name, Policy: spec.Policy})
		}
	}
	return out, nil
}

// maxParents bounds how far specs are followed: no chain is that long.
const maxParents = 64

// Parents are a CA and those above it, as specs name them, and the one of them that the last of them names again; "" where they end.
func Parents(name string, parent func(name string) (string, error)) (names []string, again string, err error) {
	for next := name; next != "" && len(names) < maxParents; {
		if slices.Contains(names, next) {
			return names, next, nil
		}
		names = append(names, next)
		if next, err = parent(next); err != nil {
			return nil, "", err
		}
	}
	return names, "", nil
}
