package hostdir

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// Equal reports whether two sets of files are the same, in whatever order.
func Equal(a, b []File) bool { return len(Changed(a, b)) == 0 }

// Changed are the paths, in order, of files that are new, different or gone.
func Changed(before, after []File) []string {
	old, changed := map[string]File{}, map[string]bool{}
	for _, f := range before {
		old[f.Path], changed[f.Path] = f, true
	}
	for _, f := range after {
		was, ok := old[f.Path]
		changed[f.Path] = !ok || was.Mode != f.Mode || !bytes.Equal(was.Data, f.Data)
	}
	maps.DeleteFunc(changed, func(_ string, c bool) bool { return !c })
	return slices.Sorted(maps.Keys(changed))
}

// maxOurs bounds a file of ours, in bytes: what comes from a Secret is smaller.
const maxOurs = 4 << 20

// check refuses files that have no place in a set.
func check(files []File) error {
	seen := map[string]bool{}
	for _, f := range files {
		switch {
		case !fs.ValidPath(f.Path) || f.Path == "." || strings.Contains(f.Path, "\n"):
			return fmt.Errorf("%q is not a clean path below it", f.Path)
		case strings.HasPrefix(f.Path, "..") || strings.Contains(f.Path, "/.."):
			return fmt.Errorf("%q has a name that begins with '..': such names are kept for sets", f.Path)
		case f.Mode&^fs.ModePerm != 0:
			return fmt.Errorf("%s has mode %v: it may have permissions alone", f.Path, f.Mode)
		case len(f.Data) > maxOurs:
			return fmt.Errorf("%s has more than %d bytes", f.Path, maxOurs)
		case seen[f.Path]:
			return fmt.Errorf("%s is there twice", f.Path)
		}
		seen[f.Path] = true
	}
	return nil
}

func firstName(path string) string {
	name, _, _ := strings.Cut(path, "/")
	return name
}

func pathsOf(files []File) []string {
	var out []string
	for _, f := range files {
		out = append(out, f.Path)
	}
	slices.Sort(out)
	return out
}
