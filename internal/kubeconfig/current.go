package kubeconfig

import (
	"fmt"

	"sigs.k8s.io/json"
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

// parse reads a kubeconfig as client-go does: a field of other capitals is none.
func parse(text []byte) (file, error) {
	var f file
	text, err := yaml.YAMLToJSON(text)
	if err == nil {
		err = json.UnmarshalCaseSensitivePreserveInts(text, &f)
	}
	if err != nil {
		return file{}, fmt.Errorf("malformed: %w", err)
	}
	return f, nil
}

// ParseCurrent reads a kubeconfig; it is an error if there is no current context, or not the cluster that it names.
func ParseCurrent(text []byte) (Current, error) {
	f, err := parse(text)
	if err != nil {
		return Current{}, err
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
