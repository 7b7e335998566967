package kubeconfig

import (
	"fmt"

	"sigs.k8s.io/yaml"
)

// Current is what the current context of a kubeconfig leads to.
type Current struct {
	ContextName, ClusterName, UserName, Namespace string
	Server, TLSServerName                         string
	// CA, Certificate and Key are as the kubeconfig has them: paths or PEM, or neither.
	CA, Certificate, Key Material
	// HasUser says that there is the user that the context names.
	HasUser bool
}

// ParseCurrent reads a kubeconfig; it is an error if there is no current context, or not the cluster that it names.
func ParseCurrent(text []byte) (Current, error) {
	var f file
	if err := yaml.Unmarshal(text, &f); err != nil {
		return Current{}, fmt.Errorf("malformed: %w", err)
	}
	for _, c := range f.Contexts {
		if c.Name != f.CurrentContext {
			continue
		}
		out := Current{ContextName: c.Name, ClusterName: c.Context.Cluster, UserName: c.Context.User, Namespace: c.Context.Namespace}
		for _, u := range f.Users {
			if u.Name == out.UserName {
				out.HasUser = true
				out.Certificate = Material{PEM: u.User.CertificateData, Path: u.User.Certificate}
				out.Key = Material{PEM: u.User.KeyData, Path: u.User.Key}
			}
		}
		for _, cluster := range f.Clusters {
			if cluster.Name == out.ClusterName {
				out.Server, out.TLSServerName = cluster.Cluster.Server, cluster.Cluster.TLSServerName
				out.CA = Material{PEM: cluster.Cluster.CAData, Path: cluster.Cluster.CA}
				return out, nil
			}
		}
	}
	return Current{}, fmt.Errorf("it has no context %q with a cluster", f.CurrentContext)
}
