package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"clusterpki.io/operator/internal/backup"
)

const backupLong = `Writes everything that the PKI of a namespace consists of: the ledger and the keys of each ClusterCA and of each
ServiceAccountKey, from the authority namespace; the custom resources; the Secrets and ConfigMaps that the operator
made for them; and the Secrets that keys are imported from. The output holds the private keys of the CAs, and those
that sign service account tokens: encrypt it.

clusterpki restore restores it, in this cluster or another one. Status, UIDs and owner references are left
out. The custom resources bear the annotation clusterpki.io/restored, for which the operator makes no other key
should theirs be missing.

It reads with your own kubeconfig, and changes nothing in the cluster. Without the right to read a key it stops,
and says which verb is missing.

`

const backupExample = `  # into a file that only you may read
  clusterpki backup -n prod --out prod.yaml

  # of all namespaces, encrypted on the way
  clusterpki backup --all-namespaces --out - | age -r age1... > pki.yaml.age

  # back, in another cluster
  kubectl create namespace prod
  clusterpki restore prod.yaml`

type backupFlags struct {
	authorityFlags
	out         string
	all         bool
	withoutKeys bool
}

func newBackup() *cobra.Command {
	var f backupFlags
	c := &cobra.Command{
		Use:     "backup --out FILE",
		Short:   "Write all that the PKI of a namespace consists of, keys included",
		Long:    backupLong + exits(nil),
		Example: backupExample,
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return runBackup(c, f) },
	}
	f.addFlags(c)
	c.Flags().StringVar(&f.out, "out", "", "the file to write, with mode 0600; - writes to standard output (required)")
	c.Flags().BoolVarP(&f.all, "all-namespaces", "A", false, "of all namespaces")
	c.Flags().BoolVar(&f.withoutKeys, "without-keys", false, "leave out every Secret: the CAs must come back in another way, and certificates are re-issued")
	cobra.CheckErr(c.MarkFlagRequired("out")) // fails only for a name that is misspelt above
	return c
}

func runBackup(c *cobra.Command, f backupFlags) error {
	if file, ok := raw(c.OutOrStdout()).(*os.File); ok && f.out == "-" && !f.withoutKeys && term.IsTerminal(int(file.Fd())) {
		return errors.New("backup: it holds private keys, which are not shown on a terminal: use a pipe, or name a file")
	}
	reader, namespace, err := f.connectTo(f.all)
	if err != nil {
		return err
	}
	source := backup.Source{Reader: reader, Namespace: namespace, AuthorityNamespace: f.home, WithoutKeys: f.withoutKeys}
	objects, err := source.Gather(c.Context())
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if len(objects) == 0 {
		return fmt.Errorf("backup: there is nothing of clusterpki in %s", where(namespace))
	}
	text, err := backup.Render(objects)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if f.out == "-" {
		_, err = raw(c.OutOrStdout()).Write(text)
	} else {
		err = backup.Write(f.out, text)
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	sayBackup(c.ErrOrStderr(), objects, f, namespace)
	return nil
}

func where(namespace string) string {
	if namespace == "" {
		return "all namespaces"
	}
	return fmt.Sprintf("namespace %q", namespace)
}

// sayBackup counts what was written.
func sayBackup(w io.Writer, objects []unstructured.Unstructured, f backupFlags, namespace string) {
	counts := map[string]int{}
	var kinds []string
	for i := range objects {
		kind := objects[i].GetKind()
		if counts[kind]++; !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	parts := make([]string, 0, len(kinds))
	for _, kind := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", counts[kind], kind))
	}
	note := "it holds private keys: encrypt it"
	if f.withoutKeys {
		note = "it holds no key: back up the authority namespace in another way"
	}
	fmt.Fprintf(w, "%s of %s; %s\n", strings.Join(parts, ", "), where(namespace), note)
}
