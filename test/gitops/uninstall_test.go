package gitops_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

const system = "clusterpki-system"

// part is a folder of Git that a tool brings into the cluster, by an object of the tool's own, which has the part's name.
type part struct {
	name, folder string
	objects      []*unstructured.Unstructured
}

// tool is a GitOps tool. Its methods wait until it has done it.
type tool interface {
	bring(part)   // has the part's objects in Git, and the tool's own object in the cluster
	prune(part)   // takes them out of Git
	cascade(part) // deletes the tool's own object
}

// TestUninstall removes by Argo CD and by Flux the operator, and then the objects, in both ways that these have: out of Git, and
// with the tool's own object. Each time it installs again. The operator works all the while, with the rights of its manifests.
func TestUninstall(t *testing.T) {
	for name, start := range map[string]func(*testing.T) (*cluster, tool){"ArgoCD": withArgoCD, "Flux": withFlux} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, tool := start(t)
			operator := part{"clusterpki", "clusterpki", append(c.kustomized("default"), c.stays("default"))}
			pki := part{"prod-pki", "prod/pki", append(c.samples(), c.stays("prod"))}
			go c.runsPods()
			tool.bring(operator)
			stop := c.operate()
			tool.bring(pki)
			c.issued()

			for _, remove := range []func(part){tool.prune, tool.cascade} {
				keys, products := c.authorities(), c.products()
				remove(operator)
				c.gone(&corev1.Namespace{}, "", system)
				stop()
				c.same("the authority namespace", keys, c.authorities())
				c.same("what was issued", products, c.products())
				tool.bring(operator)
				stop = c.operate()
				c.initialize()
				stop() // started again, it looks at once; by itself it does so within a minute
				stop = c.operate()
				c.issued()
				c.same("the authority namespace", keys, c.authorities())
				c.same("what was issued", products, c.products())
			}
			for _, remove := range []func(part){tool.prune, tool.cascade} {
				keys := c.authorities()
				remove(pki)
				for _, o := range pki.objects {
					c.gone(o.DeepCopy(), "prod", o.GetName())
				}
				c.gone(&corev1.Secret{}, "prod", "k8s-node1-kubelet-tls")
				c.same("the authority namespace", keys, c.authorities())
				tool.bring(pki)
				c.issued()
				c.same("the keys of the CAs", withoutLedgers(keys), withoutLedgers(c.authorities()))
			}
			stop()
		})
	}
}

// stays is what remains in Git when everything else is taken out: to have nothing left is refused as a mistake.
func (c *cluster) stays(namespace string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("v1")
	u.SetKind("ConfigMap")
	u.SetNamespace(namespace)
	u.SetName("stays")
	return u
}

// file is where an object of the part is in a repository.
func (p part) file(o *unstructured.Unstructured) string {
	return filepath.Join(p.folder, fmt.Sprintf("%s-%s%s.yaml", o.GetKind(), o.GetNamespace(), o.GetName()))
}

// withoutStays are the objects of a part that are removed.
func (p part) withoutStays() []*unstructured.Unstructured { return p.objects[:len(p.objects)-1] }

