package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/backup"
)

const restoreLong = `Restores what clusterpki backup wrote: the ledger and the keys of each CA and of each ServiceAccountKey into the
authority namespace, then the Secrets and ConfigMaps, and in the end the custom resources. Its namespaces must exist.
Keys are bound to the namespace that has their namespace's name now, and what the operator made bears the seal of the
operator that is there now.

What is there already and is the same, or is a custom resource, stays. Where another CA or other service account keys
have the name, or a Secret holds something else, nothing at all is written. If the operator has made another key
meanwhile, because the custom resources came first, --replace puts that of the backup in its place, and what was issued
from it.

It writes with your own kubeconfig, and needs the rights of whoever administers the PKI: to create and get Secrets in
the authority namespace, to delete them there for --replace, and to create what the file holds.

`

const restoreExample = `  # into a namespace of the same name, of this cluster or another one
  kubectl create namespace prod
  clusterpki restore prod.yaml

  # decrypted on the way
  age -d -i key.txt prod.yaml.age | clusterpki restore -

  # into a namespace of another name
  clusterpki restore prod.yaml --namespace prod=drill

  # the operator has made another CA already
  clusterpki restore prod.yaml --replace prod/k8s

  # and other service account keys: tokens that these have signed end
  clusterpki restore prod.yaml --replace prod/k8s,serviceaccountkeys/prod/k8s-sa`

type restoreFlags struct {
	authorityFlags
	replace []string
}

func newRestore() *cobra.Command {
	var f restoreFlags
	c := &cobra.Command{
		Use:     "restore FILE",
		Short:   "Restore what a backup wrote",
		Long:    restoreLong + exits(nil),
		Example: restoreExample,
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return runRestore(c, f, args[0]) },
	}
	f.addFlags(c)
	c.Flags().Lookup("namespace").Usage = "restore `OLD[=NEW]` alone, of the namespaces in FILE, under the name NEW (default: all, under their names)"
	c.Flags().StringSliceVar(&f.replace, "replace", nil, "`[KIND/]NAMESPACE/NAME` of a ClusterCA, or of serviceaccountkeys, "+
		"in whose place that of the backup may be put; may be repeated")
	return c
}

func runRestore(c *cobra.Command, f restoreFlags, file string) error {
	archive, err := readArchive(c, file)
	if err != nil {
		return fmt.Errorf("restore: %s: %w", file, err)
	}
	target := backup.Target{AuthorityNamespace: f.home}
	if from, to, renamed := strings.Cut(f.overrides.Context.Namespace, "="); from != "" {
		if archive = archive.Only(from); len(archive.Namespaces()) == 0 {
			return fmt.Errorf("restore: %s holds nothing of namespace %q", file, from)
		}
		if renamed {
			target.Namespaces = map[string]string{from: to}
		}
	}
	f.overrides.Context.Namespace = ""
	for _, text := range f.replace {
		of, err := authority.ParseRef(text)
		if err != nil {
			return fmt.Errorf("restore: --replace: %w", err)
		}
		target.Replace = append(target.Replace, of)
	}
	client, _, err := f.connect()
	if err != nil {
		return err
	}
	target.Client = client
	result, err := target.Restore(c.Context(), archive)
	sayRestore(c.ErrOrStderr(), result)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

func readArchive(c *cobra.Command, file string) (backup.Archive, error) {
	var from = c.InOrStdin()
	if file != "-" {
		f, err := os.Open(file) //nolint:gosec // the file that the person names
		if err != nil {
			return backup.Archive{}, err //nolint:wrapcheck // it says all
		}
		defer f.Close() //nolint:errcheck // it is only read
		from = f
	}
	return backup.Parse(from)
}

// sayRestore counts what was written.
func sayRestore(w io.Writer, r backup.Result) {
	if r.CAs+r.AccountKeys+r.Clusters+r.Objects+r.Kept > 0 {
		fmt.Fprintf(w, "restored %d CAs, the keys of %d ServiceAccountKeys and %d objects; %d were there already\n", r.CAs, r.AccountKeys,
			r.Clusters+r.Objects, r.Kept)
	}
	if len(r.Foreign) > 0 {
		slices.Sort(r.Foreign)
		fmt.Fprintf(w, "the operator will leave alone what it did not make: %s\n", strings.Join(r.Foreign, ", "))
	}
}
