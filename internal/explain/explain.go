// Package explain says what a ClusterPKI makes, from a manifest alone: no cluster is asked, and nothing is written.
package explain

import (
	"bytes"
	"errors"
	"fmt"

	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
	"clusterpki.io/operator/internal/defaults"
	"clusterpki.io/operator/internal/desired"
)

// Explained is a ClusterPKI with its defaults, and what it makes in a namespace in which there is nothing yet.
type Explained struct {
	Cluster  *v1alpha1.ClusterPKI
	Children cluster.Children
}

// Read finds the ClusterPKIs among the manifests of a text. A field that is not known is an error: the API server would leave it out. Objects of
// other kinds are passed over.
func Read(text []byte) ([]*v1alpha1.ClusterPKI, error) {
	var out []*v1alpha1.ClusterPKI
	for document := range bytes.SplitSeq(append([]byte("\n"), text...), []byte("\n---")) {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
		}
		if err := yaml.Unmarshal(document, &head); err != nil {
			return nil, fmt.Errorf("no manifest: %w", err)
		}
		if head.Kind != v1alpha1.KindClusterPKI {
			continue
		}
		if want := v1alpha1.GroupVersion.String(); head.APIVersion != want {
			return nil, fmt.Errorf("apiVersion is %q: must be %q", head.APIVersion, want)
		}
		c := &v1alpha1.ClusterPKI{}
		if err := yaml.UnmarshalStrict(document, c); err != nil {
			return nil, fmt.Errorf("no %s: %w", v1alpha1.KindClusterPKI, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("there is no ClusterPKI in it")
	}
	return out, nil
}

// Of is what a ClusterPKI makes. An error is a stall: it is what the object would be Stalled with, and nothing would be made.
func Of(c *v1alpha1.ClusterPKI) (Explained, error) {
	c = c.DeepCopy()
	if err := defaults.Apply(c); err != nil {
		return Explained{}, err
	}
	children, err := cluster.Expand(c, cluster.Names{})
	if err != nil {
		return Explained{}, err
	}
	children.Rotate(cluster.Triggers{}.Observe(c).Rotations(c, nil))
	for _, child := range children {
		if err := valid(child); err != nil {
			return Explained{}, fmt.Errorf("%s: %w", child.Key(), err)
		}
	}
	return Explained{Cluster: c, Children: children}, nil
}

// valid refuses a child that would be Stalled.
func valid(child cluster.Child) error {
	o, ok := child.Object.DeepCopyObject().(v1alpha1.Object)
	if !ok {
		return nil
	}
	if err := defaults.Apply(o); err != nil {
		return err
	}
	switch o := o.(type) {
	case *v1alpha1.ClusterCA:
		return desired.ValidCA(desired.CA(o).Spec)
	case *v1alpha1.APIServerCertificate:
		if _, err := desired.APIServer(o); err != nil {
			return err
		}
		return desired.EndpointCovered(o)
	case *v1alpha1.NodeCredential:
		_, err := desired.Credential(o)
		return err
	default:
		return nil
	}
}

// YAML are the manifests of what is made.
func (e Explained) YAML() ([]byte, error) {
	var all bytes.Buffer
	for _, child := range e.Children {
		text, err := yaml.Marshal(child.Object)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", child.Key(), err)
		}
		all.WriteString("---\n")
		all.Write(text)
	}
	return all.Bytes(), nil
}
