package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/inspect"
	"clusterpki.io/operator/internal/status"
)

const inspectLong = `Shows one object in depth: what its certificates say, whether keys and chains fit, which generation
of the CA signed, what is known to have arrived, its conditions, and what to do about those that are
bad news. Or a Secret, or files: certificates, keys, requests and kubeconfigs in PEM, DER or YAML.

Of a ClusterCA it reads the trust ConfigMap and no Secret. Of the others it reads their Secrets too;
where you may not, it says so and shows what their status says. Of files it reads nothing else, and
asks no cluster; chains are verified by the roots among them.

It never shows a private key, a token or a password: only of which kind a key is, and what it fits.

`

const inspectExample = `  clusterpki inspect clusterca/k8s -n prod
  clusterpki inspect nodecred/k8s-node1-kubelet -n prod        # short names are those of kubectl
  clusterpki inspect sak/k8s-sa -n prod                        # service account keys: whose turn it is, what keeps an old one
  clusterpki inspect secret/k8s-master-tls -n prod
  clusterpki inspect -f /etc/kubernetes/kubelet.conf           # and what it names
  clusterpki inspect -f tls.crt -f tls.key -f ca.crt           # does it fit together?
  kubectl get secret x -o jsonpath='{.data.tls\.crt}' | base64 -d | clusterpki inspect -f -`

const kindSecret = "Secret"

// kindsByName are the kinds that can be inspected, by the names that kubectl knows them by.
var kindsByName = func() map[string]string {
	out := map[string]string{"secret": kindSecret, "secrets": kindSecret}
	for _, k := range v1alpha1.Kinds() {
		out[strings.ToLower(k.Name)], out[k.Plural], out[k.ShortName] = k.Name, k.Name, k.Name
	}
	return out
}()

type inspectFlags struct {
	connection
	files  []string
	output format
}

func newInspect() *cobra.Command {
	var f inspectFlags
	c := &cobra.Command{
		Use:   "inspect (KIND/NAME | -f FILE)",
		Short: "Show one object, Secret or file in depth",
		Long: inspectLong + exits(map[int]string{
			0: "no error was found; warnings there may be", exitError: "the question could not be asked",
			exitUnwell: "an error was found: something is not Ready, not valid, or does not fit",
		}),
		Example: inspectExample,
		Args:    cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := runInspect(c, f, args); err != nil {
				return fmt.Errorf("inspect: %w", err)
			}
			return nil
		},
	}
	f.addFlags(c)
	f.completeObject(c)
	c.Flags().StringArrayVarP(&f.files, "filename", "f", nil, "a `file` to inspect in place of an object; - is standard input; may be repeated")
	cobra.CheckErr(c.MarkFlagFilename("filename")) // fails only for a name that is misspelt above
	f.output.addFlag(c, formatWide, formatJSON, formatYAML)
	return c
}

func runInspect(c *cobra.Command, f inspectFlags, args []string) error {
	seen, err := lookAt(c, f, args)
	if err != nil {
		return err
	}
	report := inspect.Build(clock.RealClock{}.Now(), seen)
	err = f.output.print(c.OutOrStdout(), report, func() (string, error) {
		style, _ := styleFor(c.OutOrStdout())
		style.Wide = f.output.value == formatWide
		return report.Text(style), nil
	})
	if err != nil {
		return err
	}
	if n := report.Errors(); n > 0 {
		return &exit{exitUnwell, fmt.Sprintf("errors: %d", n)}
	}
	return nil
}

// lookAt reads what is to be inspected.
func lookAt(c *cobra.Command, f inspectFlags, args []string) (inspect.Inputs, error) {
	switch {
	case len(f.files) > 0 && len(args) > 0:
		return inspect.Inputs{}, errors.New("either an object or files: leave out one of them")
	case len(f.files) > 0:
		return inspect.GatherFiles(f.files, c.InOrStdin())
	}
	kind, name, err := target(args)
	if err != nil {
		return inspect.Inputs{}, err
	}
	if kind == status.KindClusterPKI {
		return inspect.Inputs{}, fmt.Errorf("a ClusterPKI has no certificate of its own: look at it with status cpki/%s", name)
	}
	api, namespace, err := f.connect()
	if err != nil {
		return inspect.Inputs{}, err
	}
	if kind == kindSecret {
		seen, err := inspect.GatherSecret(c.Context(), api, namespace, name)
		if apierrors.IsNotFound(err) {
			return inspect.Inputs{}, fmt.Errorf("there is no Secret %q%s", name, in(namespace))
		}
		return seen, err
	}
	objects, err := readObjects(c.Context(), api, namespace)
	if err != nil {
		return inspect.Inputs{}, err
	}
	if names := namesOf(objects, kind); !slices.Contains(names, name) {
		return inspect.Inputs{}, fmt.Errorf("there is no %s %q%s%s", kind, name, in(namespace), elsewhere(objects, name, near(name, names)))
	}
	return inspect.Gather(c.Context(), api, namespace, objects, kind, name), nil
}

// kindNamed is the kind that kubectl knows by a name, with the group or without, as in clusterca.clusterpki.io, and the name
// without it; "" for none.
func kindNamed(name string) (kind, short string) {
	short, _, _ = strings.Cut(strings.ToLower(name), ".")
	return kindsByName[short], short
}

// target reads KIND/NAME, or KIND NAME.
func target(args []string) (kind, name string, err error) {
	if len(args) == 0 {
		return "", "", errors.New("name an object, as in clusterca/k8s, or a file with -f")
	}
	kind, name, _ = strings.Cut(args[0], "/")
	if len(args) > 1 {
		kind, name = args[0], args[1]
	}
	known, short := kindNamed(kind)
	switch {
	case known == "":
		return "", "", fmt.Errorf("there is no kind %q; there is clusterca, serviceaccountkey, apiservercertificate, nodecredential, secret", kind)
	case name == "" || strings.Contains(name, "/"):
		return "", "", fmt.Errorf("name one %s, as in %s/NAME", known, short)
	}
	return known, name, nil
}

// namesOf are the names of the objects of a kind.
func namesOf(o status.Objects, kind string) []string {
	var out []string
	switch kind {
	case status.KindClusterPKI:
		for i := range o.Clusters {
			out = append(out, o.Clusters[i].Name)
		}
	case status.KindClusterCA:
		for i := range o.CAs {
			out = append(out, o.CAs[i].Name)
		}
	case status.KindServiceAccountKey:
		for i := range o.Keys {
			out = append(out, o.Keys[i].Name)
		}
	case status.KindAPIServerCertificate:
		for i := range o.Servers {
			out = append(out, o.Servers[i].Name)
		}
	case status.KindNodeCredential:
		for i := range o.Credentials {
			out = append(out, o.Credentials[i].Name)
		}
	}
	return out
}

// elsewhere names the object of another kind that has the name, else says what is there.
func elsewhere(o status.Objects, name, otherwise string) string {
	for _, kind := range v1alpha1.KindNames() {
		if slices.Contains(namesOf(o, kind), name) {
			return fmt.Sprintf("; did you mean %s/%s?", strings.ToLower(kind), name)
		}
	}
	return otherwise
}
