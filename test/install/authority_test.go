package install_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/cli"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

// issuedCluster is a cluster in which the operator has issued the samples, and has ended.
func issuedCluster(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t)
	c.kubectl("apply", "-k", "config/default")
	c.established()
	c.namespace("prod")
	c.kubectl("apply", "--namespace=prod", "-k", "config/samples")
	stop := c.run(controller.Options{})
	c.ready("prod")
	stop()
	return c
}

// TestUninstall uninstalls in each documented way, and installs again: nobody's keys change, and nothing is re-issued.
func TestUninstall(t *testing.T) {
	t.Parallel()
	for name, uninstall := range map[string]func(c *cluster){
		"the namespace": func(c *cluster) {
			c.kubectl("delete", "namespace", system, "--wait=false")
		},
		"config/default": func(c *cluster) { // and with it the kinds, and all objects of them
			c.kubectl("delete", "-k", "config/default", "--wait=false")
			c.kubectl("wait", "--for=delete", "--timeout=60s", "crd", "clustercas.clusterpki.io")
			c.emptied("clusterpki-agents")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := issuedCluster(t)
			keys, products := c.keys(home), c.products("prod")
			uninstall(c)
			c.emptied(system)
			c.same(keys, c.keys(home))

			c.kubectl("apply", "-k", "config/default")
			c.established()
			c.kubectl("apply", "--namespace=prod", "-k", "config/samples")
			r := c.replica(controller.Options{})
			r.says("holds keys already, of an installation whose own namespace is gone: if they are yours, run `clusterpki authority init` once")
			c.clusterpki("authority", "init")
			r.ready()
			c.ready("prod")
			c.settled("prod")
			r.stop()
			c.same(keys, c.keys(home))
			c.same(products, c.products("prod"))
		})
	}
}

// TestPlantedAuthorityNamespace has somebody make the authority namespace first, with a right to read there.
func TestPlantedAuthorityNamespace(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.namespace(home)
	c.kubectl("create", "rolebinding", "mine", "--namespace="+home, "--clusterrole=admin", "--user=eve")
	c.kubectl("apply", "-k", "config/default")
	c.established()
	c.namespace("prod")
	c.kubectl("apply", "--namespace=prod", "-k", "config/samples")
	r := c.replica(controller.Options{})
	r.says(`RoleBinding "mine" of the authority namespace "` + home + `" gives rights there to User "eve", who is not the operator`)
	c.stalled("prod", v1alpha1.ReasonAuthorityNotReady)
	if made := c.keys(home); len(made) > 0 {
		t.Errorf("%d keys were made where others read", len(made))
	}
	c.clusterpki("authority", "init")
	r.ready()
	r = r.again(controller.Options{})
	c.ready("prod")
	r.stop()
}

// clusterpki runs a command as the cluster's administrator, and returns what it said.
func (c *cluster) clusterpki(args ...string) string {
	c.t.Helper()
	var out strings.Builder
	root := cli.New()
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(append(args, "--kubeconfig", c.kubeconfig))
	if err := root.ExecuteContext(c.t.Context()); err != nil {
		c.t.Fatalf("clusterpki %s: %v\n%s", strings.Join(args, " "), err, &out)
	}
	return out.String()
}

// emptied does what Kubernetes' controllers do for a namespace that is deleted.
func (c *cluster) emptied(name string) {
	c.t.Helper()
	c.kubectl("delete", "configmaps,secrets,serviceaccounts,leases,events,deployments,services,roles,rolebindings", "--all", "--namespace="+name, "--wait=true")
	finalize := exec.CommandContext(c.t.Context(), c.kubectlBin, "--kubeconfig", c.kubeconfig, "replace", "--raw", "/api/v1/namespaces/"+name+"/finalize", "-f", "-")
	finalize.Stdin = strings.NewReader(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"` + name + `"},"spec":{"finalizers":[]}}`)
	if out, err := finalize.CombinedOutput(); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	c.kubectl("wait", "--for=delete", "--timeout=60s", "namespace/"+name)
}

// keys are the certificates and keys of all CAs, byte for byte.
func (c *cluster) keys(namespace string) map[string]string {
	c.t.Helper()
	return c.secrets(namespace, func(s *corev1.Secret) bool {
		return s.Type == authority.SecretType || s.Type == authority.SealSecretType
	},
		func(key string) bool { return key != "ledger.json" })
}

// products are what was issued in a namespace, byte for byte.
func (c *cluster) products(namespace string) map[string]string {
	c.t.Helper()
	return c.secrets(namespace, func(s *corev1.Secret) bool { return s.Labels[v1alpha1.ManagedLabel] != "" }, func(string) bool { return true })
}

func (c *cluster) secrets(namespace string, which func(*corev1.Secret) bool, what func(key string) bool) map[string]string {
	c.t.Helper()
	var list corev1.SecretList
	if err := c.api.List(c.t.Context(), &list, client.InNamespace(namespace)); err != nil {
		c.t.Fatal(err)
	}
	out := map[string]string{}
	for i := range list.Items {
		s := &list.Items[i]
		for key, value := range s.Data {
			if which(s) && what(key) {
				out[s.Name+"/"+key] = string(value)
			}
		}
	}
	return out
}

func (c *cluster) same(before, after map[string]string) {
	c.t.Helper()
	if len(before) == 0 {
		c.t.Error("there is nothing to compare")
	}
	if diff := cmp.Diff(before, after); diff != "" {
		c.t.Errorf("something changed (-before +after):\n%s", diff)
	}
}

// stalled waits until every ClusterCA of a namespace is Stalled with a reason.
func (c *cluster) stalled(namespace, reason string) {
	c.t.Helper()
	testenv.Eventually(c.t, "every CA is stalled by "+reason, func() error {
		var list v1alpha1.ClusterCAList
		if err := c.api.List(c.t.Context(), &list, client.InNamespace(namespace)); err != nil {
			return err
		}
		for _, ca := range list.Items {
			s := meta.FindStatusCondition(ca.Status.Conditions, v1alpha1.StalledCondition)
			if s == nil || s.Status != metav1.ConditionTrue || s.Reason != reason {
				return fmt.Errorf("%s: %v", ca.Name, ca.Status.Conditions)
			}
		}
		return nil
	})
}

// settled waits until every ClusterCA of a namespace is Ready, and nothing is under way.
func (c *cluster) settled(namespace string) {
	c.t.Helper()
	testenv.Eventually(c.t, "every CA is Ready", func() error {
		var list v1alpha1.ClusterCAList
		if err := c.api.List(c.t.Context(), &list, client.InNamespace(namespace)); err != nil {
			return err
		}
		for _, ca := range list.Items {
			if !meta.IsStatusConditionTrue(ca.Status.Conditions, v1alpha1.ReadyCondition) || meta.IsStatusConditionTrue(ca.Status.Conditions, v1alpha1.StalledCondition) {
				return fmt.Errorf("%s: %v", ca.Name, ca.Status.Conditions)
			}
		}
		return nil
	})
}
