package inspect

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
)

// kindLine is where a manifest says of which kind it is, in YAML or JSON.
var kindLine = regexp.MustCompile(`(?m)^[\s{]*"?kind"?:`)

// What may be a kind and a name is shown, and nothing else: it might be a secret.
var (
	kindShape = regexp.MustCompile(`^[A-Z][A-Za-z]{0,62}$`)
	nameShape = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
)

// manifestsOf names the objects that a text is the manifests of, as in 'Secret/k8s-tls'; a kubeconfig is none. Nothing
// else of it is looked at.
func manifestsOf(data []byte) []string {
	if !kindLine.Match(data) {
		return nil
	}
	var out []string
	for document := range bytes.SplitSeq(append([]byte("\n"), data...), []byte("\n---")) {
		var o struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		if yaml.Unmarshal(document, &o) != nil || o.APIVersion == "" || o.Kind == "Config" || !kindShape.MatchString(o.Kind) {
			continue
		}
		what := o.Kind
		if nameShape.MatchString(o.Metadata.Name) {
			what += "/" + o.Metadata.Name
		}
		out = append(out, what)
	}
	return out
}

// manifestText says what a file is that is manifests, and how to look at what they are of.
func manifestText(all []string) string {
	text := "a manifest of " + all[0]
	if len(all) > 1 {
		text = fmt.Sprintf("manifests, of %s and %d more", all[0], len(all)-1)
	}
	known := append([]string{"Secret"}, v1alpha1.KindNames()...)
	for _, what := range all {
		if kind, name, named := strings.Cut(what, "/"); named && slices.Contains(known, kind) {
			return fmt.Sprintf("%s, which is not read: look at it in the cluster, as in inspect %s/%s", text, strings.ToLower(kind), name)
		}
	}
	return text + ", which is not read"
}
