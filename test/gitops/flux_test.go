package gitops_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/test/testenv"
)

// flux is Flux's kustomize-controller. The source-controller, which would fetch a repository, is played here: it only says where
// the archive of the latest commit is.
type flux struct {
	*cluster
	files   map[string][]byte // of the repository, by path
	commits int

	mu      sync.Mutex
	archive []byte
	url     string
}

func withFlux(t *testing.T) (*cluster, tool) {
	t.Helper()
	dir := os.Getenv("FLUX")
	if dir == "" {
		t.Fatal("FLUX names no folder: run `make test-gitops`, which builds Flux's kustomize-controller with hack/flux/build.sh")
	}
	c := newCluster(t, filepath.Join(dir, "crds"))
	f := &flux{cluster: c, files: map[string][]byte{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL
	c.namespace("flux-system")
	c.rights("flux.md")
	repository := fluxObject("source.toolkit.fluxcd.io/v1", "GitRepository", "fleet")
	set(t, repository, "https://git.example.org/fleet.git", "spec", "url")
	set(t, repository, "10m", "spec", "interval")
	c.apply(repository)
	temporary := t.TempDir()
	c.start("kustomize-controller", []string{"RUNTIME_NAMESPACE=flux-system", "HOME=" + temporary, "TMPDIR=" + temporary},
		filepath.Join(dir, "kustomize-controller"), "--metrics-addr=127.0.0.1:"+port(t), "--health-addr=127.0.0.1:"+port(t),
		"--requeue-dependency=1s", "--log-level=info")
	return c, f
}

func fluxObject(version, kind, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(version)
	u.SetKind(kind)
	u.SetNamespace("flux-system")
	u.SetName(name)
	return u
}

func kustomization(name string) *unstructured.Unstructured {
	return fluxObject("kustomize.toolkit.fluxcd.io/v1", "Kustomization", name)
}

func (f *flux) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = w.Write(f.archive)
}

// commit publishes the files as they are now, and answers the revision.
func (f *flux) commit() string {
	f.t.Helper()
	f.commits++
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	for path, text := range f.files {
		if err := archive.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: int64(len(text))}); err != nil {
			f.t.Fatal(err)
		}
		if _, err := archive.Write(text); err != nil {
			f.t.Fatal(err)
		}
	}
	for _, err := range []error{archive.Close(), zip.Close()} {
		if err != nil {
			f.t.Fatal(err)
		}
	}
	f.mu.Lock()
	f.archive = out.Bytes()
	f.mu.Unlock()

	revision := fmt.Sprintf("main@sha1:%040x", f.commits)
	repository := fluxObject("source.toolkit.fluxcd.io/v1", "GitRepository", "fleet")
	if err := f.api.Get(f.t.Context(), client.ObjectKeyFromObject(repository), repository); err != nil {
		f.t.Fatal(err)
	}
	set(f.t, repository, map[string]any{
		"path": "fleet.tar.gz", "url": f.url + "/fleet.tar.gz", "revision": revision, "size": int64(out.Len()),
		"digest": fmt.Sprintf("sha256:%x", sha256.Sum256(out.Bytes())), "lastUpdateTime": time.Now().UTC().Format(time.RFC3339),
	}, "status", "artifact")
	set(f.t, repository, repository.GetGeneration(), "status", "observedGeneration")
	if err := f.api.Status().Update(f.t.Context(), repository); err != nil {
		f.t.Fatal(err)
	}
	return revision
}

func (f *flux) bring(p part) {
	f.t.Helper()
	for _, o := range p.objects {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			f.t.Fatal(err)
		}
		f.files[p.file(o)] = text
	}
	revision := f.commit()
	u := f.documented("flux.md", "Kustomization", p.name)
	if err := f.api.Get(f.t.Context(), client.ObjectKeyFromObject(u), u.DeepCopy()); err != nil {
		f.apply(u)
	}
	f.applies(p, revision)
}

func (f *flux) prune(p part) {
	f.t.Helper()
	for _, o := range p.withoutStays() {
		delete(f.files, p.file(o))
	}
	f.applies(p, f.commit())
}

// cascade deletes the Kustomization. With `prune: true` what it had applied goes with it.
func (f *flux) cascade(p part) {
	f.t.Helper()
	u := kustomization(p.name)
	if err := f.api.Delete(f.t.Context(), u); err != nil {
		f.t.Fatal(err)
	}
	f.gone(u, u.GetNamespace(), p.name)
}

// applies waits until the Kustomization of a part is Ready with a revision.
func (f *flux) applies(p part, revision string) {
	f.t.Helper()
	testenv.Eventually(f.t, fmt.Sprintf("Kustomization %s is Ready with %s", p.name, revision), func() error {
		u := kustomization(p.name)
		if err := f.api.Get(f.t.Context(), client.ObjectKeyFromObject(u), u); err != nil {
			return err
		}
		if text(u, "status", "lastAppliedRevision") != revision || condition(u, "Ready") != string(metav1.ConditionTrue) {
			return fmt.Errorf("it says %v", u.Object["status"])
		}
		return nil
	})
}
