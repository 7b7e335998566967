// Package config holds the manifests, for the parts of the program that apply them.
package config

import (
	"embed"
	"io/fs"
	"slices"
)

// Files are the manifests, by their paths in this folder.
//
//go:embed samples/*.yaml samples/seed/*.yaml samples/clusterpki/*.yaml rbac/target/*.yaml
var Files embed.FS

// TargetRBAC are the paths of the bindings that the credentials' users and groups need in the cluster that
// they are for.
func TargetRBAC() []string {
	names, err := fs.Glob(Files, "rbac/target/*.yaml")
	if err != nil {
		return nil // only for a malformed pattern
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "rbac/target/kustomization.yaml" })
}
