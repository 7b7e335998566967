package families_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/cluster"
	"clusterpki.io/operator/internal/families"
)

var api client.WithWatch

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	env := &envtest.Environment{ErrorIfCRDPathMissing: true}
	for _, k := range []string{"clustercas", "serviceaccountkeys", "apiservercertificates", "nodecredentials"} {
		env.CRDDirectoryPaths = append(env.CRDDirectoryPaths, filepath.Join("..", "..", "config", "crd", "bases", "clusterpki.io_"+k+".yaml"))
	}
	cfg, err := env.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = env.Stop() }()
	scheme := runtime.NewScheme()
	err = errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
	if err == nil {
		api, err = client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// world is a ClusterPKI's namespace, with its record.
type world struct {
	t     *testing.T
	pki   *v1alpha1.ClusterPKI
	store *authority.Store
	maker *families.Maker
	// fault, where it is set, says which writes fail.
	fault func(verb string, o client.Object) error
	// writes are those that were made, as 'verb kind/name'.
	writes []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := api.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, pki: &v1alpha1.ClusterPKI{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "prod"}, Spec: v1alpha1.ClusterPKISpec{
		Endpoint: "https://k8s.prod.example:6443", ServiceCIDRs: []string{"10.96.0.0/12"},
		ControlPlane: v1alpha1.ControlPlaneSpec{Hosts: []v1alpha1.ControlPlaneHost{{Name: "master", Addresses: []string{"10.1.10.238"}}}},
		Nodes:        v1alpha1.NodesSpec{Hosts: []v1alpha1.NodeHost{{Name: "node1", Addresses: []string{"10.1.10.239"}}}},
		Certificates: v1alpha1.CertificatesSpec{Validity: metav1.Duration{Duration: 8760 * time.Hour}},
	}}}
	w.restart()
	return w
}

// restart is another process: it remembers nothing.
func (w *world) restart() {
	c := interceptor.NewClient(api, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := w.write("create", o); err != nil {
				return err
			}
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if err := w.write("update", o); err != nil {
				return err
			}
			return c.Update(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if err := w.write("patch", o); err != nil {
				return err
			}
			return c.Patch(ctx, o, p, opts...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			w.writes = append(w.writes, "apply")
			return c.Apply(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if err := w.write("delete", o); err != nil {
				return err
			}
			return c.Delete(ctx, o, opts...)
		},
	})
	w.store = authority.New(w.pki.Namespace, c, nil) // the two namespaces are one here
	w.maker = &families.Maker{Client: c, Live: c, Store: w.store}
}

func (w *world) write(verb string, o client.Object) error {
	if w.fault != nil {
		if err := w.fault(verb, o); err != nil {
			return err
		}
	}
	w.writes = append(w.writes, verb+" "+o.GetName())
	return nil
}

func (w *world) expand() cluster.Children {
	w.t.Helper()
	wanted, err := cluster.Expand(w.pki, cluster.Names{})
	if err != nil {
		w.t.Fatal(err)
	}
	return wanted
}

// visit is what a reconciliation does.
func (w *world) visit(gone ...cluster.Key) (families.Result, error) {
	w.t.Helper()
	ctx := w.t.Context()
	f, err := w.store.CachedFamily(ctx, w.pki.Namespace, w.pki.Name)
	if f == nil && err == nil {
		f, err = w.store.CreateFamily(ctx, &authority.Family{Identity: authority.Identity{
			Namespace: w.pki.Namespace, Name: w.pki.Name, NamespaceUID: "ns", UID: "cpki", HomeUID: "home",
		}})
	}
	if err != nil {
		return families.Result{}, err
	}
	v, err := w.maker.Look(ctx, f)
	if err != nil {
		return families.Result{}, err
	}
	next, wanted := f.Next(), w.expand()
	if families.Reserve(next, wanted, v) {
		if f, err = w.store.CommitFamily(ctx, f, next); err != nil {
			return families.Result{}, err
		}
	}
	return w.maker.Bring(ctx, f, v, families.Plan{Wanted: wanted, Gone: gone})
}

func (w *world) brought(gone ...cluster.Key) families.Result {
	w.t.Helper()
	r, err := w.visit(gone...)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) get(key cluster.Key) v1alpha1.Object {
	w.t.Helper()
	for _, k := range v1alpha1.Kinds() {
		if k.Name != key.Kind {
			continue
		}
		o := k.New()
		if err := api.Get(w.t.Context(), client.ObjectKey{Namespace: w.pki.Namespace, Name: key.Name}, o); err != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			w.t.Fatal(err)
		}
		return o
	}
	return nil
}

