package dashboard

import (
	"embed"
	"fmt"
	"html/template"
	"strings"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
	"clusterpki.io/operator/internal/timeline"
)

//go:embed assets
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"percent": percent,
	"span":    status.HumanDuration,
	"until":   status.Until,
	"date":    func(t time.Time) string { return t.UTC().Format("2 Jan 2006") },
	"clock":   func(t time.Time) string { return t.UTC().Format("15:04:05") },
	"exact":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"count":   count,
	"id":      func(parts ...string) string { return strings.Join(parts, ".") },
	"kind":    shortKind,
	"mark":    markOf,
	"tone":    toneOf,
	"asof":    func(now time.Time, v any) timed { return timed{now, v} },
	"pending": timeline.NameOf,
	// What is only assumed is no fault, whatever a person has to write.
	"alarming": func(p v1alpha1.PendingConsumer) bool { return p.Edit != "" && p.Reason != v1alpha1.ReasonAssumed },
	"expect":   status.ExpectedText,
	"step":     classOf,
	"join":     strings.Join,
}).ParseFS(files, "assets/*.html"))

// timed is something to show as of a moment.
type timed struct {
	Now time.Time
	V   any
}

// page is the whole page around its live part.
type page struct {
	Viewer  string
	Scope   string
	SignOut bool
	Live    template.HTML
}

func pageOf(v Viewer, live []byte, signOut bool) page {
	p := page{Viewer: v.Name, Scope: "everything", SignOut: signOut}
	switch len(v.Namespaces) {
	case 0:
	case 1:
		p.Scope = "namespace " + v.Namespaces[0]
	default:
		p.Scope = "namespaces " + strings.Join(v.Namespaces, ", ")
	}
	p.Live = template.HTML(live) //nolint:gosec // it comes out of a template, which has escaped what is in it
	return p
}

// loginPage asks for a token.
type loginPage struct {
	Link    bool // one signs in by a link in a terminal
	Problem string
}

// refusedPage says why there is nothing to see.
type refusedPage struct{ Title, Text string }

// count is a number of things, such as '1 error' or '2 errors'.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// shortKind is how people call a kind.
func shortKind(kind string) string {
	switch kind {
	case status.KindClusterPKI:
		return "Cluster"
	case status.KindClusterCA:
		return "CA"
	case status.KindServiceAccountKey:
		return "Service account key"
	case status.KindAPIServerCertificate:
		return "API server"
	case status.KindNodeCredential:
		return "credential"
	default:
		return kind
	}
}

// classOf is how a phase looks.
func classOf(s v1alpha1.PhaseState) string {
	switch s {
	case v1alpha1.PhaseDone:
		return "done"
	case v1alpha1.PhaseActive:
		return "present"
	case v1alpha1.PhaseSkipped:
		return "skipped"
	default:
		return "ahead"
	}
}

// toneOf is the colour of a state: 'good', 'busy', 'bad' or 'plain'.
func toneOf(v any) string {
	switch v := v.(type) {
	case status.State:
		switch {
		case !v.Ready:
			return toneBad
		case v.State != "Ready":
			return toneBusy
		}
		return toneGood
	case Tile:
		return v.Tone()
	case status.Severity:
		if v == status.Error {
			return toneBad
		}
		return toneBusy
	case v1alpha1.RotationResult:
		if v == v1alpha1.RotationCompleted {
			return toneGood
		}
		return toneBusy
	default:
		return "plain"
	}
}

// markOf is the sign that says the same as the colour.
func markOf(v any) string {
	switch toneOf(v) {
	case "good":
		return "✓"
	case "busy":
		return "◐"
	case "bad":
		return "✕"
	default:
		return "·"
	}
}
