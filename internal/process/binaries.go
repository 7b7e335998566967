package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Assets is the variable that says where test binaries are (controller-runtime's envtest reads it too).
const Assets = "KUBEBUILDER_ASSETS"

// Binaries finds programs: in the folder that Assets names, where that holds the program, else in its own.
type Binaries struct{ Directory string }

// Find returns the path of a program.
func (b Binaries) Find(name string) (string, error) {
	var tried []string
	for _, dir := range []string{os.Getenv(Assets), b.Directory} {
		if dir == "" {
			continue
		}
		path, err := filepath.Abs(filepath.Join(dir, name))
		if err != nil {
			return "", fmt.Errorf("find %s: %w", name, err)
		}
		info, err := os.Stat(path) //nolint:gosec // a folder that the user named
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
		tried = append(tried, path)
	}
	return "", fmt.Errorf("there is no program %s (looked for %v): build it with hack/kubernetes/build.sh %s", name, tried, name)
}

// Need says which of some programs are missing.
func (b Binaries) Need(names ...string) error {
	var missing []string
	for _, name := range names {
		if _, err := b.Find(name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("these programs are neither in %q nor where $%s points: %s; build them with hack/kubernetes/build.sh %s",
		b.Directory, Assets, strings.Join(missing, ", "), strings.Join(missing, " "))
}