// recorded is a child as the authority namespace has it.
func (w *world) recorded(key cluster.Key) authority.Child {
	w.t.Helper()
	f, err := authority.New(w.pki.Namespace, api, nil).LiveFamily(w.t.Context(), w.pki.Namespace, w.pki.Name)
	if err != nil || f == nil {
		w.t.Fatal(f, err)
	}
	return f.Children[authority.ChildKey(key)]
}

func key(kind, name string) cluster.Key { return cluster.Key{Kind: kind, Name: name} }

var (
	ca      = key(v1alpha1.KindClusterCA, "prod-ca")
	sak     = key(v1alpha1.KindServiceAccountKey, "prod-sa")
	server  = key(v1alpha1.KindAPIServerCertificate, "prod-master-apiserver")
	kubelet = key(v1alpha1.KindNodeCredential, "prod-node1-kubelet")
)

// planted is an object that somebody else made under the name of a child.
func planted(w *world, k cluster.Key) v1alpha1.Object {
	c, _ := w.expand().Find(k)
	o := c.Object.DeepCopyObject().(v1alpha1.Object)
	o.SetNamespace(w.pki.Namespace)
	return o
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := api.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

func problemsOf(r families.Result, k cluster.Key) string {
	var out []string
	for _, p := range r.Problems {
		if p.Key == k {
			out = append(out, p.Reason+": "+p.Message)
		}
	}
	return strings.Join(out, "\n")
}

func TestChildrenAreMade(t *testing.T) {
	w := newWorld(t)
	r := w.brought()
	wanted := w.expand()
	if r.Made != len(wanted) || r.Left > 0 || len(r.Problems) > 0 {
		t.Fatalf("%+v", r)
	}
	if slices.Index(w.writes, "create cpki."+w.pki.Namespace+".prod") > slices.Index(w.writes, "create prod-ca") {
		t.Error("the record came after the object")
	}
	for _, c := range wanted {
		o := w.get(c.Key())
		if o == nil || o.GetUID() != w.recorded(c.Key()).UID || o.GetLabels()[v1alpha1.ClusterLabel] != "prod" || len(o.GetOwnerReferences()) > 0 {
			t.Errorf("%s: %v", c.Key(), o)
		}
	}
	if updates := count(w.writes, "update "); updates != 2 { // the nonces of all, and the UIDs of all
		t.Errorf("%d writes of the record: %q", updates, w.writes)
	}
	if k := w.get(sak).(*v1alpha1.ServiceAccountKey); k.Spec.PrivateKey.Algorithm == "" || k.Spec.RetainOldKeyFor.Duration == 0 {
		t.Errorf("what nothing is said of has no defaults: %+v", k.Spec)
	}
	w.writes = nil
	for range 2 {
		if r := w.brought(); r.Work() || len(r.Problems) > 0 {
			t.Errorf("%+v", r)
		}
		w.restart()
	}
	if len(w.writes) > 0 {
		t.Errorf("nothing is to be done, and it writes %q", w.writes)
	}
}

func count(writes []string, prefix string) (n int) {
	for _, t := range writes {
		if strings.HasPrefix(t, prefix) {
			n++
		}
	}
	return n
}

func TestAVisitIsBounded(t *testing.T) {
	w := newWorld(t)
	for i := range 40 {
		w.pki.Spec.Nodes.Hosts = append(w.pki.Spec.Nodes.Hosts, v1alpha1.NodeHost{Name: fmt.Sprintf("many-%d", i)})
	}
	all := len(w.expand())
	for left := all; left > 0; left -= families.Batch {
		if r := w.brought(); r.Made != min(left, families.Batch) || r.Left != max(0, left-families.Batch) {
			t.Fatalf("%d made and %d left of %d", r.Made, r.Left, left)
		}
	}
	w.pki.Spec.Certificates.Validity.Duration = 4380 * time.Hour
	if r := w.brought(); r.Changed != families.Batch || r.Left == 0 {
		t.Errorf("%+v", r)
	}
}

// What stands under a child's name, and was not made for it, is left alone; the others are made.
func TestAPlantedChildIsNotTaken(t *testing.T) {
	for _, k := range []cluster.Key{ca, sak, server, kubelet} {
		for name, forge := range map[string]func(*world, client.Object){
			"planted":                  func(*world, client.Object) {},
			"a forged owner reference": func(_ *world, o client.Object) { o.SetOwnerReferences(ownedBy("00000000-0000-0000-0000-000000000000")) },
			"a forged label":           func(_ *world, o client.Object) { o.SetLabels(map[string]string{v1alpha1.ClusterLabel: "prod"}) },
			"a forged nonce": func(_ *world, o client.Object) {
				o.SetAnnotations(map[string]string{v1alpha1.NonceAnnotation: strings.Repeat("A", 26)})
			},
			"an empty nonce": func(_ *world, o client.Object) { o.SetAnnotations(map[string]string{v1alpha1.NonceAnnotation: ""}) },
		} {
			t.Run(k.String()+" "+name, func(t *testing.T) {
				w := newWorld(t)
				o := planted(w, k)
				forge(w, o)
				w.create(o)
				for range 2 {
					r := w.brought()
					if p := problemsOf(r, k); !strings.HasPrefix(p, "ChildConflict: "+k.Kind+` "`+k.Name+`"`) || len(r.Problems) != 1 {
						t.Errorf("%+v", r.Problems)
					}
				}
				if now := w.get(k); now.GetResourceVersion() != o.GetResourceVersion() || w.recorded(k).UID != "" {
					t.Errorf("it is taken: %+v", w.recorded(k))
				}
				waits := map[cluster.Key]bool{k: true}
				for _, c := range w.expand() {
					if slices.ContainsFunc(cluster.Named(c.Object), func(named cluster.Key) bool { return waits[named] }) {
						waits[c.Key()] = true
					}
					if made := w.recorded(c.Key()).UID != ""; made == waits[c.Key()] {
						t.Errorf("%s was made: %v", c.Key(), made)
					}
				}
				if k == ca && len(waits) < 5 {
					t.Errorf("only %v wait for their CA", waits)
				}
				if err := api.Delete(t.Context(), o); err != nil {
					t.Fatal(err)
				}
				if r := w.brought(); r.Made != len(waits) || w.recorded(k).UID == o.GetUID() {
					t.Errorf("it is not made once the other one is gone: %+v", r)
				}
			})
		}
	}
}

func ownedBy(uid string) []metav1.OwnerReference {
	return []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindClusterPKI, Name: "prod", UID: types.UID(uid), Controller: new(true),
	}}
}

// A child that somebody deleted is made again. One that somebody put in its place, with everything that the old one had, is not it.
func TestADeletedChildIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	w.brought()
	old := w.get(kubelet)
	if err := api.Delete(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if r := w.brought(); r.Made != 1 || w.get(kubelet).GetUID() == old.GetUID() || w.get(kubelet).GetUID() != w.recorded(kubelet).UID {
		t.Errorf("%+v", r)
	}
	replaced := w.get(kubelet)
	if err := api.Delete(t.Context(), replaced); err != nil {
		t.Fatal(err)
	}
	copied := replaced.DeepCopyObject().(v1alpha1.Object)
	copied.SetResourceVersion("")
	copied.SetUID("")
	w.create(copied)
	if r := w.brought(); !strings.HasPrefix(problemsOf(r, kubelet), "ChildConflict") || r.Work() {
		t.Errorf("%+v", r)
	}
	if w.recorded(kubelet).UID != replaced.GetUID() {
		t.Errorf("the copy is taken: %+v", w.recorded(kubelet))
	}
}
