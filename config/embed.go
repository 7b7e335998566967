// Package config holds the manifests, for the parts of the program that apply them.
package config

import (
	"embed"
	"io/fs"
	"slices"
)

// Files are the manifests, by their paths in this folder.
//
//go:embed samples/*.yaml samples/seed/*.yaml crd/bases/*.yaml rbac/target/*.yaml
var Files embed.FS

// CRDs are the paths of the custom resource definitions.
func CRDs() []string { return glob("crd/bases/*.yaml") }

// TargetRBAC are the paths of the bindings that the credentials' users and groups need in the cluster that
// they are for.
func TargetRBAC() []string { return glob("rbac/target/*.yaml") }

func glob(pattern string) []string {
	names, err := fs.Glob(Files, pattern)
	if err != nil {
		return nil // only for a malformed pattern
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "rbac/target/kustomization.yaml" })
}
