package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// word is an expression that users should not meet, because the field has another one for the same thing.
type word struct {
	old string // a regular expression
	use string
	// but are texts in which it means something else, and flag is one that has it as its name.
	but  []string
	flag string
}

// words are those that this project once had of its own.
var words = []word{
	{old: `\b[Rr]eplac(ed|es|ing|ements?)\b|\breplace\b`, use: "rotate, rotation; of a certificate: renew, re-issue", flag: "replace", but: []string{
		"--replace", "kubectl replace", "op: replace", "replacements:", "`replace` lines", `| replace "`, "= replace ", // of other programs
		"a swap replaces", "those are replaced, and a mount", "replace %s: %w", "look into the kernel's log and replace it", // files and disks
		"procedure that this project replaces",
	}},
	{old: `(?i)\b(give|gives|given|gave|giving) up\b`, use: "rolled back"},
	{old: `(?i)\b(take|takes|taken|took|taking) (it |them |the change )?back\b`, use: "rolled back; of a file in Git: reverted"},
	{old: `(?i)\backed\b`, use: "acknowledged"},
	{old: `(?i)\bbridges?\b|CrossSign\b`, use: "cross-signed certificate, crossSigning"},
	{old: `(?i)\bsilent(ly)?\b|\bsilence\b|silentAfter`, use: "LeaseExpired, leaseDuration", but: []string{"Silence the alert"}},
	{old: `(?i)\bbrought back\b|\bbrings? (it|them) back\b`, use: "restored"},
	{old: `(?i)\blet(s|ting)? go of\b|\bout of the (trust )?bundle\b`, use: "removed from the trust bundle"},
	{old: `(?i)\bissued? (anew|again)\b`, use: "re-issued"},
	{old: `(?i)\bCAs? (above|below)\b|\bthose below\b|\bwhat has one\b`, use: "parent CA, subordinate CA, subjects of the CA"},
	{old: `(?i)\bsigns now\b|\b(pair|generation|key) that signs\b`, use: "active CA, active key", but: []string{"the key pair that signs service account tokens"}},
	{old: `(?i)\bstated\b|\bstates (the|what|which|serialNumber|bundleSHA256)\b`, use: "acknowledged; says, names"},
	{old: `\bParentReplaced\b|\bReplacementPending\b|\bAgentSilent\b|\bNotSeen\b|\bCARotated\b`, use: "the reasons of api/v1alpha1"},
	{old: `rotation\.(mode|timeout|bridge|revision|acked|gates)\b|trustRevision|trust\.revision\b`, use: "the fields of api/v1alpha1"},
	{old: `ca_trust_revision|probe_looks_total|request-hash|clusterpki\.io/(trigger|holds|request)\b`, use: "the names that there are"},
	{old: `(?i)\blook(s|ed)? at (an API server|an address|it over TLS)|\blast look at\b`, use: "probe, probed, attempt"},
}

// history are pages that tell how things were called.
var history = []string{"docs/decisions/"}

// TestWords: what users read calls things as the field does: pages, manifests with what stands in them, and every text that
// the programs can print.
func TestWords(t *testing.T) {
	for i := range words {
		w := &words[i]
		old := regexp.MustCompile(w.old)
		each(t, func(place, text string) {
			for _, phrase := range w.but {
				text = strings.ReplaceAll(text, phrase, "")
			}
			if found := old.FindString(text); found != "" && text != w.flag {
				t.Errorf("%s: %q is called: %s", place, found, w.use)
			}
		})
	}
}

// each calls f with every line of a page or manifest, and with every text in the programs.
func each(t *testing.T, f func(place, text string)) {
	t.Helper()
	for _, dir := range []string{"docs", "config", "charts", "README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md"} {
		walk(t, dir, func(path string) {
			text, err := os.ReadFile(filepath.Join(root, path))
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(string(text), "\n") {
				f(path+":"+strconv.Itoa(i+1), line)
			}
		}, ".md", ".yaml", ".json", ".service", ".txt", ".tpl", ".lua")
	}
	for _, dir := range []string{"api", "cmd", "internal"} {
		walk(t, dir, func(path string) {
			if !strings.HasSuffix(path, "_test.go") {
				texts(t, path, f)
			}
		}, ".go")
	}
	walk(t, filepath.Join("internal", "dashboard", "assets"), func(path string) {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		f(path, string(text))
	}, ".html", ".js")
}

// walk calls f with the files of a folder, or the file, that have one of some endings.
func walk(t *testing.T, dir string, f func(path string), endings ...string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, dir), func(full string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		path, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		for _, h := range history {
			if strings.HasPrefix(path, h) {
				return nil
			}
		}
		for _, ending := range endings {
			if filepath.Ext(path) == ending {
				f(path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// texts calls f with every string in a source file. Comments on the types of api/v1alpha1 are part of the pages.
func texts(t *testing.T, path string, f func(place, text string)) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, filepath.Join(root, path), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if _, ok := n.(*ast.ImportSpec); ok {
			return false
		}
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		text, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		f(path+":"+strconv.Itoa(set.Position(lit.Pos()).Line), text)
		return true
	})
}

// formerNames are those of types and functions that had a word of this project's own.
var formerNames = regexp.MustCompile(`^(Truster|Sighting|Painted|isNot|takeBack|redial|adrift|keyless|keyOnHost|laying|tops|heed|hears|covers|ParentOf|AliveUntil)$`)

// TestNames: nor do such words come back in the code.
func TestNames(t *testing.T) {
	for _, dir := range []string{"api", "cmd", "internal", "test"} {
		walk(t, dir, func(path string) {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, filepath.Join(root, path), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				var name *ast.Ident
				switch n := n.(type) {
				case *ast.FuncDecl:
					name = n.Name
				case *ast.TypeSpec:
					name = n.Name
				}
				if name != nil && formerNames.MatchString(name.Name) {
					t.Errorf("%s: %s has another name by now", set.Position(name.Pos()), name.Name)
				}
				return true
			})
		}, ".go")
	}
}
