package install_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// long is a name of so many characters.
func long(of string, characters int) string { return of + strings.Repeat("x", characters-len(of)) }

// longHost is that of a kubelet: its common name has 64 characters.
var longHost = long("k8s-node1", 52)

// TestLongestNames has every name as long as the API lets it be, through a life: issued, rotated, delivered by an agent, deleted.
func TestLongestNames(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.kubectl("apply", "-k", "config/default")
	c.established()
	ns, root, sub := long("prod", 63), long("root", 63), long("sub", 63)
	c.namespace(ns)
	objects := longest(root, sub)
	for _, o := range objects {
		o.SetNamespace(ns)
		if err := c.api.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	stop := c.run(controller.Options{Poll: 200 * time.Millisecond})
	c.ready(ns)
	c.settled(ns)
	if n := len(c.keys(home)); n < 4 {
		t.Errorf("the authority namespace holds %d keys and certificates", n)
	}
	for _, name := range []string{root + "-trust", sub + "-trust"} {
		if err := c.api.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, &corev1.ConfigMap{}); err != nil {
			t.Error(err)
		}
	}

	c.kubectl("patch", "clusterca", root, "--namespace="+ns, "--type=merge", "-p", `{"spec":{"rotation":{"trigger":"`+long("t", 64)+`"}}}`)
	c.rotated(ns, root)
	c.rotated(ns, sub) // after its parent
	c.ready(ns)
	c.settled(ns)
	c.clusterpki("status", "--namespace="+ns)
	c.clusterpki("authority", "list")
	c.clusterpki("backup", "--namespace="+ns, "--out="+t.TempDir()+"/backup.yaml")

	credential, lease := long("node", 200), long("node-tls", 253)
	c.kubectl("patch", "nodecredential", credential, "--namespace="+ns, "--type=merge", "-p", `{"spec":{"delivery":{"mode":"Agent"}}}`)
	c.kubectl("wait", "--namespace="+ns, "--for=create", "--timeout=60s", "lease/"+lease)
	c.ready(ns) // the Lease comes before the status
	account := "serviceaccount/" + agents.AccountName(ns, longHost)
	c.kubectl("wait", "--namespace="+agents.DefaultNamespace, "--for=create", "--timeout=60s", account)
	c.kubectl("delete", "nodecredential", credential, "--namespace="+ns)
	c.kubectl("wait", "--namespace="+ns, "--for=delete", "--timeout=60s", "roles,rolebindings", "--all") // the account stays for a while
	c.kubectl("delete", "apiservercertificate", long("master", 200), "--namespace="+ns)
	c.kubectl("delete", "clusterca", root, sub, "--namespace="+ns)
	for _, ca := range []string{root, sub} {
		c.marked(ns, ca)
	}
	stop()
	for _, ca := range []string{root, sub} {
		c.clusterpki("authority", "delete", ns+"/"+ca, "--yes")
	}
}

// longest are a root, a CA below it, an API server with its service account key, and a credential, whose names are the longest that the API takes.
func longest(root, sub string) []client.Object {
	delivery := given.Soon(v1alpha1.DeliveryMounted)
	return []client.Object{
		given.CA(root, func(ca *v1alpha1.ClusterCA) {
			ca.Spec.Subject.CommonName, ca.Spec.SecretName = long("root", 54), long("root-copy", 253)
			ca.Spec.Delivery, ca.Spec.DeletionPolicy = delivery, v1alpha1.DeletionDelete
		}),
		given.CA(sub, func(ca *v1alpha1.ClusterCA) {
			ca.Spec.Source = &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: v1alpha1.CAReference{Name: root}}}
			ca.Spec.Subject.CommonName, ca.Spec.Validity.Duration = long("sub", 54), 8760*time.Hour
			ca.Spec.Delivery, ca.Spec.DeletionPolicy = delivery, v1alpha1.DeletionDelete
		}),
		given.Server(long("master", 200), func(s *v1alpha1.APIServerCertificate) {
			s.Spec.CARef.Name, s.Spec.SecretName, s.Spec.Delivery = sub, long("master-tls", 253), delivery
			s.Spec.ServiceAccountKeyRef = &v1alpha1.KeyReference{Name: long("sa", 63)}
		}),
		given.AccountKey(long("sa", 63), func(k *v1alpha1.ServiceAccountKey) { k.Spec.SecretName = long("sa", 253) }),
		given.Kubelet(long("node", 200), func(n *v1alpha1.NodeCredential) {
			n.Spec.CARef.Name, n.Spec.APIServerRef.Name, n.Spec.HostName, n.Spec.Delivery = sub, long("master", 200), longHost, delivery
			n.Spec.SecretName, n.Spec.Kubeconfig.SecretName = long("node-tls", 253), long("node-kubeconfig", 253)
		}),
	}
}

// rotated waits until a CA's rotation is over.
func (c *cluster) rotated(namespace, name string) {
	c.t.Helper()
	testenv.Eventually(c.t, name+" is rotated", func() error {
		var ca v1alpha1.ClusterCA
		if err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &ca); err != nil {
			return err
		}
		if ca.Status.LastRotation.Result != v1alpha1.RotationCompleted || ca.Status.Rotation.Phase != "" {
			return fmt.Errorf("%s: %+v %+v", name, ca.Status.Rotation, ca.Status.Conditions)
		}
		return nil
	})
}

// marked waits until the keys of a deleted CA are marked to be destroyed.
func (c *cluster) marked(namespace, name string) {
	c.t.Helper()
	store := authority.New(home, c.api, nil)
	testenv.Eventually(c.t, name+" is marked", func() error {
		r, err := store.Live(c.t.Context(), namespace, name)
		if err != nil {
			return err
		}
		if r.Deleted.IsZero() {
			return fmt.Errorf("%s is not marked as deleted", name)
		}
		return nil
	})
}
