package crd

import (
	"strings"
	"testing"
)

const validKey = `
apiVersion: clusterpki.io/v1alpha1
kind: ServiceAccountKey
metadata: {name: k8s-sa, namespace: prod}
`

// takenOver lets keys be imported from a Secret; sha256 is "" where the object does not say which.
func takenOver(secret, sha256 string) []edit {
	edits := set("spec.source.import.secretRef.name", secret)
	if sha256 != "" {
		edits = append(edits, edit{"spec.source.import.publicKeysSHA256", sha256})
	}
	return edits
}

func TestServiceAccountKey(t *testing.T) {
	k := load(t, "serviceaccountkeys")
	const badText = "must not hold control characters, nor begin or end with a blank"
	const badToken = "must be 'namespace/name' of a Secret, or '*'"
	runCases(t, k, validKey, map[string]testCase{
		"no spec at all":     {},
		"empty spec":         accepted("spec", map[string]any{}),
		"as GitOps tools do": {edits: []edit{{"spec.rotation", map[string]any{}}, {"spec.retainOldKeyFor", "8760h0m0s"}, {"spec.acceptTokenLoss", []any{}}}},

		"imported":                        {edits: takenOver("kubeadm-sa", digest)},
		"imported, of which keys unsaid":  {edits: takenOver("kubeadm-sa", ""), want: "spec.source.import.publicKeysSHA256: "},
		"imported, a fingerprint":         {edits: takenOver("kubeadm-sa", fingerprint), want: "spec.source.import.publicKeysSHA256: must be 64 lower-case hexadecimal digits, as `sha256sum sa.pub` prints them"},
		"imported, with the file's name":  {edits: takenOver("kubeadm-sa", digest+"  sa.pub"), want: "spec.source.import.publicKeysSHA256: must be 64 lower-case hexadecimal digits"},
		"imported from nowhere":           {edits: takenOver("sa_keys", digest), want: "spec.source.import.secretRef.name: must be a valid name of an object"},
		"a source that says nothing":      refused("spec.source", map[string]any{}, "import must be set, or source left out: then the operator makes the key"),
		"imported from what it writes":    {edits: takenOver("k8s-sa", digest), want: "spec.secretName: the Secret of the keys has the object's name by default, and must differ from source.import.secretRef.name"},
		"imported from what it is to":     {edits: append(takenOver("other", digest), edit{"spec.secretName", "other"}), want: "spec.secretName: must differ from source.import.secretRef.name"},
		"imported from its name, written": {edits: append(takenOver("k8s-sa", digest), edit{"spec.secretName", "other"})},

		"outputs":            accepted("spec.outputs", []any{output("CAPI", "prod"), output("Kamaji", "tenant")}),
		"an output for Flux": {edits: set("spec.outputs", []any{output("Flux", "prod")}), want: `spec.outputs[0].format: supported values: "CAPI", "Kamaji"`},

		"rotated by its age":             accepted("spec.rotateEvery", "8760h"),
		"rotated too often":              refused("spec.rotateEvery", "9m59s", "must be between 10 minutes and 100 years"),
		"rotated once in days":           refused("spec.rotateEvery", "365d", "must be between 10 minutes and 100 years, in hours, minutes and seconds"),
		"rotated by its trigger":         accepted("spec.rotation.trigger", "2026-11"),
		"a trigger of two lines":         refused("spec.rotation.trigger", "a\nb", badText),
		"a trigger that ends in a blank": refused("spec.rotation.trigger", "a ", badText),
		"an empty trigger":               refused("spec.rotation.trigger", "", "spec.rotation.trigger in body should be at least 1 chars long"),
		"retained for a moment":          accepted("spec.retainOldKeyFor", "1s"),
		"retained not at all":            refused("spec.retainOldKeyFor", "0s", "must be between 1 second and 100 years"),
		"retained before now":            refused("spec.retainOldKeyFor", "-1h", "must be between 1 second and 100 years"),

		"ECDSA":                 accepted("spec.privateKey", map[string]any{"algorithm": "ECDSA", "size": int64(256)}),
		"RSA, larger":           accepted("spec.privateKey", map[string]any{"algorithm": "RSA", "size": int64(4096)}),
		"Ed25519":               refused("spec.privateKey", map[string]any{"algorithm": "Ed25519"}, "kube-apiserver refuses Ed25519 keys of service accounts: use 'RSA' or 'ECDSA'"),
		"a Secret of its own":   accepted("spec.secretName", "sa.prod"),
		"a Secret that is none": refused("spec.secretName", "sa_keys", "must be a valid Secret name"),

		"tokens that may end":      accepted("spec.acceptTokenLoss", list("monitoring/prometheus-token", "*")),
		"a token's name alone":     refusedItem("spec.acceptTokenLoss", badToken, "prometheus-token"),
		"all tokens of a place":    refusedItem("spec.acceptTokenLoss", badToken, "monitoring/*"),
		"a token with its kind":    refusedItem("spec.acceptTokenLoss", badToken, "monitoring/secrets/a"),
		"a token in upper case":    refusedItem("spec.acceptTokenLoss", badToken, "Monitoring/a"),
		"a token twice":            {edits: set("spec.acceptTokenLoss", list("a/b", "a/b")), want: "spec.acceptTokenLoss[1]: "},
		"too long a name":          {edits: set("metadata.name", strings.Repeat("x", 64)), want: "metadata: metadata.name must be 63 characters or fewer"},
		"as long a name as can be": {edits: set("metadata.name", strings.Repeat("x", 63))},
		"kept":                     accepted("spec.deletionPolicy", "Retain"),
		"destroyed with it":        accepted("spec.deletionPolicy", "Delete"),
	})
}
