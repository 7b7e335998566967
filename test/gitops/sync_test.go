package gitops_test

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

// TestArgoCD walks through the life of an Application with the samples, with each of Argo CD's ways to mark what is its own.
func TestArgoCD(t *testing.T) {
	for _, method := range []string{"annotation", "label"} {
		t.Run(method, func(t *testing.T) {
			c := newCluster(t, ourCRDs(), filepath.Join(argoCD(t), "crds"))
			c.start("operator", nil, clusterpki(), "manager", "--health-probe-bind-address=0")
			c.startArgoCD(map[string]string{"application.resourceTrackingMethod": method})
			g := newGit(t, "prod/pki")
			objects := c.samples()
			waves := c.watchWaves()
			revision := g.commit(objects...)
			a := c.create("prod-pki", g)
			a.settles(revision, "Healthy")
			waves.respected()
			c.nothingTracked()

			server := find(t, objects, "APIServerCertificate", "k8s-master")
			a.reissue(g, server)
			a.heal(server)
			a.rotateCA(g, find(t, objects, "ClusterCA", "k8s"), find(t, objects, "NodeCredential", "k8s-node1-kubelet"))
			a.prune(g, find(t, objects, "NodeCredential", "k8s-node3-kubelet"))
			c.nothingTracked()
			a.delete()
		})
	}
}

// clusterpki is the program.
func clusterpki() string { return filepath.Join(testenv.Root(), "bin", "clusterpki") }

// kustomized are the objects of a folder in config/.
func (c *cluster) kustomized(folder string) []*unstructured.Unstructured {
	c.t.Helper()
	out, err := exec.Command(filepath.Join(c.programs, "kubectl"), "kustomize", filepath.Join(testenv.Root(), "config", folder)).Output()
	if err != nil {
		c.t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for document := range bytes.SplitSeq(out, []byte("\n---\n")) {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &u.Object); err != nil {
			c.t.Fatal(err)
		}
		objects = append(objects, u)
	}
	return objects
}

// samples are those of config/argocd/example, with what makes the rotation of a CA quick.
func (c *cluster) samples() []*unstructured.Unstructured {
	c.t.Helper()
	objects := c.kustomized("argocd/example")
	for _, u := range objects {
		if u.GetKind() == "ServiceAccountKey" { // which is delivered with its API servers
			continue
		}
		set(c.t, u, "1s", "spec", "delivery", "propagationDelay")
		set(c.t, u, "Always", "spec", "delivery", "acceptAssumed")
		if u.GetKind() == "ClusterCA" {
			set(c.t, u, "100%", "spec", "rotation", "maxUnavailable")
		}
	}
	return objects
}

func set(t *testing.T, u *unstructured.Unstructured, value any, path ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, u := range objects {
		if u.GetKind() == kind && u.GetName() == name {
			return u
		}
	}
	t.Fatalf("the samples have no %s %s", kind, name)
	return nil
}

// live reads an object of the repository from the cluster.
func (c *cluster) live(u *unstructured.Unstructured) *unstructured.Unstructured {
	c.t.Helper()
	l := u.DeepCopy()
	if err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: "prod", Name: u.GetName()}, l); err != nil {
		c.t.Fatal(err)
	}
	return l
}

func (c *cluster) serial(u *unstructured.Unstructured) string {
	c.t.Helper()
	return text(c.live(u), "status", "certificate", "serialNumber")
}

// reissue edits spec.validity in Git: another certificate, and never OutOfSync once the edit is synchronized.
func (a *app) reissue(g git, u *unstructured.Unstructured) {
	a.t.Helper()
	was := a.serial(u)
	set(a.t, u, "4380h", "spec", "validity")
	a.settles(g.commit(u), "Healthy")
	testenv.Eventually(a.t, "another certificate", func() error {
		if a.serial(u) == was {
			return errors.New("it is the same")
		}
		return nil
	})
}

