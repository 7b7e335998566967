package status

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"clusterpki.io/operator/internal/consumers"
)

// Text is the report for people: a line for each ClusterPKI, a tree for each ClusterCA and each ServiceAccountKey, and what is wrong at the end.
func (r Report) Text(s Style) string {
	text := r.clusterTable(s)
	if len(r.ClusterPKIs) == 1 {
		text += r.clusterDetails(s, r.ClusterPKIs[0])
	}
	if len(r.ClusterCAs)+len(r.ServiceAccountKeys) == 0 {
		return cmp.Or(text, "There is no ClusterCA.\n") + r.ProblemText(s)
	}
	if text != "" {
		text += "\n"
	}
	t := tree{now: r.Time, style: s}
	t.rows = append(t.rows, row{cells: t.header()})
	for i, a := range r.ClusterCAs {
		if i > 0 {
			t.rows = append(t.rows, row{})
		}
		t.authority("", "", a)
	}
	for i, k := range r.ServiceAccountKeys {
		if i > 0 || len(r.ClusterCAs) > 0 {
			t.rows = append(t.rows, row{})
		}
		t.accountKey(k)
	}
	return text + s.table(t.rows) + r.ProblemText(s)
}

func (t *tree) header() []cell {
	titles := []string{"NAME", "STATE", "IDENTITY", "EXPIRES", "IN", "RENEWS", "BY"}
	if t.style.Wide {
		titles = append(titles, "HOST", "SECRET", "SERIAL")
	}
	var out []cell
	for _, title := range titles {
		out = append(out, cell{title, Faint})
	}
	return out
}

// tree collects the rows of a table.
type tree struct {
	now   time.Time
	style Style
	rows  []row
}

// item is one branch below a CA: it is drawn with the lines that lead to it, and those that go on below it.
type item func(first, below string)

// authority draws a CA. first leads to it; below is what its own branches begin with.
func (t *tree) authority(first, below string, a Authority) {
	name := KindClusterCA + "/" + a.Name
	if t.style.Namespaces && first == "" {
		name += " in " + a.Namespace
	}
	identity := ""
	if a.Generation > 0 {
		identity = fmt.Sprintf("generation %d signs", a.Generation)
	}
	t.add(first, cell{name, Bold}, a.State, identity, "", "")
	items := t.branches(a)
	lead := below + "│  "
	if len(items) == 0 {
		lead = below + "   "
	}
	if a.Rotation != nil {
		t.rotation(lead, a.Rotation.Timeline, a.Trust)
	} else if a.LastRotation != nil {
		t.rows = append(t.rows, row{tree: lead, prose: LastText(t.now, *a.LastRotation)})
	}
	t.draw(below, items)
}

// draw draws branches below what has just been drawn.
func (t *tree) draw(below string, items []item) {
	for i, draw := range items {
		if i == len(items)-1 {
			draw(below+"└─ ", below+"   ")
		} else {
			draw(below+"├─ ", below+"│  ")
		}
	}
}

// branches are what is drawn below a CA.
func (t *tree) branches(a Authority) []item {
	var out []item
	if len(a.Generations) > 1 {
		for _, g := range a.Generations {
			out = append(out, func(first, _ string) {
				s := State{Ready: true, State: string(g.State), NotAfter: g.NotAfter.Time}
				t.add(first, cell{text: fmt.Sprintf("generation %d", g.Number)}, s, fingerprint(g.SHA256Fingerprint), "", "")
			})
		}
	}
	for _, below := range a.ClusterCAs {
		out = append(out, func(first, rest string) { t.authority(first, rest, below) })
	}
	for _, c := range a.Certificates {
		out = append(out, func(first, _ string) { t.certificate(first, c, a.Rotation) })
	}
	for _, line := range relyingParties(a.TrustedBy) {
		out = append(out, t.prose(line))
	}
	return out
}

