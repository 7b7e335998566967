package gitops_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/test/testenv"
)

// standing is what an Application says at one moment.
type standing struct {
	sync, health, operation string
	revision                string // that the comparison is with
	synced                  string // that the last operation is of
	objects                 string // those that are out of sync, or of another kind than ours
}

func (s standing) String() string {
	return fmt.Sprintf("%s %s, operation %s of %.7s, compared with %.7s %s", s.sync, s.health, s.operation, s.synced, s.revision, s.objects)
}

// app is an Application, and all that it has said since it was created.
type app struct {
	*cluster
	key client.ObjectKey

	mu   sync.Mutex
	said []standing
}

func application() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("argoproj.io/v1alpha1")
	u.SetKind("Application")
	return u
}

// documented is an object of a kind and name that a page shows.
func (c *cluster) documented(page, kind, name string) *unstructured.Unstructured {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", page))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```yaml unserved\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(block[1]), &u.Object); err != nil {
			c.t.Fatal(err)
		}
		if u.GetKind() == kind && u.GetName() == name {
			return u
		}
	}
	c.t.Fatalf("docs/%s shows no %s %s", page, kind, name)
	return nil
}

// create makes an Application that docs/argocd.md shows, of another repository.
func (c *cluster) create(name string, g git) *app {
	c.t.Helper()
	return c.createAs(name, name, g)
}

// createAs is create, under another name.
func (c *cluster) createAs(documented, name string, g git) *app {
	c.t.Helper()
	u := c.documented("argocd.md", "Application", documented)
	u.SetName(name)
	set(c.t, u, g.url(), "spec", "source", "repoURL")
	a := &app{cluster: c, key: client.ObjectKeyFromObject(u)}
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("argoproj.io/v1alpha1")
	list.SetKind("ApplicationList")
	w, err := c.api.Watch(c.t.Context(), list, client.InNamespace(a.key.Namespace))
	if err != nil {
		c.t.Fatal(err)
	}
	go func() {
		for event := range w.ResultChan() {
			if u, ok := event.Object.(*unstructured.Unstructured); ok && u.GetName() == a.key.Name {
				a.hear(u)
			}
		}
	}()
	c.apply(u)
	return a
}

func text(u *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(u.Object, path...)
	return s
}

// hear notes what an Application says, if it is something new.
func (a *app) hear(u *unstructured.Unstructured) {
	s := standing{
		sync: text(u, "status", "sync", "status"), health: text(u, "status", "health", "status"),
		operation: text(u, "status", "operationState", "phase"), revision: text(u, "status", "sync", "revision"),
		synced: text(u, "status", "operationState", "operation", "sync", "revision"),
	}
	resources, _, _ := unstructured.NestedSlice(u.Object, "status", "resources")
	for _, r := range resources {
		m, _ := r.(map[string]any)
		if m["status"] != "Synced" || m["group"] != "clusterpki.io" && m["kind"] != "Namespace" {
			s.objects += fmt.Sprint(" ", m["kind"], "/", m["name"], " ", m["status"])
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.said); n == 0 || a.said[n-1] != s {
		a.said = append(a.said, s)
		a.t.Log(time.Now().Format("15:04:05.000"), s)
	}
}

// mark is the number of what was said so far.
func (a *app) mark() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.said)
}

// since is what was said from a mark on, the standing at that moment first.
func (a *app) since(mark int) []standing {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]standing(nil), a.said[max(0, mark-1):]...)
}

// refresh lets Argo CD look at the repository now, as a webhook would.
func (a *app) refresh() {
	a.t.Helper()
	u := application()
	u.SetNamespace(a.key.Namespace)
	u.SetName(a.key.Name)
	patch := []byte(`{"metadata":{"annotations":{"argocd.argoproj.io/refresh":"normal"}}}`)
	if err := a.api.Patch(a.t.Context(), u, client.RawPatch(types.MergePatchType, patch)); err != nil {
		a.t.Fatal(err)
	}
}

