package install_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

// TestAnotherAuthorityNamespace changes --authority-namespace: that is no reason to make other CAs. What is made meanwhile
// belongs to the other one, and is not made twice when the flag is changed back.
func TestAnotherAuthorityNamespace(t *testing.T) {
	t.Parallel()
	c := issuedCluster(t)
	keys, products := c.everything(home), c.products("prod")

	const other = "another-authority"
	c.namespace(other)
	c.namespace("staging")
	stop := c.run(controller.Options{AuthorityNamespace: other})
	c.stalled("prod", v1alpha1.ReasonAuthorityMissing)
	c.kubectl("apply", "--namespace=staging", "-k", "config/samples")
	c.ready("staging")
	c.settled("staging")
	stop()
	c.same(keys, c.everything(home))
	c.same(products, c.products("prod"))
	theirs := c.everything(other)
	for name := range theirs {
		if strings.HasPrefix(name, "ca.prod.") {
			t.Errorf("another CA was made: %s", name)
		}
	}

	stop = c.run(controller.Options{}) // back again
	c.stalled("staging", v1alpha1.ReasonAuthorityMissing)
	c.ready("prod")
	c.settled("prod")
	stop()
	c.same(keys, c.everything(home))
	c.same(products, c.products("prod"))
	c.same(theirs, c.everything(other))
}

// TestAnotherNamespace changes --namespace, from all to one, to another one, and back. Whom the operator does not serve any
// longer keeps what he has. What he deletes meanwhile is absent, and not deleted.
func TestAnotherNamespace(t *testing.T) {
	t.Parallel()
	c := issuedCluster(t)
	keys, products := c.everything(home), c.products("prod")
	unchanged := func() {
		t.Helper()
		c.same(keys, c.everything(home))
		c.same(products, c.products("prod"))
	}

	// By default that is another authority namespace too, which is not there, and then is empty.
	r := c.replica(controller.Options{Namespace: "prod", AgentsNamespace: agents.DefaultNamespace})
	r.says("create it and its Role by `kubectl apply -k config/authority`")
	c.stalled("prod", v1alpha1.ReasonAuthorityNotReady)
	c.kubectl("apply", "-k", "config/authority")
	r.ready()
	r = r.again(controller.Options{Namespace: "prod"})
	c.stalled("prod", v1alpha1.ReasonAuthorityMissing)
	r.stop()
	unchanged()
	for name := range c.everything(system + "-authority") {
		if strings.HasPrefix(name, "ca.") {
			t.Errorf("another CA was made: %s", name)
		}
	}

	// With the authority namespace of before it goes on.
	r = c.replica(controller.Options{Namespace: "prod", AuthorityNamespace: home})
	r.ready()
	c.ready("prod")
	c.settled("prod")
	c.kubectl("patch", "clusterca", "etcd", "--namespace=prod", "--type=merge", "-p", `{"spec":{"deletionPolicy":"Delete"}}`)
	c.observed("prod", "etcd")
	r.stop()
	unchanged()

	// Another one is served.
	c.namespace("staging")
	c.kubectl("apply", "--namespace=staging", "-k", "config/samples")
	r = c.replica(controller.Options{Namespace: "staging", AuthorityNamespace: home})
	r.ready()
	c.ready("staging")
	c.settled("staging")
	c.kubectl("delete", "clusterca", "etcd", "--namespace=prod")
	r.stop()
	kept := c.everything(home)
	maps.DeleteFunc(kept, func(name, _ string) bool { return strings.Contains(name, ".staging.") })
	c.same(keys, kept)

	// All are, as before.
	certificates := c.keys(home)
	c.kubectl("apply", "--namespace=prod", "-k", "config/samples")
	r = c.replica(controller.Options{})
	r.ready()
	for _, namespace := range []string{"prod", "staging"} {
		c.ready(namespace)
		c.settled(namespace)
	}
	r.stop()
	c.same(certificates, c.keys(home))
	c.same(products, c.products("prod"))
}

// TestAnotherOwnNamespace moves the operator to another namespace of its own. There is no record there of which authority
// namespace is its own: it waits for a person, and goes on where it was.
func TestAnotherOwnNamespace(t *testing.T) {
	t.Parallel()
	c := issuedCluster(t)
	keys, products := c.everything(home), c.products("prod")
	const other = "operators"
	moved := filepath.Join(t.TempDir(), "operators.yaml")
	manifests := strings.ReplaceAll(c.kubectl("kustomize", "config/default"), system, other)
	if err := os.WriteFile(moved, []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	c.kubectl("apply", "-f", moved)
	r := c.replica(controller.Options{OwnNamespace: other})
	r.says("holds keys already, of an installation whose own namespace is gone: if they are yours, run `clusterpki authority init` once")
	c.stalled("prod", v1alpha1.ReasonAuthorityNotReady)
	c.same(keys, c.everything(home))
	c.clusterpki("authority", "init", "--operator-namespace", other)
	r.ready()
	r = r.again(controller.Options{OwnNamespace: other})
	c.settled("prod")
	r.stop()

	c.kubectl("apply", "-k", "config/default") // back again, where there is a record
	r = c.replica(controller.Options{})
	r.ready()
	c.settled("prod")
	r.stop()
	c.same(keys, c.everything(home))
	c.same(products, c.products("prod"))
}

// again ends the replica and starts another one, which looks at everything at once. By itself it does so within a minute.
func (r *replica) again(o controller.Options) *replica {
	r.t.Helper()
	r.stop()
	next := r.replica(o)
	next.ready()
	return next
}

// everything is all that the Secrets of a namespace hold, byte for byte.
func (c *cluster) everything(namespace string) map[string]string {
	c.t.Helper()
	return c.secrets(namespace, func(*corev1.Secret) bool { return true }, func(string) bool { return true })
}

// observed waits until a ClusterCA's status is of its spec.
func (c *cluster) observed(namespace, name string) {
	c.t.Helper()
	testenv.Eventually(c.t, name+" is observed", func() error {
		var ca v1alpha1.ClusterCA
		if err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &ca); err != nil {
			return err
		}
		if ca.Status.ObservedGeneration != ca.Generation {
			return fmt.Errorf("generation %d of %s is not observed", ca.Generation, name)
		}
		return nil
	})
}

// TestCoincidingNamespaces has the operator refuse to start where two of its namespaces are one.
func TestCoincidingNamespaces(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for want, o := range map[string]controller.Options{
		"is the one that the operator runs in: choose another one by --authority-namespace": {AuthorityNamespace: system},
		"is the one that is served: choose another one by --authority-namespace":            {Namespace: "prod", AuthorityNamespace: "prod"},
		"whoever may run pods there has its rights; serve another one":                      {Namespace: system},
	} {
		o.OwnNamespace = system
		if _, err := controller.New(t.Context(), c.Installed().Config, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
}
