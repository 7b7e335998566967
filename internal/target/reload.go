package target

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// readOnce are the flags that name files which a component reads when it starts and never again, in Kubernetes
// 1.37 and etcd 3.7. Everything else that is exported is reloaded: by the component itself, or by client-go from the
// files of a kubeconfig, within five minutes.
var readOnce = map[string][]string{
	"etcd":           {"trusted-ca-file", "peer-trusted-ca-file"},
	"kube-apiserver": {"etcd-cafile", "service-account-key-file", "service-account-signing-key-file"},
	// What kube-controller-manager publishes as ConfigMap kube-root-ca.crt in each namespace.
	"kube-controller-manager": {"root-ca-file", "service-account-private-key-file"},
}

// Stale is a component that does not notice that files have changed.
type Stale struct {
	Component string
	Flags     []string // those that name the files
}

// Stale are the components of a host that must be restarted to notice that the given files, absolute paths, have
// changed.
func (h Host) Stale(changed []string) ([]Stale, error) {
	var out []Stale
	for component, names := range readOnce {
		flags, err := h.flags(component)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it does not run here
		}
		if err != nil {
			return nil, err
		}
		unread := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			return !slices.ContainsFunc(changed, func(path string) bool { return slices.Contains(flags, "--"+name+"="+path) })
		})
		if len(unread) > 0 {
			out = append(out, Stale{component, unread})
		}
	}
	slices.SortFunc(out, func(a, b Stale) int { return strings.Compare(a.Component, b.Component) })
	return out, nil
}
