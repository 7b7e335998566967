package inspect

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// filesName is the source that all files are in.
const filesName = "files"

// maxFile bounds what is read of one file, in bytes.
const maxFile = 8 << 20

// GatherFiles reads files, '-' for what comes by in, and the files that kubeconfigs among them name.
func GatherFiles(paths []string, in io.Reader) (Inputs, error) {
	src := source{name: filesName}
	for _, path := range paths {
		data, err := contents(path, in)
		if err != nil {
			return Inputs{}, fmt.Errorf("read %s: %w", path, err)
		}
		m := readFile(path, data)
		src.items = append(src.items, m)
		for _, named := range m.names() {
			if named != "" {
				src.items = append(src.items, besides(path, named))
			}
		}
	}
	match(src.items)
	return Inputs{sources: []source{src}}, nil
}

// readFile is read, and knows manifests.
func readFile(name string, data []byte) material {
	if all := manifestsOf(data); len(all) > 0 {
		return material{Item: Item{Name: name, Manifests: all}}
	}
	return read(name, data)
}

func contents(path string, in io.Reader) ([]byte, error) {
	if path != "-" {
		f, err := os.Open(path) //nolint:gosec // the user names it
		if err != nil {
			return nil, err //nolint:wrapcheck // the caller names the file
		}
		defer f.Close() //nolint:errcheck // nothing was written
		in = f
	}
	return io.ReadAll(io.LimitReader(in, maxFile)) //nolint:wrapcheck // the caller names the file
}

// names are the files that a kubeconfig names.
func (m *material) names() []string {
	var out []string
	if m.Kubeconfig == nil {
		return nil
	}
	for _, c := range m.Kubeconfig.Clusters {
		out = append(out, c.CAFile)
	}
	for _, u := range m.Kubeconfig.Users {
		out = append(out, u.CertificateFile, u.KeyFile)
	}
	return out
}

// besides reads a file that a kubeconfig names; paths that are relative begin at its folder.
func besides(kubeconfig, named string) material {
	path := named
	if !filepath.IsAbs(path) && kubeconfig != "-" {
		path = filepath.Join(filepath.Dir(kubeconfig), path)
	}
	data, err := contents(path, nil)
	if err != nil {
		return material{Item: Item{Name: path, Damage: "it cannot be read: " + err.Error()}, unread: true}
	}
	return readFile(path, data)
}