// heal edits the cluster behind Argo CD's back, which puts it right.
func (a *app) heal(u *unstructured.Unstructured) {
	a.t.Helper()
	l := a.live(u)
	set(a.t, l, "2190h", "spec", "validity")
	if err := a.api.Update(a.t.Context(), l); err != nil {
		a.t.Fatal(err)
	}
	testenv.Eventually(a.t, "spec.validity is as in Git again", func() error {
		if got := text(a.live(u), "spec", "validity"); got != "4380h" {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
	a.settles(a.head(), "Healthy")
}

func (a *app) head() string { said := a.since(a.mark()); return said[0].revision }

// rotateCA edits the validity of a CA in Git. While it is being rotated the Application is Progressing, and yet a
// commit is synchronized: here it is the acknowledgment of one who is served by hand, without whom the rotation
// would wait for ever.
func (a *app) rotateCA(g git, ca, hand *unstructured.Unstructured) {
	a.t.Helper()
	set(a.t, hand, map[string]any{"mode": "Manual"}, "spec", "delivery")
	a.settles(g.commit(hand), "Healthy")
	mark := a.mark()
	was := a.serial(ca)
	set(a.t, ca, "43800h", "spec", "validity")
	a.settles(g.commit(ca), "Progressing")
	var revision string
	again := a.refreshing()
	testenv.Eventually(a.t, "the CA is rotated", func() error {
		var now v1alpha1.ClusterCA
		if err := a.api.Get(a.t.Context(), client.ObjectKey{Namespace: "prod", Name: ca.GetName()}, &now); err != nil {
			return err
		}
		if meta.FindStatusCondition(now.Status.Conditions, v1alpha1.RotatingCondition) == nil && now.Status.Certificate.SerialNumber != was {
			return nil
		}
		said := map[string]any{
			"serialNumber": a.serial(hand),
			"trust":        []any{map[string]any{"name": ca.GetName(), "bundleSHA256": now.Status.Trust.BundleSHA256}},
		}
		if old, _, _ := unstructured.NestedMap(hand.Object, "spec", "delivery", "acknowledged"); !cmp.Equal(old, said) {
			set(a.t, hand, said, "spec", "delivery", "acknowledged")
			revision = g.commit(hand)
			again = a.refreshing()
		}
		again()
		return fmt.Errorf("it is %s: %+v", now.Status.Rotation.Phase, now.Status.Rotation.Pending)
	})
	a.settles(revision, "Healthy")
	if !slices.ContainsFunc(a.since(mark), func(s standing) bool { return s.sync == "Synced" && s.health == "Progressing" }) {
		a.t.Error("the Application was never Progressing while its CA was rotated")
	}
}

// prune removes a credential from Git, and with it what was made for it.
func (a *app) prune(g git, u *unstructured.Unstructured) {
	a.t.Helper()
	a.settles(g.remove(u), "Healthy")
	for _, name := range []string{"-tls", "-kubeconfig"} {
		testenv.Eventually(a.t, u.GetName()+name+" is gone", func() error {
			err := a.api.Get(a.t.Context(), client.ObjectKey{Namespace: "prod", Name: u.GetName() + name}, &corev1.Secret{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is there: %w", err)
		})
	}
}

// delete deletes the Application, with all that is its own: what deletionPolicy keeps, stays, and nothing else.
func (a *app) delete() {
	a.t.Helper()
	a.remove()
	kept := regexp.MustCompile(`^(Secret (k8s-sa|ca\.prod\.(k8s|front-proxy|etcd))|ConfigMap (k8s|front-proxy|etcd)-trust)$`)
	testenv.Eventually(a.t, "only what deletionPolicy keeps is left", func() error {
		var left, other []string
		for what := range a.generated() {
			if kept.MatchString(what) {
				left = append(left, what)
			} else {
				other = append(other, what)
			}
		}
		if len(other) > 0 || len(left) != 7 {
			slices.Sort(left)
			return fmt.Errorf("kept are %v, and there are %v", left, other)
		}
		return nil
	})
	for _, k := range v1alpha1.Kinds() {
		list := k.NewList()
		if err := a.api.List(a.t.Context(), list); err != nil || meta.LenList(list) > 0 {
			a.t.Errorf("%T: %d are left: %v", list, meta.LenList(list), err)
		}
	}
}

// generated is what the operator made.
func (c *cluster) generated() map[string]client.Object {
	c.t.Helper()
	out := map[string]client.Object{}
	for kind, list := range map[string]client.ObjectList{
		"Secret": &corev1.SecretList{}, "ConfigMap": &corev1.ConfigMapList{}, "Lease": &coordinationv1.LeaseList{},
	} {
		ours := client.MatchingLabels{v1alpha1.ManagedLabel: v1alpha1.ManagedValue}
		if err := c.api.List(c.t.Context(), list, client.InNamespace("prod"), ours); err != nil {
			c.t.Fatal(err)
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, item := range items {
			o := item.(client.Object)
			out[kind+" "+o.GetName()] = o
		}
	}
	var authorities corev1.SecretList
	if err := c.api.List(c.t.Context(), &authorities, client.InNamespace(controller.DefaultAuthorityNamespace)); err != nil {
		c.t.Fatal(err)
	}
	for i := range authorities.Items {
		if s := &authorities.Items[i]; s.Type == authority.SecretType {
			out["Secret "+s.Name] = s
		}
	}
	return out
}

// nothingTracked: no generated object bears a mark by which Argo CD would take it for its own.
func (c *cluster) nothingTracked() {
	c.t.Helper()
	generated := c.generated()
	if len(generated) < 20 {
		c.t.Errorf("only %d objects were generated", len(generated))
	}
	for what, o := range generated {
		_, annotated := o.GetAnnotations()["argocd.argoproj.io/tracking-id"]
		_, labelled := o.GetLabels()["app.kubernetes.io/instance"]
		if annotated || labelled {
			c.t.Errorf("%s bears Argo CD's mark: %v %v", what, o.GetLabels(), o.GetAnnotations())
		}
	}
}