func (t *tree) certificate(first string, c Certificate, r *Rotation) {
	identity := c.Identity
	if !strings.Contains(identity, c.Host) {
		identity += " on " + c.Host
	}
	by := ""
	if c.IssuerGeneration > 0 {
		by = fmt.Sprintf("g%d", c.IssuerGeneration)
	}
	if c.OldGeneration {
		by += ", old"
	}
	if c.Pending {
		by += ", waited for"
	}
	t.add(first, cell{text: c.Kind + "/" + c.Name}, c.State, identity, by, c.Host)
	if r != nil && (c.OldGeneration || c.Pending) {
		t.rows[len(t.rows)-1].cells[columnBy].paint = Yellow
	}
}

// columnBy is the last column that is not for wide tables alone.
const columnBy = 6

// stateCell is a state in its colour.
func stateCell(s State) cell {
	switch {
	case !s.Ready:
		return cell{s.State, Red}
	case s.State != stateReady:
		return cell{s.State, Yellow}
	default:
		return cell{s.State, Green}
	}
}

// add draws one row.
func (t *tree) add(first string, name cell, s State, identity, by, host string) {
	state := stateCell(s)
	left := ""
	if !s.NotAfter.IsZero() {
		left = HumanDuration(s.NotAfter.Sub(t.now))
		if !t.now.Before(s.NotAfter) {
			left += " ago"
		}
	}
	cells := []cell{name, state, {text: identity}, {text: date(t.now, s.NotAfter)}, {text: left}, {text: date(t.now, s.RenewalTime)}, {text: by}}
	if t.style.Wide {
		cells = append(cells, cell{text: host}, cell{text: s.SecretName}, cell{text: s.SerialNumber})
	}
	t.rows = append(t.rows, row{tree: first, cells: cells})
}

// relyingParties sums up who trusts a CA without a certificate of it.
func relyingParties(all []RelyingParty) []string {
	var out, servers []string
	kubeconfigs := map[string]int{}
	for _, t := range all {
		switch t.By {
		case consumers.ByKubeconfig:
			if kubeconfigs[t.Through]++; kubeconfigs[t.Through] == 1 {
				servers = append(servers, t.Through)
			}
		case consumers.ByRequestHeader:
			out = append(out, fmt.Sprintf("trusted by %s/%s for its aggregation layer", t.Kind, t.Name))
		default:
			out = append(out, fmt.Sprintf("trusted by %s/%s for its clients", t.Kind, t.Name))
		}
	}
	for _, name := range servers {
		out = append(out, fmt.Sprintf("trusted by %s for %s/%s", count(kubeconfigs[name], "kubeconfig"), KindAPIServerCertificate, name))
	}
	return out
}

// count is a number of things, such as '1 error' or '2 errors'.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// maxProblems is how many problems the text names.
const maxProblems = 20

// ProblemText is what is wrong, for people; "" for nothing.
func (r Report) ProblemText(s Style) string {
	if len(r.Problems) == 0 {
		return ""
	}
	var b strings.Builder
	title := count(r.Errors(), "error") + ", " + count(len(r.Problems)-r.Errors(), "warning")
	fmt.Fprintf(&b, "\n%s\n", s.Colored(Bold, title+":"))
	for i, p := range r.Problems {
		if i == maxProblems {
			fmt.Fprintf(&b, "  and %d more\n", len(r.Problems)-i)
			break
		}
		paint := Red
		if p.Severity == Warning {
			paint = Yellow
		}
		name := p.Kind + "/" + p.Name
		if p.Kind == "" {
			fmt.Fprintln(&b, s.Wrapped("  "+s.Colored(paint, string(p.Severity))+"  ", "    ", p.Reason+": "+p.Message))
			continue
		}
		if s.Namespaces {
			name += " in " + p.Namespace
		}
		fmt.Fprintln(&b, s.Wrapped("  "+s.Colored(paint, string(p.Severity))+"  ", "    ", fmt.Sprintf("%s %s: %s", name, p.Reason, p.Message)))
	}
	return b.String()
}
