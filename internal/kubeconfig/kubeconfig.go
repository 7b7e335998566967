// Package kubeconfig renders kubeconfig files: one cluster, one user, one context.
package kubeconfig

import (
	"errors"
	"net/url"
	"unicode/utf8"
)

// Params are the contents of a kubeconfig. Each of CA, Certificate and Key is given either as PEM
// bytes, which are embedded, or as a path.
type Params struct {
	Server        string // https URL
	TLSServerName string // by which its certificate is verified; "": the host of Server
	ClusterName   string
	ContextName   string
	UserName      string
	Namespace     string // "": none
	CA            Material
	Certificate   Material
	Key           Material
}

// Material is PEM bytes or the path of a file that holds them. Clients reload a changed file, and
// never a changed kubeconfig (client-go, transport/cert_rotation.go).
type Material struct {
	PEM  []byte
	Path string
}

// file and the types below are the v1 kubeconfig format (k8s.io/client-go/tools/clientcmd/api/v1), to be read,
// as far as a client certificate needs it. There is no field for a password or a token.
type file struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	Clusters       []namedCluster `json:"clusters"`
	Contexts       []namedContext `json:"contexts"`
	CurrentContext string         `json:"current-context"`
	Users          []namedUser    `json:"users"`
}

type namedCluster struct {
	Cluster cluster `json:"cluster"`
	Name    string  `json:"name"`
}

type cluster struct {
	CA            string `json:"certificate-authority,omitempty"`
	CAData        []byte `json:"certificate-authority-data,omitempty"`
	Server        string `json:"server"`
	TLSServerName string `json:"tls-server-name,omitempty"`
}

type namedContext struct {
	Context context `json:"context"`
	Name    string  `json:"name"`
}

type context struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace,omitempty"`
	User      string `json:"user"`
}

type namedUser struct {
	Name string `json:"name"`
	User user   `json:"user"`
}

type user struct {
	Certificate     string `json:"client-certificate,omitempty"`
	CertificateData []byte `json:"client-certificate-data,omitempty"`
	Key             string `json:"client-key,omitempty"`
	KeyData         []byte `json:"client-key-data,omitempty"`
}

// Render returns the kubeconfig as YAML; callers compare it with what is stored to detect drift, and
// equal Params give equal bytes.
func Render(p Params) ([]byte, error) {
	server, err := url.Parse(p.Server)
	if err != nil || server.Scheme != "https" || server.Hostname() == "" || server.User != nil {
		return nil, errors.New("the server is not an https URL of a host, without user and password") // not quoted: it may hold one
	}
	for _, m := range []Material{p.CA, p.Certificate, p.Key} {
		if (len(m.PEM) == 0) == (m.Path == "") {
			return nil, errors.New("each of CA, certificate and key must be either embedded or a path")
		}
	}
	for _, text := range []string{p.Server, p.TLSServerName, p.ClusterName, p.ContextName, p.UserName, p.Namespace, p.CA.Path, p.Certificate.Path, p.Key.Path} {
		if !utf8.ValidString(text) {
			return nil, errors.New("a name, a path or the server is not UTF-8")
		}
	}
	return p.text(), nil
}
