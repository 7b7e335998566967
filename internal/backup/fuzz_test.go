package backup

import (
	"bytes"
	"testing"

	"clusterpki.io/operator/test/files"
)

// FuzzParse reads any file as a backup: what is taken names its objects, and each CA once, and reads the same when it is written again.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"---\n", "{", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b}",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: k8s-trust, namespace: prod}\ndata: {ca.crt: x}\n---\n# nothing\n---\n" +
			"apiVersion: clusterpki.io/v1alpha1\nkind: ClusterCA\nmetadata: {name: k8s, namespace: prod}\nspec: {}\n",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: ca.prod.k8s, namespace: clusterpki-authority}\ntype: clusterpki.io/authority\ndata:\n" +
			"  ledger.json: eyJuYW1lc3BhY2UiOiJwcm9kIiwibmFtZSI6Ims4cyIsImxlZGdlciI6eyJyZXZpc2lvbiI6MX19\n",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: seal, namespace: clusterpki-authority}\ntype: clusterpki.io/seal\ndata: {key: AAAA}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Add(files.Read(f, "backup.yaml"))
	f.Add(bytes.Join([][]byte{files.Read(f, "authority.yaml"), files.Read(f, "issued.yaml"), files.Read(f, "backup.yaml")}, []byte("---\n")))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := Parse(bytes.NewReader(text))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, r := range a.parentsFirst() {
			if id := r.Namespace + "/" + r.Name; seen[id] {
				t.Errorf("ClusterCA %s is there twice", id)
			} else {
				seen[id] = true
			}
		}
		for _, o := range a.Objects {
			if o.GetName() == "" || o.GetNamespace() == "" || o.GetKind() == "" {
				t.Errorf("an object has no name: %v", o.Object)
			}
			_, _ = a.claimOf(o)
		}
		if len(a.Objects) == 0 {
			return
		}
		again, err := Render(a.Objects)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Parse(bytes.NewReader(again))
		if err != nil || len(b.Objects) != len(a.Objects) {
			t.Errorf("written again, it holds %d objects and not %d: %v", len(b.Objects), len(a.Objects), err)
		}
	})
}
