package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFuzz compares the corpus with the fuzz targets: each target has one, as CONTRIBUTING.md says, and begins with a seed of its own.
func TestFuzz(t *testing.T) {
	target := regexp.MustCompile(`(?ms)^func (Fuzz\w+)\(.*?^}`)
	var targets, corpora []string
	for _, dir := range []string{"api", "cmd", "internal"} { // as `make fuzz`
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			switch corpus, base := filepath.Split(path); {
			case err != nil || !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(corpus, "testdata/fuzz/"):
				return err
			case d.IsDir():
				inputs, err := os.ReadDir(path)
				if len(inputs) > 0 {
					corpora = append(corpora, filepath.Join(corpus, "..", "..", base))
				}
				return err
			}
			text, err := os.ReadFile(path)
			for _, f := range target.FindAllStringSubmatch(string(text), -1) {
				targets = append(targets, filepath.Join(filepath.Dir(path), f[1]))
				if !strings.Contains(f[0], "f.Add(") {
					t.Errorf("%s of %s has no seed", f[1], path)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(targets) == 0 {
		t.Fatal("there is no target")
	}
	slices.Sort(targets)
	slices.Sort(corpora)
	if diff := cmp.Diff(targets, corpora); diff != "" {
		t.Errorf("targets and corpora (-targets +corpora):\n%s", diff)
	}
}
