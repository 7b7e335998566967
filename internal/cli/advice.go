package cli

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"clusterpki.io/operator/api/v1alpha1"
)

// adviseAll makes a command and its subcommands say what to do about the errors that everybody meets.
func adviseAll(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			home := ""
			if f := c.Flag("authority-namespace"); f != nil {
				home = f.Value.String()
			}
			return advised(run(c, args), home)
		}
	}
	for _, below := range c.Commands() {
		adviseAll(below)
	}
}

// advised is an error, with what to do about it. home is the authority namespace, of a command that asks there.
func advised(err error, home string) error {
	if advice := adviceFor(err, home); advice != "" {
		return fmt.Errorf("%w: %s", err, advice)
	}
	return err
}

func adviceFor(err error, home string) string {
	if err == nil {
		return ""
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the kubeconfig holds another CA than that of the API server, or the server another name: is --context right?"
	}
	if e, ok := errors.AsType[*url.Error](err); ok && ExitCode(err) != exitInterrupted {
		host := e.URL
		if u, parseErr := url.Parse(e.URL); parseErr == nil {
			host = u.Host
		}
		return fmt.Sprintf("the API server at %s does not answer: is it up, and is --context right?", host)
	}
	switch {
	case notInstalled(err):
		return "clusterpki's custom resources are not installed in this cluster: is --context right? To install them: kubectl apply -k config/crd"
	case apierrors.IsUnauthorized(err):
		return "the API server does not know you: are the credentials of the kubeconfig still valid, and is --context right?"
	case apierrors.IsForbidden(err) && !strings.Contains(err.Error(), denied):
		return rightFor(err, home)
	default:
		return ""
	}
}

// denied is what a policy of config/admission says besides the verb that is missing, and who has it: that is advice enough.
const denied = "denied request: you need the verb "

// refused is what an API server says of a request that it forbids.
var refused = regexp.MustCompile(`cannot (\w+) resource "([\w/.]+)" in API group "([\w.]*)"(?: in the namespace "([\w-]+)")?`)

// rightFor says which right to ask for. A shipped role is named only where it has that right, and nobody is sent for rights on Secrets
// to the authority namespace: whoever reads them there has the key of every CA.
func rightFor(err error, home string) string {
	found := refused.FindStringSubmatch(err.Error())
	if found == nil {
		return "ask whoever administers the cluster for that right"
	}
	verb, resource, group, namespace := found[1], found[2], found[3], found[4]
	reads := slices.Contains([]string{"get", "list", "watch"}, verb)
	const keys = "the namespace holds the keys of all CAs: have whoever administers the operator run this"
	switch {
	case namespace != "" && namespace == home && reads && resource == "configmaps":
		return keys + ", or ask for a Role there with get on this ConfigMap and nothing else"
	case namespace != "" && namespace == home:
		return keys
	case reads:
		return rightToRead(verb, resource, namespace)
	case group != v1alpha1.GroupVersion.Group:
		return fmt.Sprintf("no role for users allows to %s %s: have whoever administers the operator run this", verb, resource)
	case resource == "nodecredentials":
		return fmt.Sprintf("the ClusterRole view does not allow to %s %s: ask for the ClusterRole clusterpki-node-operator in that namespace", verb, resource)
	default:
		return fmt.Sprintf("the ClusterRole view does not allow to %s %s: ask for the ClusterRole clusterpki-pki-admin in that namespace", verb, resource)
	}
}

func rightToRead(verb, resource, namespace string) string {
	switch {
	case (resource == "secrets" || resource == "leases") && verb == "list":
		return fmt.Sprintf("the ClusterRole view does not allow to read %s: ask for a Role with list on %[1]s, as the ClusterRole edit has it", resource)
	case resource == "secrets":
		return "the ClusterRole view does not allow to read Secrets: ask for a Role that names this one"
	case namespace == "":
		return "ask for the ClusterRole view in all namespaces, by a ClusterRoleBinding"
	default:
		return "ask for the ClusterRole view in that namespace, or choose another one with --namespace"
	}
}

// near names what there is instead of a name that is not there: what looks like it, else the first few.
func near(name string, names []string) string {
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return "; there is none at all: is --namespace right?"
	}
	var alike []string
	for _, n := range names {
		if distance(name, n) <= max(1, len(name)/3) || strings.Contains(n, name) || strings.Contains(name, n) {
			alike = append(alike, n)
		}
	}
	if len(alike) > 0 {
		return fmt.Sprintf("; did you mean %s?", strings.Join(first(alike, 3), " or "))
	}
	return "; there is " + strings.Join(first(names, 10), ", ")
}

// first are the first n names, and how many more there are.
func first(names []string, n int) []string {
	if len(names) <= n {
		return names
	}
	return append(slices.Clone(names[:n]), fmt.Sprintf("%d more", len(names)-n))
}

// distance is how many letters have to be put in, left out or changed to make one word of another (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := left
			if a[i] != b[j] {
				cost++
			}
			left, row[j+1] = row[j+1], min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
