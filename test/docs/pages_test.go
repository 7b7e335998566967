package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/test/testenv"
)

var (
	root     = testenv.Root()
	binaries string // the folder of etcd, kube-apiserver and kubectl
	program  string // clusterpki
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	dir, err := os.MkdirTemp("", "clusterpki-docs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := testenv.Parallel(4); err != nil { // pages wait for the operator, and each has a control plane
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if binaries, err = testenv.Binaries(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program = filepath.Join(dir, "clusterpki")
	for name, of := range map[string]string{program: "./cmd", program + "-agent": "./cmd/agent"} {
		build := exec.Command("go", "build", "-o", name, of)
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", of, err, out)
			return 1
		}
	}
	return testenv.Run(m, empty, running, sampled)
}

// pages reads all of them.
func pages(t *testing.T) []*Page {
	t.Helper()
	files, err := Files(root)
	if err != nil {
		t.Fatal(err)
	}
	var out []*Page
	for _, f := range files {
		p, err := Read(root, f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// languages are the first words that a fence may have. Of these, sh is run and yaml is applied.
var languages = []string{"sh", "yaml", "console", "text", "mermaid", "json", "ini", "promql", "lua", "go"}

// needed are the words of a page's comment: see CONTRIBUTING.md.
var needed = []string{"samples", "bare", "cert-manager", "kubeadm"}

// TestFences looks at what can be seen without running anything.
func TestFences(t *testing.T) {
	for _, p := range pages(t) {
		for _, line := range p.Indented {
			t.Errorf("%s:%d: code that is indented alone is not run: put it between ```sh, ```yaml, ```console or ```text and ```", p.Path, line)
		}
		for _, n := range p.Needs {
			if !slices.Contains(needed, n) {
				t.Errorf("%s: the test knows no %q: the comment may name %s", p.Path, n, strings.Join(needed, ", "))
			}
		}
		for _, f := range p.Fences {
			if !slices.Contains(languages, f.Language) {
				t.Errorf("%s:%d: ```%s is none of ```%s", p.Path, f.Line-1, f.Language, strings.Join(languages, ", ```"))
			}
			if f.Language == "json" && !json.Valid([]byte(f.Text)) {
				t.Errorf("%s:%d: this is no JSON", p.Path, f.Line)
			}
		}
	}
}

// TestPages runs each ```sh and applies each ```yaml of a page, in their order, on an API server that no other page uses at the
// same time.
func TestPages(t *testing.T) {
	for _, p := range pages(t) {
		runs := func(f Fence) bool { return f.Language == "sh" || f.Language == "yaml" }
		if slices.ContainsFunc(p.Fences, runs) {
			t.Run(strings.TrimPrefix(p.Path, "docs/"), func(t *testing.T) {
				t.Parallel()
				follow(t, p)
			})
		}
	}
}

func follow(t *testing.T, p *Page) {
	t.Helper()
	s, err := newFixture(t, planeFor(t, p).KubeConfig).open(p)
	if err != nil {
		t.Fatal(err)
	}
	s.prepare()
	for _, f := range p.Fences {
		var out string
		switch f.Language {
		case "sh":
			out, err = s.run(f.Line, f.Text)
		case "yaml":
			out, err = s.yaml(f)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if testing.Verbose() {
			t.Logf("%s:%d\n%s", p.Path, f.Line, out)
		}
	}
}

const (
	install = `kubectl apply -k config/default
		kubectl wait --for=condition=Established crd clusterpkis.clusterpki.io clustercas.clusterpki.io serviceaccountkeys.clusterpki.io apiservercertificates.clusterpki.io nodecredentials.clusterpki.io
		kubectl wait --for=condition=Available --timeout=60s -n clusterpki-system deployment/clusterpki
		until kubectl get secret seal -n clusterpki-authority; do sleep 0.2; done >/dev/null 2>&1
		`
	samples = `kubectl create namespace prod
		kubectl apply -n prod -k config/samples
		` + ready
	ready = `kubectl wait --for=condition=Ready --timeout=60s -n prod pki --all
		`
)

// planeFor is a control plane with what the page takes for granted there.
func planeFor(t *testing.T, p *Page) *testenv.Plane {
	t.Helper()
	switch {
	case slices.Contains(p.Needs, "samples"):
		return sampled.Borrow(t)
	case slices.Contains(p.Needs, "bare"):
		plane := empty.Borrow(t)
		s, err := newStandIn(plane)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.stop(); err != nil {
				t.Error(err)
			}
		})
		return plane
	default:
		return running.Borrow(t)
	}
}

// prepare brings about what else the page takes for granted.
func (s *session) prepare() {
	s.d.t.Helper()
	var script string
	if slices.Contains(s.page.Needs, "samples") { // which the page before may have had done something
		script = ready
	}
	if slices.Contains(s.page.Needs, "kubeadm") {
		script += kubeadmFiles(s.d.t)
	}
	if slices.Contains(s.page.Needs, "cert-manager") {
		script += certManager(s.d.t)
	}
	if out, err := s.run(1, script); err != nil {
		s.d.t.Fatalf("before the page begins: %v\n%s", err, out)
	}
}

// yaml does with a manifest what its mark says.
func (s *session) yaml(f Fence) (string, error) {
	path := filepath.Join(s.runs, fmt.Sprintf("%d.yaml", f.Line))
	switch kind, value, _ := strings.Cut(f.Mark, "="); kind {
	case "file": // the commands that follow read it
		path = filepath.Join(s.d.dir, value)
		s.d.write(path, f.Text, 0o600)
		if strings.Contains(f.Text, "kind: AgentConfiguration") {
			_, err := agent.ReadConfig(path)
			return f.Text, err
		}
		return f.Text, s.wellFormed(f)
	case "fragment":
		return s.fragment(f, value)
	case "unserved":
		return f.Text, s.wellFormed(f)
	case "":
		s.d.write(path, f.Text, 0o600)
		return s.run(f.Line, namespacesOf(f.Text)+"kubectl apply --validate=strict -f "+path)
	default:
		return "", fmt.Errorf("%s:%d: ```yaml %s: only file=NAME, fragment=KIND and unserved are known", s.page.Path, f.Line-1, f.Mark)
	}
}

func (s *session) wellFormed(f Fence) error {
	for _, doc := range regexp.MustCompile(`(?m)^---$`).Split(f.Text, -1) {
		var v any
		if err := yaml.UnmarshalStrict([]byte(doc), &v); err != nil {
			return fmt.Errorf("%s:%d: %w", s.page.Path, f.Line, err)
		}
	}
	return nil
}

// samplesOf are whole objects, which a fragment is laid over.
var samplesOf = map[string]string{
	"ClusterPKI":           `{"endpoint":"https://k8s-master:6443","serviceCIDRs":["10.96.0.0/12"],"controlPlane":{"hosts":[{"name":"k8s-master"}]}}`,
	"ClusterCA":            `{}`,
	"ServiceAccountKey":    `{}`,
	"APIServerCertificate": `{"caRef":{"name":"k8s"},"hostName":"k8s-master","endpoint":"https://k8s-master:6443"}`,
	"NodeCredential":       `{"caRef":{"name":"k8s"},"apiServerRef":{"name":"k8s-master"},"hostName":"k8s-node1","role":"Kubelet","kubeconfig":{}}`,
}

// fragment tries a part of an object on the API server, which keeps nothing of it.
func (s *session) fragment(f Fence, kind string) (string, error) {
	spec, ok := samplesOf[kind]
	if !ok {
		return "", fmt.Errorf("%s:%d: ```yaml fragment=%s: no such kind", s.page.Path, f.Line-1, kind)
	}
	patch, err := yaml.YAMLToJSONStrict([]byte(f.Text))
	if err != nil {
		return f.Text, fmt.Errorf("%s:%d: %w", s.page.Path, f.Line, err)
	}
	object := filepath.Join(s.runs, "sample.json")
	s.d.write(object, `{"apiVersion":"clusterpki.io/v1alpha1","kind":"`+kind+`","metadata":{"name":"sample","namespace":"default"},"spec":`+spec+`}`, 0o600)
	part := filepath.Join(s.runs, "patch.json")
	s.d.write(part, string(patch), 0o600)
	return s.run(f.Line, fmt.Sprintf("kubectl patch --local -f %s --type=merge --patch-file=%s -o json | kubectl apply --validate=strict --dry-run=server -f -", object, part))
}

// namespacesOf makes the namespaces that manifests are in, as far as they are not there.
func namespacesOf(text string) string {
	var script strings.Builder
	made := regexp.MustCompile(`kind: Namespace\b`).MatchString(text)
	for _, m := range regexp.MustCompile(`(?m)\bnamespace: ([a-z0-9-]+)`).FindAllStringSubmatch(text, -1) {
		if !made {
			fmt.Fprintf(&script, "kubectl get namespace %[1]s >/dev/null 2>&1 || kubectl create namespace %[1]s; ", m[1])
		}
	}
	return script.String()
}
