package dashboard

import (
	"cmp"
	"slices"
	"strings"

	"clusterpki.io/operator/internal/status"
)

// Tile is one cluster of the fleet: a ClusterPKI, or what there is in a namespace without one.
type Tile struct {
	Namespace, Name string // no name: there is no ClusterPKI
	// ID is that of the part of the page that it links to.
	ID string
	// PKI is the ClusterPKI; nil where there is none.
	PKI *status.Cluster
	// Errors and Warnings are those of the namespace, where there is no ClusterPKI.
	Errors, Warnings int
}

// Title is how the cluster is called.
func (t Tile) Title() string { return cmp.Or(t.Name, t.Namespace) }

// Search are the words by which it is found, in lower case.
func (t Tile) Search() string {
	words := []string{t.Namespace, t.Name}
	if t.PKI != nil {
		words = append(words, t.PKI.Endpoint, t.PKI.State.State)
		for _, a := range t.PKI.Attention {
			words = append(words, a.Host, a.Reason)
		}
	}
	return strings.ToLower(strings.Join(words, " "))
}

// Tone is how it stands: 'bad', 'busy' or 'good'.
func (t Tile) Tone() string {
	switch {
	case t.Errors > 0 || t.PKI != nil && !t.PKI.Ready:
		return toneBad
	case t.Warnings > 0 || t.PKI != nil && (t.PKI.AttentionCount > 0 || t.PKI.State.State != "Ready"):
		return toneBusy
	default:
		return toneGood
	}
}

// The colours of states, as the style sheet has them.
const (
	toneGood = "good"
	toneBusy = "busy"
	toneBad  = "bad"
)

// tones is the order of tiles: those that need somebody first.
var tones = []string{toneBad, toneBusy, toneGood}

// tiles are the clusters of a report, and the namespaces without one.
func tiles(v View, report status.Report) []Tile {
	var out []Tile
	known := map[string]bool{}
	for i := range report.ClusterPKIs {
		c := &report.ClusterPKIs[i]
		known[c.Namespace] = true
		out = append(out, Tile{Namespace: c.Namespace, Name: c.Name, ID: strings.Join([]string{"pki", c.Namespace, c.Name}, "."), PKI: c})
	}
	for _, c := range v.Clusters {
		if known[c.Namespace] {
			continue
		}
		t := Tile{Namespace: c.Namespace, ID: "s.c." + c.Namespace}
		for _, p := range report.Problems {
			switch {
			case p.Namespace != c.Namespace:
			case p.Severity == status.Error:
				t.Errors++
			default:
				t.Warnings++
			}
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(x, y Tile) int {
		return cmp.Or(slices.Index(tones, x.Tone())-slices.Index(tones, y.Tone()), cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	return out
}
