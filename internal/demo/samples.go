package demo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
)

// samples are the objects to apply.
type samples []*unstructured.Unstructured

// loadSamples reads the manifests that a kustomization lists; without a kustomization, all.
func loadSamples(files fs.FS) (samples, error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list the samples: %w", err)
	}
	if slices.Contains(names, "kustomization.yaml") {
		text, err := fs.ReadFile(files, "kustomization.yaml")
		if err != nil {
			return nil, fmt.Errorf("read the samples: %w", err)
		}
		var k struct {
			Resources []string `json:"resources"`
		}
		if err := yaml.Unmarshal(text, &k); err != nil {
			return nil, fmt.Errorf("read kustomization.yaml: %w", err)
		}
		names = k.Resources
	}
	return loadManifests(files, names)
}

// loadManifests reads every object of some files.
func loadManifests(files fs.FS, names []string) (samples, error) {
	var all samples
	for _, name := range names {
		file, err := files.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read a manifest: %w", err)
		}
		objects, err := decode(file)
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		all = append(all, objects...)
	}
	if len(all) == 0 {
		return nil, errors.New("there are no manifests")
	}
	return all, nil
}

func decode(r io.Reader) (samples, error) {
	var objects samples
	decoder := utilyaml.NewYAMLOrJSONDecoder(r, 4096)
	for {
		var o unstructured.Unstructured
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("decode: %w", err)
		}
		if len(o.Object) > 0 {
			objects = append(objects, &o)
		}
	}
}

func (s samples) ofKind(kind string) samples {
	return slices.DeleteFunc(slices.Clone(s), func(o *unstructured.Unstructured) bool { return o.GetKind() != kind })
}

// text reads a string of a spec, "" for none.
func text(o *unstructured.Unstructured, field string) string {
	s, _, _ := unstructured.NestedString(o.Object, "spec", field) //nolint:errcheck // admission says what is wrong with it
	return s
}

// addressesOf reads the addresses of a spec.
func addressesOf(o *unstructured.Unstructured) []string {
	l, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "ipAddresses") //nolint:errcheck // admission says what is wrong with it
	return l
}

// delivered says whether an object is for a host, to which an agent brings it.
func delivered(o *unstructured.Unstructured) bool {
	return o.GetKind() == v1alpha1.KindAPIServerCertificate || o.GetKind() == v1alpha1.KindNodeCredential
}

// move changes the samples for the loopback addresses of their hosts: the endpoint, and the SANs and
// listening addresses of servers. Everything else stays as a user would apply it.
func (s samples) move(p places) error {
	for _, o := range s {
		spec := map[string]any{}
		host := text(o, "hostName")
		switch o.GetKind() + text(o, "role") {
		case "APIServerCertificate":
			spec["endpoint"] = p.endpoint()
			spec["ipAddresses"] = append(addressesOf(o), p.master.address)
		case "NodeCredentialEtcdServer", "NodeCredentialEtcdPeer": // etcd listens on the first address
			spec["ipAddresses"] = append([]string{p.addressOf(host)}, addressesOf(o)...)
		case "NodeCredentialKubeletServing":
			spec["ipAddresses"] = append(addressesOf(o), p.addressOf(host))
		}
		for field, value := range spec {
			var err error
			if l, ok := value.([]string); ok {
				err = unstructured.SetNestedStringSlice(o.Object, l, "spec", field)
			} else {
				err = unstructured.SetNestedField(o.Object, value, "spec", field)
			}
			if err != nil {
				return fmt.Errorf("move %s %s: %w", o.GetKind(), o.GetName(), err)
			}
		}
	}
	return nil
}

// deliver has agents deliver everything, and states where the API server can be looked at. All certificates are issued
// again in one wave: several would show the same for longer.
func (s samples) deliver(p places) error {
	for _, o := range s {
		var err error
		switch o.GetKind() {
		case "ClusterCA":
			err = unstructured.SetNestedField(o.Object, "100%", "spec", "rotation", "maxUnavailable")
		case "APIServerCertificate":
			at := strings.TrimPrefix(p.endpoint(), "https://")
			err = errors.Join(
				unstructured.SetNestedStringSlice(o.Object, []string{at}, "spec", "probe", "addresses"),
				unstructured.SetNestedField(o.Object, "5s", "spec", "probe", "interval"))
		}
		if delivered(o) {
			err = errors.Join(err,
				unstructured.SetNestedField(o.Object, string(v1alpha1.DeliveryAgent), "spec", "delivery", "mode"),
				unstructured.SetNestedField(o.Object, leaseDuration.String(), "spec", "delivery", "leaseDuration"))
		}
		if err != nil {
			return fmt.Errorf("set the delivery of %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}
