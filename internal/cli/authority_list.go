package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/clock"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
)

const authorityListLong = `Lists the CAs that the authority namespace holds, of all namespaces, and whose they are now:

  Bound      the ClusterCA of its name
  Returning  a ClusterCA of its name was made again, and takes it up
  Orphaned   there is no ClusterCA of its name; a new one takes it up
  Retained   its namespace was made anew, or it was restored: waits for 'clusterpki authority release'
  Deleted    its ClusterCA was deleted with deletionPolicy Delete: the keys are destroyed after seven days
  Destroyed  a tombstone: the keys are gone
  Damaged    its Secret cannot be read: restore it from a backup

It reads the Secrets of the authority namespace, namespaces and ClusterCAs, and shows no key.

`

// authorityReport is what `clusterpki authority list -o json` prints.
type authorityReport struct {
	header
	Namespace string          `json:"namespace"`
	CAs       []authorityItem `json:"cas"`
}

type authorityItem struct {
	Namespace   string                `json:"namespace,omitempty"`
	Name        string                `json:"name,omitempty"`
	Secret      string                `json:"secret"`
	State       string                `json:"state"`
	Detail      string                `json:"detail,omitempty"`
	Generations []authorityGeneration `json:"generations"`
	Created     *metav1.Time          `json:"created,omitempty"`
	Deleted     *metav1.Time          `json:"deleted,omitempty"`
}

type authorityGeneration struct {
	Number int32  `json:"number"`
	State  string `json:"state"`
}

func newAuthorityList() *cobra.Command {
	var f authorityFlags
	var output format
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the CAs whose keys are kept, and whose they are",
		Long:    authorityListLong + exits(map[int]string{0: "listed", exitError: "the question could not be asked", exitUnwell: "a Secret is damaged"}),
		Example: "  clusterpki authority list\n  clusterpki authority list -o json | jq -r '.cas[] | select(.state == \"Orphaned\").name'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, _, err := f.open(true)
			if err != nil {
				return err
			}
			report, err := a.list(c.Context())
			if err != nil {
				return fmt.Errorf("authority list: %w", err)
			}
			if err := output.print(c.OutOrStdout(), report, func() (string, error) { return report.text(clock.RealClock{}.Now()) }); err != nil {
				return err
			}
			if n := report.damaged(); n > 0 {
				return &exit{exitUnwell, fmt.Sprintf("damaged: %d", n)}
			}
			return nil
		},
	}
	f.addFlags(c)
	output.addFlag(c, formatJSON, formatYAML)
	return c
}

// list reads all CAs, and the objects that they belong to.
func (a authorities) list(ctx context.Context) (authorityReport, error) {
	report := authorityReport{header: headerOf("AuthorityList"), Namespace: a.store.Namespace(), CAs: []authorityItem{}}
	records, damaged, err := a.store.List(ctx)
	if err != nil {
		return report, err
	}
	namespaces, objects, err := a.present(ctx)
	if err != nil {
		return report, err
	}
	for _, r := range records {
		n := types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
		report.CAs = append(report.CAs, itemOf(r, owners{namespaces[r.Namespace], objects[n], namespaces[a.store.Namespace()]}))
	}
	for _, name := range slices.Sorted(maps.Keys(damaged)) {
		report.CAs = append(report.CAs, authorityItem{
			Secret: name, State: authorityDamaged, Detail: damaged[name].Error(), Generations: []authorityGeneration{},
		})
	}
	return report, nil
}

// present are the UIDs of all namespaces and ClusterCAs.
func (a authorities) present(ctx context.Context) (map[string]types.UID, map[types.NamespacedName]types.UID, error) {
	var namespaces corev1.NamespaceList
	if err := a.api.List(ctx, &namespaces); err != nil {
		return nil, nil, fmt.Errorf("list namespaces: %w", err)
	}
	var cas v1alpha1.ClusterCAList
	if err := a.api.List(ctx, &cas); err != nil && !notInstalled(err) {
		return nil, nil, fmt.Errorf("list ClusterCAs: %w", err)
	}
	byName, objects := map[string]types.UID{}, map[types.NamespacedName]types.UID{}
	for i := range namespaces.Items {
		byName[namespaces.Items[i].Name] = namespaces.Items[i].UID
	}
	for i := range cas.Items {
		objects[types.NamespacedName{Namespace: cas.Items[i].Namespace, Name: cas.Items[i].Name}] = cas.Items[i].UID
	}
	return byName, objects, nil
}

func itemOf(r *authority.Record, now owners) authorityItem {
	item := authorityItem{
		Namespace: r.Namespace, Name: r.Name, Secret: authority.SecretName(r.Namespace, r.Name),
		Generations: []authorityGeneration{}, Created: timeOf(r.Created), Deleted: timeOf(r.Deleted),
	}
	item.State, item.Detail = stateOf(r, now)
	for _, g := range r.Ledger.Generations {
		item.Generations = append(item.Generations, authorityGeneration{g.Number, string(g.State)})
	}
	return item
}

// timeOf is a time that may not be.
func timeOf(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t}
}

func (r authorityReport) damaged() (n int) {
	for _, item := range r.CAs {
		if item.State == authorityDamaged {
			n++
		}
	}
	return n
}

func (r authorityReport) text(now time.Time) (string, error) {
	if len(r.CAs) == 0 {
		return fmt.Sprintf("namespace %s holds no CA\n", r.Namespace), nil
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CA\tSTATE\tGENERATIONS\tAGE\tDETAIL")
	for _, item := range r.CAs {
		name, generations, age := item.Namespace+"/"+item.Name, []string{}, "-"
		if item.State == authorityDamaged {
			name = item.Secret
		}
		for _, g := range item.Generations {
			generations = append(generations, fmt.Sprintf("%d %s", g.Number, g.State))
		}
		if item.Created != nil {
			age = duration.HumanDuration(now.Sub(item.Created.Time))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", name, item.State, orDash(strings.Join(generations, ", ")), age, orDash(item.Detail))
	}
	if err := t.Flush(); err != nil {
		return "", fmt.Errorf("print: %w", err)
	}
	return b.String(), nil
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
