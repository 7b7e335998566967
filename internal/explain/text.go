package explain

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/pki"
)

// Text is a table by host, for people.
func (e Explained) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ClusterPKI %s makes %d objects, for %d hosts:\n\n", e.Cluster.Name, len(e.Children), len(e.Children.Hosts()))
	var table strings.Builder
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	e.row(t, "HOST", "OBJECT", "IS", "SIGNED BY", "DELIVERY", "USES")
	last := "-"
	for _, child := range e.Children {
		shown := child.Host
		switch shown {
		case last:
			shown = ""
		case "":
			shown = "(the whole cluster)"
		}
		last = child.Host
		e.child(t, shown, child)
	}
	t.Flush() //nolint:errcheck // it writes into memory
	for line := range strings.Lines(table.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// columns are how many a table has.
const columns = 6

func (Explained) row(t *tabwriter.Writer, cells ...string) {
	fmt.Fprintln(t, strings.Join(cells, "\t")+strings.Repeat("\t", columns-len(cells)))
}

func (e Explained) child(t *tabwriter.Writer, host string, child cluster.Child) {
	switch o := child.Object.(type) {
	case *v1alpha1.ClusterCA:
		e.row(t, host, child.Key().String(), "CA "+orText(o.Spec.Subject.CommonName, o.Name)+from(o.Spec.Source.IsImport()))
	case *v1alpha1.ServiceAccountKey:
		e.row(t, host, child.Key().String(), "service account key"+from(o.ImportSecretName() != ""))
	case *v1alpha1.APIServerCertificate:
		e.row(t, host, child.Key().String(), "API server "+o.Spec.HostName, o.Spec.CARef.Name, string(o.Spec.Delivery.Mode))
	case *v1alpha1.NodeCredential:
		e.row(t, host, child.Key().String(), identity(o), o.Spec.CARef.Name, string(o.Spec.Delivery.Mode), e.server(o))
	}
}

// from says of a key that it is there already.
func from(imported bool) string {
	if imported {
		return ", imported"
	}
	return ""
}

// identity is whom a certificate makes of its holder, or as what it serves.
func identity(c *v1alpha1.NodeCredential) string {
	role, ok := pki.LookupRole(string(c.Spec.Role))
	if !ok {
		return string(c.Spec.Role)
	}
	text := "CN=" + role.CommonNameFor(c.Spec.HostName)
	if len(role.Organizations) > 0 {
		text += ", O=" + strings.Join(role.Organizations, ", O=")
	}
	if slices.Contains(role.Usages, pki.ServerAuth) {
		text += " (serves)"
	}
	return text
}

// server is the URL in the kubeconfig of a credential.
func (e Explained) server(c *v1alpha1.NodeCredential) string {
	if c.Spec.Kubeconfig == nil || c.Spec.APIServerRef == nil {
		return ""
	}
	named, _ := e.Children.Find(cluster.Key{Kind: v1alpha1.KindAPIServerCertificate, Name: c.Spec.APIServerRef.Name})
	if api, ok := named.Object.(*v1alpha1.APIServerCertificate); ok {
		return desired.EndpointFor(c, api).URL
	}
	return ""
}

func orText(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}
