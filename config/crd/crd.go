// Package crd holds the custom resource definitions, for the parts of the program that apply or read them.
package crd

import (
	"embed"
	"io/fs"
)

// Files are the definitions, by their paths in this folder.
//
//go:embed bases/*.yaml
var Files embed.FS

// Paths are the paths of all definitions.
func Paths() []string {
	names, err := fs.Glob(Files, "bases/*.yaml")
	if err != nil {
		return nil // only for a malformed pattern
	}
	return names
}
