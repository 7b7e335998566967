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
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
)

const authorityListLong = `Lists the CAs and the service account keys that the authority namespace holds, of all namespaces, and whose they
are now:

  Bound      the ClusterCA, or the ServiceAccountKey, of its name
  Returning  an object of its name was made again, and takes it up
  Orphaned   there is no object of its name; a new one takes it up
  Retained   its namespace was made anew, or it was restored: waits for 'clusterpki authority release'
  Deleted    its object was deleted with deletionPolicy Delete: the keys are destroyed after seven days
  Destroyed  a tombstone: the keys are gone
  Damaged    its Secret cannot be read: restore it from a backup

It reads the Secrets of the authority namespace, namespaces, ClusterCAs and ServiceAccountKeys, and shows no key.

`

// authorityReport is what `clusterpki authority list -o json` prints.
type authorityReport struct {
	header
	Namespace          string          `json:"namespace"`
	CAs                []authorityItem `json:"cas"`
	ServiceAccountKeys []authorityItem `json:"serviceAccountKeys"`
	ClusterPKIs        []authorityItem `json:"clusterPKIs"`
}

type authorityItem struct {
	Namespace   string         `json:"namespace,omitempty"`
	Name        string         `json:"name,omitempty"`
	Secret      string         `json:"secret"`
	State       string         `json:"state"`
	Detail      string         `json:"detail,omitempty"`
	Generations []authorityKey `json:"generations,omitempty"` // of a CA
	Keys        []authorityKey `json:"keys,omitempty"`        // of a ServiceAccountKey
	Created     *metav1.Time   `json:"created,omitempty"`
	Deleted     *metav1.Time   `json:"deleted,omitempty"`
	title       string
}

type authorityKey struct {
	Number int32  `json:"number"`
	State  string `json:"state"`
}

func newAuthorityList() *cobra.Command {
	var f authorityFlags
	var output format
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the CAs and the service account keys that are kept, and whose they are",
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

// list reads all that is kept, and the objects that it belongs to.
func (a authorities) list(ctx context.Context) (authorityReport, error) {
	report := authorityReport{
		header: headerOf("AuthorityList"), Namespace: a.store.Namespace(), CAs: []authorityItem{}, ServiceAccountKeys: []authorityItem{},
		ClusterPKIs: []authorityItem{},
	}
	kept, damaged, err := a.store.ListKept(ctx)
	if err != nil {
		return report, err
	}
	namespaces, objects, err := a.present(ctx)
	if err != nil {
		return report, err
	}
	for _, k := range kept {
		of := k.Ref()
		report.add(of.Kind, itemOf(k, owners{namespaces[of.Namespace], objects[of], namespaces[a.store.Namespace()]}))
	}
	for _, name := range slices.Sorted(maps.Keys(damaged)) {
		kind := authority.KindCA
		switch {
		case strings.HasPrefix(name, authority.AccountKeysPrefix):
			kind = authority.KindAccountKeys
		case strings.HasPrefix(name, authority.FamilyPrefix):
			kind = authority.KindFamily
		}
		report.add(kind, authorityItem{Secret: name, State: authorityDamaged, Detail: damaged[name].Error(), title: name})
	}
	return report, nil
}

func (r *authorityReport) add(kind string, item authorityItem) {
	switch kind {
	case authority.KindAccountKeys:
		r.ServiceAccountKeys = append(r.ServiceAccountKeys, item)
	case authority.KindFamily:
		r.ClusterPKIs = append(r.ClusterPKIs, item)
	default:
		r.CAs = append(r.CAs, item)
	}
}

// present are the UIDs of all namespaces, and of the objects for which something may be kept.
func (a authorities) present(ctx context.Context) (map[string]types.UID, map[authority.Ref]types.UID, error) {
	var namespaces corev1.NamespaceList
	if err := a.api.List(ctx, &namespaces); err != nil {
		return nil, nil, fmt.Errorf("list namespaces: %w", err)
	}
	byName, objects := map[string]types.UID{}, map[authority.Ref]types.UID{}
	for i := range namespaces.Items {
		byName[namespaces.Items[i].Name] = namespaces.Items[i].UID
	}
	for kind, list := range map[string]client.ObjectList{
		authority.KindCA: &v1alpha1.ClusterCAList{}, authority.KindAccountKeys: &v1alpha1.ServiceAccountKeyList{},
		authority.KindFamily: &v1alpha1.ClusterPKIList{},
	} {
		if err := a.api.List(ctx, list); err != nil && !notInstalled(err) {
			return nil, nil, fmt.Errorf("list %ss: %w", kind, err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			if o, ok := item.(client.Object); ok {
				objects[authority.Ref{Kind: kind, NamespacedName: client.ObjectKeyFromObject(o)}] = o.GetUID()
			}
			return nil
		})
		if err != nil {
			return nil, nil, fmt.Errorf("list %ss: %w", kind, err)
		}
	}
	return byName, objects, nil
}

func itemOf(kept authority.Kept, now owners) authorityItem {
	of := kept.Ref()
	item := authorityItem{
		Namespace: of.Namespace, Name: of.Name, Secret: of.SecretName(), Created: timeOf(kept.CreatedAt()), Deleted: timeOf(kept.MarkedAt()),
		title: of.String(),
	}
	item.State, item.Detail = stateOf(kept, now)
	for _, s := range kept.States() {
		key := authorityKey{s.Number, s.State}
		if of.Kind == authority.KindCA {
			item.Generations = append(item.Generations, key)
		} else {
			item.Keys = append(item.Keys, key)
		}
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

func (r authorityReport) items() []authorityItem {
	return slices.Concat(r.CAs, r.ServiceAccountKeys, r.ClusterPKIs)
}

func (r authorityReport) damaged() (n int) {
	for _, item := range r.items() {
		if item.State == authorityDamaged {
			n++
		}
	}
	return n
}

func (r authorityReport) text(now time.Time) (string, error) {
	if len(r.items()) == 0 {
		return fmt.Sprintf("namespace %s holds no CA\n", r.Namespace), nil
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSTATE\tKEYS\tAGE\tDETAIL")
	for _, item := range r.items() {
		keys, age := []string{}, "-"
		for _, k := range slices.Concat(item.Generations, item.Keys) {
			keys = append(keys, fmt.Sprintf("%d %s", k.Number, k.State))
		}
		if item.Created != nil {
			age = duration.HumanDuration(now.Sub(item.Created.Time))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", item.title, item.State, orDash(strings.Join(keys, ", ")), age, orDash(item.Detail))
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
