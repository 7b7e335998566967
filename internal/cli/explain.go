package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"clusterpki.io/operator/internal/explain"
	"clusterpki.io/operator/internal/stall"
)

const explainLong = `Shows what a ClusterPKI makes, before it is applied: each object with its name, whom its certificate makes
of its host, which CA signs it, and which API server its kubeconfig points to. With --output yaml it prints
these objects as manifests.

It reads the file alone, and asks no cluster. What only an API server can say is said by
kubectl apply --dry-run=server.

`

const explainExample = `  clusterpki explain -f cluster.yaml
  clusterpki explain -f cluster.yaml -o yaml
  kustomize build overlays/prod | clusterpki explain -f -`

type explainFlags struct {
	file   string
	output format
}

func newExplain() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain -f FILE",
		Short: "Show what a ClusterPKI makes, before it is applied",
		Long: explainLong + exits(map[int]string{
			0: "it is printed", exitError: "the file could not be read", exitUnwell: "the ClusterPKI asks for what cannot be made; it is said what to change",
			exitInterrupted: never,
		}),
		Example: explainExample,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := runExplain(c, f); err != nil {
				return fmt.Errorf("explain: %w", err)
			}
			return nil
		},
	}
	c.Flags().StringVarP(&f.file, "filename", "f", "", "a `file` of manifests with a ClusterPKI among them; - is standard input")
	cobra.CheckErr(c.MarkFlagRequired("filename")) // these two fail only for a name that is misspelt above
	cobra.CheckErr(c.MarkFlagFilename("filename"))
	f.output.addFlag(c, formatYAML)
	return c
}

func runExplain(c *cobra.Command, f explainFlags) error {
	text, err := readManifests(f.file, c.InOrStdin())
	if err != nil {
		return err
	}
	all, err := explain.Read(text)
	if err != nil {
		return fmt.Errorf("%s: %w", f.file, err)
	}
	for i, one := range all {
		made, err := explain.Of(one)
		if stall.Is(err) {
			return &exit{exitUnwell, fmt.Sprintf("ClusterPKI %q: %v", one.Name, err)}
		}
		if err != nil {
			return fmt.Errorf("ClusterPKI %q: %w", one.Name, err)
		}
		out := []byte(made.Text())
		if f.output.data() {
			if out, err = made.YAML(); err != nil {
				return err
			}
		} else if i > 0 {
			out = append([]byte("\n"), out...)
		}
		if _, err := c.OutOrStdout().Write(out); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	return nil
}

// maxManifests bounds what is read: a ClusterPKI of a thousand hosts has 100 KB.
const maxManifests = 16 << 20

func readManifests(file string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if file != "-" {
		opened, err := os.Open(file) //nolint:gosec // whoever runs this names it
		if err != nil {
			return nil, fmt.Errorf("read the manifests: %w", err)
		}
		defer opened.Close() //nolint:errcheck // it was only read
		in = opened
	}
	text, err := io.ReadAll(io.LimitReader(in, maxManifests))
	if err != nil {
		return nil, fmt.Errorf("read the manifests: %w", err)
	}
	return text, nil
}