// refreshing lets Argo CD look now, and then every few seconds: what comes while it is looking is lost.
func (a *app) refreshing() (again func()) {
	a.t.Helper()
	a.refresh()
	asked := time.Now()
	return func() {
		a.t.Helper()
		if time.Since(asked) > 5*time.Second {
			a.refresh()
			asked = time.Now()
		}
	}
}

// settles waits until a revision is synchronized and the Application is of a health. It fails if anything was out of
// sync after the operation of that revision had succeeded.
func (a *app) settles(revision, health string) {
	a.t.Helper()
	mark := a.mark()
	again := a.refreshing()
	testenv.Eventually(a.t, fmt.Sprintf("%.7s is Synced and %s", revision, health), func() error {
		said := a.since(mark)
		last := said[len(said)-1]
		if last.revision != revision {
			again()
		}
		if last.sync != "Synced" || last.health != health || last.revision != revision || last.operation != "Succeeded" {
			return fmt.Errorf("it is %s", last)
		}
		return nil
	})
	a.neverOutOfSync(mark, revision)
}

// synchronizes waits until the operation of a revision has succeeded. What that leaves alone may be out of sync.
func (a *app) synchronizes(revision string) {
	a.t.Helper()
	again := a.refreshing()
	testenv.Eventually(a.t, fmt.Sprintf("%.7s is synchronized", revision), func() error {
		said := a.since(a.mark())
		if len(said) > 0 && said[0].synced == revision && said[0].operation == "Succeeded" {
			return nil
		}
		again()
		return fmt.Errorf("it is %v", said)
	})
}

// compares waits until an Application is Synced with a revision, whether it had anything to do for that or not.
func (a *app) compares(revision string) {
	a.t.Helper()
	again := a.refreshing()
	testenv.Eventually(a.t, fmt.Sprintf("%.7s is Synced", revision), func() error {
		said := a.since(a.mark())
		if len(said) > 0 && said[0].revision == revision && said[0].sync == "Synced" {
			return nil
		}
		again()
		return fmt.Errorf("it is %v", said)
	})
}

// remove deletes the Application, and waits until it is gone with all that it had brought.
func (a *app) remove() {
	a.t.Helper()
	u := application()
	u.SetNamespace(a.key.Namespace)
	u.SetName(a.key.Name)
	if err := a.api.Delete(a.t.Context(), u); err != nil {
		a.t.Fatal(err)
	}
	a.gone(u, a.key.Namespace, a.key.Name)
}

// neverOutOfSync fails if an Application was out of sync although a revision had been synchronized.
func (a *app) neverOutOfSync(mark int, revision string) {
	a.t.Helper()
	caughtUp := false
	for _, s := range a.since(mark) {
		caughtUp = caughtUp || s.sync == "Synced" && s.revision == revision
		if caughtUp && (s.sync != "Synced" || s.objects != "") {
			a.t.Errorf("after %.7s was synchronized: %s", revision, s)
		}
	}
}

// argo is Argo CD as a tool that installs: a repository and an Application for each part.
type argo struct {
	*cluster
	gits map[string]git
	apps map[string]*app
}

func withArgoCD(t *testing.T) (*cluster, tool) {
	t.Helper()
	c := newCluster(t, filepath.Join(argoCD(t), "crds"))
	c.startArgoCD(map[string]string{"application.sync.impersonation.enabled": "true"})
	c.impersonates()
	return c, &argo{c, map[string]git{}, map[string]*app{}}
}

func (a *argo) bring(p part) {
	a.t.Helper()
	g, ok := a.gits[p.name]
	if !ok {
		g = newGit(a.t, p.folder)
		a.gits[p.name] = g
	}
	revision := g.commit(p.objects...)
	if a.apps[p.name] == nil {
		a.apps[p.name] = a.create(p.name, g)
	}
	a.apps[p.name].synchronizes(revision)
}

func (a *argo) prune(p part) {
	a.t.Helper()
	a.apps[p.name].synchronizes(a.gits[p.name].remove(p.withoutStays()...))
}

func (a *argo) cascade(p part) {
	a.t.Helper()
	a.apps[p.name].remove()
	delete(a.apps, p.name)
}
