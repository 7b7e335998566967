package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/test/files"
)

// FuzzParseConfig reads any configuration: what is taken is whole, and is taken again as it was completed.
func FuzzParseConfig(f *testing.F) {
	for _, pattern := range []string{"testdata/*/agent.yaml", "../../config/agent/agent*.yaml"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			f.Fatalf("%s: %v, %v", pattern, names, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig(text)
		if err != nil {
			return
		}
		for _, dir := range []string{c.Directory, c.StateDirectory} {
			if !filepath.IsAbs(dir) {
				t.Errorf("a directory is %q", dir)
			}
		}
		whole, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseConfig(whole)
		if err != nil {
			t.Fatalf("completed, it is refused: %v\n%s", err, whole)
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("read again, it is another: %s", diff)
		}
	})
}

// FuzzRecord reads any note beside a set of files: what is read is written and read the same.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"reload":["kubelet"],"due":"2026-01-02T03:04:05Z","states":{"a":{"serialNumber":"0A","contents":{"a-tls/tls.crt":"aa"}}},"checked":true}`,
		`{"failed":{"digest":"aa","reason":"it did not answer","attempts":2,"until":"2026-01-02T03:04:05Z"}}`, `{"failed":{"attempts":-1}}`, `{"due":"x"}`} {
		f.Add([]byte(seed))
	}
	f.Add(files.Read(f, "record.json"))
	f.Fuzz(func(t *testing.T, note []byte) {
		r := recordOf(hostdir.Set{Note: note})
		text, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		again := recordOf(hostdir.Set{Note: text})
		text2, err := again.encode()
		if err != nil || string(text) != string(text2) {
			t.Errorf("read again, it is\n%s\nand not\n%s", text2, text)
		}
	})
}
