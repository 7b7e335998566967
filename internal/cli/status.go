package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
)

const statusLong = `Shows each ClusterPKI in a line: how far a rotation is, how many hosts are behind, and the gravest
thing that a person should see to. With cpki/NAME it shows one, with everything that needs a
person, what to do about it, and each host.

Each ClusterCA follows as a tree: its subordinate CAs and certificates, when they expire and are
renewed, how far the rotation of the CA is and whom it waits for, and who else trusts it.
Each ServiceAccountKey follows, with its keys, whose turn it is in a rotation, and which tokens
keep an earlier key. What is wrong stands at the end.

It reads the objects of clusterpki, and no Secret.

`

const statusExample = `  clusterpki status -n prod          # the clusters and every CA of a namespace
  clusterpki status cpki/k8s -n prod # one cluster, with its hosts and what needs a person
  clusterpki status k8s -n prod      # one CA
  clusterpki status -A -o json       # everything, for programs`

type statusFlags struct {
	connection
	everywhere bool
	output     format
}

func newStatus() *cobra.Command {
	var f statusFlags
	c := &cobra.Command{
		Use:   "status [CA | cpki/NAME]",
		Short: "Show clusters, CAs, what they issued, service account keys, and what is wrong",
		Long: statusLong + exits(map[int]string{
			0: "no error was found; warnings there may be", exitError: "the question could not be asked",
			exitUnwell: "something is not Ready, Stalled, expired, overdue, blocked, or not seen by the operator",
		}),
		Example: statusExample,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return runStatus(c, f, "", "")
			}
			kind, name, err := described(args[0])
			if err != nil {
				return fmt.Errorf("status: %w", err)
			}
			return runStatus(c, f, kind, name)
		},
	}
	f.addFlags(c)
	f.completeDescribed(c)
	c.Flags().BoolVarP(&f.everywhere, "all-namespaces", "A", false, "look into all namespaces")
	f.output.addFlag(c, formatWide, formatJSON, formatYAML)
	return c
}

func runStatus(c *cobra.Command, f statusFlags, kind, name string) error {
	reader, namespace, err := f.connectTo(f.everywhere)
	if err != nil {
		return err
	}
	objects, err := readObjects(c.Context(), reader, namespace)
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	report, err := reportOf(objects, kind, name, namespace)
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	if err := printReport(c.OutOrStdout(), report, f, namespace); err != nil {
		return err
	}
	if n := report.Errors(); n > 0 {
		return &exit{exitUnwell, fmt.Sprintf("status: errors: %d", n)}
	}
	return nil
}

// reportOf is the report of an object, or with "" of all.
func reportOf(objects status.Objects, kind, name, namespace string) (status.Report, error) {
	now := clock.RealClock{}.Now()
	if kind == status.KindClusterPKI {
		report, ok := status.BuildCluster(now, objects, name)
		if !ok {
			return report, fmt.Errorf("there is no ClusterPKI %q%s%s", name, in(namespace), near(name, namesOf(objects, kind)))
		}
		return report, nil
	}
	report := status.Build(now, objects, name)
	if name != "" && len(report.ClusterCAs) == 0 {
		return report, noCA(objects, name, namespace)
	}
	return report, nil
}

// described reads what is to be described: the name of a ClusterCA, as in k8s or clusterca/k8s, or a ClusterPKI, as in cpki/k8s.
func described(arg string) (kind, name string, err error) {
	if !strings.Contains(arg, "/") {
		return status.KindClusterCA, arg, nil
	}
	kind, name, err = target(strings.SplitN(arg, "/", 2))
	if err == nil && kind != status.KindClusterCA && kind != status.KindClusterPKI {
		err = fmt.Errorf("%s is neither a ClusterPKI nor a ClusterCA: look at it with inspect", arg)
	}
	return kind, name, err
}

// noCA says that a ClusterCA does not exist, and which ones do.
func noCA(objects status.Objects, name, namespace string) error {
	return fmt.Errorf("there is no ClusterCA %q%s%s", name, in(namespace), near(name, namesOf(objects, status.KindClusterCA)))
}

func in(namespace string) string {
	if namespace == "" {
		return ""
	}
	return fmt.Sprintf(" in namespace %q", namespace)
}

func printReport(w io.Writer, r status.Report, f statusFlags, namespace string) error {
	return f.output.print(w, r, func() (string, error) {
		switch {
		case len(r.ClusterPKIs)+len(r.ClusterCAs)+len(r.ServiceAccountKeys) > 0:
		case namespace == "":
			return "There is no ClusterCA in any namespace.\n", nil
		default:
			return fmt.Sprintf("There is no ClusterCA%s: is --namespace right?\n", in(namespace)), nil
		}
		style, _ := styleFor(w)
		style.Namespaces, style.Wide = f.everywhere, f.output.value == formatWide
		return r.Text(style), nil
	})
}

// readObjects reads all objects of a namespace, or with "" of all.
func readObjects(ctx context.Context, from client.Reader, namespace string) (status.Objects, error) {
	var clusters v1alpha1.ClusterPKIList
	var cas v1alpha1.ClusterCAList
	var keys v1alpha1.ServiceAccountKeyList
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	for _, list := range []client.ObjectList{&clusters, &cas, &keys, &servers, &credentials} {
		if err := from.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return status.Objects{}, fmt.Errorf("read the objects%s: %w", in(namespace), err)
		}
	}
	return status.Objects{
		Clusters: clusters.Items, CAs: cas.Items, Keys: keys.Items, Servers: servers.Items, Credentials: credentials.Items,
	}, nil
}