// operate runs the operator as its ServiceAccount.
func (c *cluster) operate() (stop func()) {
	c.t.Helper()
	own, err := os.ReadFile(c.kubeconfig)
	if err == nil {
		own, err = testenv.KubeconfigAs(own, system, "clusterpki")
	}
	path := filepath.Join(c.t.TempDir(), "operator")
	if err == nil {
		err = os.WriteFile(path, own, 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return c.start("operator", []string{"KUBECONFIG=" + path}, clusterpki(), "manager", "--health-probe-bind-address=0",
		"--leader-elect", "--leader-election-namespace="+system)
}

// runsPods says of the operator's Deployment what Kubernetes would once its pods run. Nothing runs pods here.
func (c *cluster) runsPods() {
	n := int32(2)
	status := appsv1.DeploymentStatus{
		Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n,
		Conditions: []appsv1.DeploymentCondition{
			{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue},
			{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"},
		},
	}
	for ctx := c.t.Context(); ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		var d appsv1.Deployment
		if err := c.api.Get(ctx, client.ObjectKey{Namespace: system, Name: "clusterpki"}, &d); err != nil || d.Status.ObservedGeneration == d.Generation {
			continue
		}
		before := d.DeepCopy()
		d.Status = status
		d.Status.ObservedGeneration = d.Generation
		_ = c.api.Status().Patch(ctx, &d, client.MergeFrom(before)) // or the next time
	}
}

// initialize says that the authority namespace is the operator's, as docs/install.md has it done after an uninstall.
func (c *cluster) initialize() {
	c.t.Helper()
	testenv.Eventually(c.t, "the operator waits for `clusterpki authority init`", func() error {
		var ca v1alpha1.ClusterCA
		if err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: "prod", Name: "k8s"}, &ca); err != nil {
			return err
		}
		if s := meta.FindStatusCondition(ca.Status.Conditions, v1alpha1.StalledCondition); s == nil || s.Reason != v1alpha1.ReasonAuthorityNotReady {
			return fmt.Errorf("%+v", ca.Status.Conditions)
		}
		return nil
	})
	out, err := exec.Command(clusterpki(), "authority", "init", "--kubeconfig", c.kubeconfig).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
}

// issued waits until all of prod is Ready, and nothing is wrong with it.
func (c *cluster) issued() {
	c.t.Helper()
	testenv.Eventually(c.t, "everything is issued", func() error {
		var waiting []string
		n := 0
		for _, k := range v1alpha1.Kinds() {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(k.Name + "List"))
			if err := c.api.List(c.t.Context(), list, client.InNamespace("prod")); err != nil {
				return err
			}
			n += len(list.Items)
			for i := range list.Items {
				if u := &list.Items[i]; condition(u, "Ready") != string(metav1.ConditionTrue) || condition(u, "Stalled") != "" {
					waiting = append(waiting, u.GetName())
				}
			}
		}
		if n < 15 || len(waiting) > 0 {
			return fmt.Errorf("of %d are not Ready: %v", n, waiting)
		}
		return nil
	})
}

func condition(u *unstructured.Unstructured, kind string) string {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		if m, _ := c.(map[string]any); m["type"] == kind && m["observedGeneration"] == u.GetGeneration() {
			return fmt.Sprint(m["status"])
		}
	}
	return ""
}

// gone waits until an object is deleted.
func (c *cluster) gone(o client.Object, namespace, name string) {
	c.t.Helper()
	if name == "stays" {
		return
	}
	testenv.Eventually(c.t, fmt.Sprintf("%T %s is gone", o, name), func() error {
		err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
}

// authorities is all that the authority namespace holds, byte for byte.
func (c *cluster) authorities() map[string]string {
	c.t.Helper()
	return c.secrets(controller.DefaultAuthorityNamespace)
}

// products is what was issued, byte for byte.
func (c *cluster) products() map[string]string {
	c.t.Helper()
	return c.secrets("prod", client.MatchingLabels{v1alpha1.ManagedLabel: v1alpha1.ManagedValue})
}

func (c *cluster) secrets(namespace string, which ...client.ListOption) map[string]string {
	c.t.Helper()
	var list corev1.SecretList
	if err := c.api.List(c.t.Context(), &list, append(which, client.InNamespace(namespace))...); err != nil {
		c.t.Fatal(err)
	}
	out := map[string]string{}
	for _, s := range list.Items {
		for key, value := range s.Data {
			out[s.Name+"/"+key] = string(value)
		}
	}
	return out
}

// withoutLedgers leaves out what names the UIDs of objects, which are new ones where these were deleted and made again.
func withoutLedgers(all map[string]string) map[string]string {
	out := maps.Clone(all)
	maps.DeleteFunc(out, func(key, _ string) bool { return strings.HasSuffix(key, "/ledger.json") })
	return out
}

func (c *cluster) same(what string, before, after map[string]string) {
	c.t.Helper()
	if len(before) < 5 {
		c.t.Errorf("of %s there are only %d", what, len(before))
	}
	if diff := cmp.Diff(before, after); diff != "" {
		c.t.Errorf("%s changed (-before +after):\n%s", what, diff)
	}
}
