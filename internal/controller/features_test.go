package controller_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// TestEditedInEveryPhase edits the CA again in each phase, back and forth: in the end there is one generation, and it is
// what the spec asks for.
func TestEditedInEveryPhase(t *testing.T) {
	t.Parallel()
	for _, phase := range phases {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			w := rotating(t)
			w.walk("k8s", func(p plan.Phase) {
				if p != phase {
					return
				}
				for _, n := range []int{87600, 40000, 50000, 87600} {
					w.validity("k8s", n)
				}
			})
			w.whole("k8s")
			cert := w.root("k8s")
			if got := cert.NotAfter.Sub(cert.NotBefore).Hours(); got < 87600 || got > 87601 {
				t.Errorf("the CA is valid for %v hours", got)
			}
		})
	}
}

// TestConflictOnEveryWrite lets every update be refused once before it passes.
func TestConflictOnEveryWrite(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.observe()
	var mu sync.Mutex
	refused := map[string]int{}
	fault := func(r *http.Request) int {
		mu.Lock()
		defer mu.Unlock()
		if r.Method != http.MethodPut && (r.Method != http.MethodPatch || !strings.Contains(r.URL.Path, "/secrets/")) {
			return 0
		}
		if refused[r.URL.Path]++; refused[r.URL.Path]%2 == 1 {
			return http.StatusConflict
		}
		return 0
	}
	w.fault.Store(&fault)
	w.validity("k8s", 50000)
	w.replaced("k8s", nil)
}

// TestNewcomersInEveryPhase adds a credential in each phase.
func TestNewcomersInEveryPhase(t *testing.T) {
	t.Parallel()
	w := rotating(t)
	w.replaced("k8s", func(p plan.Phase) { w.ready(w.newcomer(p), &v1alpha1.NodeCredential{}) })
}

// TestWaves issues one certificate again at a time.
func TestWaves(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.create(newKubelet("node2"), newKubelet("node3"))
	for _, n := range []string{"node2", "node3"} {
		w.ready(n, &v1alpha1.NodeCredential{})
	}
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
		c.Spec.Rotation.MaxUnavailable, c.Spec.Validity = new(intstr.FromInt32(1)), hours(50000)
	})
	var steps []int
	for range 40 {
		w.later(13 * time.Minute)
		l := w.ledger("k8s")
		if l.Phase() == plan.Completed {
			break
		}
		if l.Phase() != plan.Reissuing {
			continue
		}
		issued := 0
		for _, s := range []string{"k8s-master-tls", "node1-tls", "node2-tls", "node3-tls"} {
			if pki.SignedBy(w.pair(s).Cert, w.root("k8s")) {
				issued++
			}
		}
		steps = append(steps, issued)
	}
	w.whole("k8s")
	if !slices.Equal(slices.Compact(steps), []int{1, 2, 3, 4}) {
		t.Errorf("so many were of the new CA, each time: %v", steps)
	}
}

// TestTheSameKey gives a CA new dates: no certificate is issued again, and nobody is cut off.
func TestTheSameKey(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.observe()
	old, before := w.root("k8s"), w.serials()
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
		c.Spec.Rotation.KeyPolicy, c.Spec.Validity = v1alpha1.KeyReuse, hours(90000)
	})
	if got := w.walk("k8s", nil); !slices.Equal(got, phases[2:]) {
		t.Errorf("the phases were %v", got)
	}
	w.whole("k8s")
	next := w.root("k8s")
	if !pki.SamePublicKey(old.PublicKey, next.PublicKey) || !next.NotAfter.After(old.NotAfter) {
		t.Error("it is not the same key with new dates")
	}
	if after := w.serials(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("certificates were issued again: %v instead of %v", after, before)
	}
}

// underRoot is an env with an intermediate CA, below a root, and what that has issued.
func underRoot(t *testing.T) *env {
	t.Helper()
	w := newEnv(t)
	w.create(newCA("root"), newCA("k8s", func(c *v1alpha1.ClusterCA) {
		c.Spec.Source = &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: v1alpha1.CAReference{Name: "root"}}}
	}), newServer("k8s-master"), newKubelet("node1"))
	w.ready("node1", &v1alpha1.NodeCredential{})
	return w
}

// TestIntermediate replaces the CA above an intermediate one: that one is replaced in turn, and no party ever meets
// another that it cannot verify.
func TestIntermediate(t *testing.T) {
	t.Parallel()
	w := underRoot(t)
	w.observe()
	first := w.pair("node1-tls")
	if len(first.Chain) != 1 || first.Chain[0].Subject.CommonName != "k8s" {
		t.Fatalf("the chain is %v", first.Chain)
	}
	if err := w.verified("node1"); err != nil {
		t.Fatal(err)
	}
	w.validity("root", 80000)
	w.walk("root", func(plan.Phase) {
		if err := w.verified("node1"); err != nil {
			t.Error(err)
		}
	})
	var got []plan.Phase // as the ledger has them: the CAs wait for each other, so that the walk may miss one
	for _, p := range w.ledger("root").LastRotation.Phases {
		got = append(got, p.Name)
	}
	if !slices.Equal(got, phases) {
		t.Errorf("the phases were %v", got)
	}
	w.whole("root")
	w.whole("k8s")
	if w.ledger("k8s").Generations[0].Parent != (plan.Parent{Name: "root", UID: string(w.clusterCA("root").UID), Generation: 2}) {
		t.Errorf("the ledger is %+v", w.ledger("k8s"))
	}
	if err := w.verified("node1"); err != nil {
		t.Error(err)
	}
}

// TestIntermediateHearsOfItsParent rotates the root above an intermediate CA: what is issued below that gets the new bundle at once.
func TestIntermediateHearsOfItsParent(t *testing.T) {
	t.Parallel()
	w := underRoot(t)
	w.settled()
	edit(w, "root", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Validity = hours(80000) })
	for _, name := range []string{"k8s-master-tls", "node1-tls", "node1-kubeconfig"} {
		w.eventually(name+" has both roots", func() error {
			if n := bytes.Count(w.secret(name).Data["ca.crt"], []byte("BEGIN CERTIFICATE")); n != 2 {
				return fmt.Errorf("there are %d", n)
			}
			return nil
		})
	}
}

// TestPublishedPair publishes the pair that signs: one certificate, of the generation that signs, waited for.
func TestPublishedPair(t *testing.T) {
	t.Parallel()
	w := standard(t)
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
		c.Spec.SecretName, c.Spec.Rotation.CrossSigning, c.Spec.Validity = "k8s-ca", v1alpha1.CrossSigningOldSignsNew, hours(50000)
	})
	w.walk("k8s", func(p plan.Phase) {
		s := w.secret("k8s-ca")
		if bytes.Count(s.Data["tls.crt"], []byte("BEGIN CERTIFICATE")) != 1 || !w.pair("k8s-ca").Cert.Equal(w.root("k8s")) {
			t.Errorf("%s: it is not the pair that signs", p)
		}
		if p == plan.Reissuing && !slices.Contains(pendingOf(w.clusterCA("k8s")), "Secret/k8s-ca") {
			t.Errorf("it is not waited for: %v", pendingOf(w.clusterCA("k8s")))
		}
	})
	w.whole("k8s")
}

// TestCrossSigning lets a host sleep through a rotation: with a cross-signed certificate it still accepts the server,
// without it doesn't.
func TestCrossSigning(t *testing.T) {
	t.Parallel()
	for _, signing := range []v1alpha1.CrossSigning{"", v1alpha1.CrossSigningDisabled, v1alpha1.CrossSigningOldSignsNew} {
		t.Run(string(signing), func(t *testing.T) {
			t.Parallel()
			w := standard(t)
			asleep := w.bundle("node1-kubeconfig", "ca.crt")
			edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
				c.Spec.Rotation.CrossSigning, c.Spec.Validity = signing, hours(50000)
			})
			w.replaced("k8s", nil)
			err := w.pair("k8s-master-tls").Verify(w.clock.Now(), asleep)
			if (err == nil) != (signing == v1alpha1.CrossSigningOldSignsNew) {
				t.Errorf("it accepts the server: %v", err)
			}
			if err := w.verified("node1"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFormerSecretIsNamed changes where a certificate goes: the old Secret is waited for, by name, until it is deleted.
func TestFormerSecretIsNamed(t *testing.T) {
	t.Parallel()
	w := standard(t)
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.SecretName = "elsewhere" })
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.validity("k8s", 50000)
	w.later(13 * time.Minute)
	w.later(13 * time.Minute)
	p := pendingOf(w.clusterCA("k8s"))
	if len(p) != 1 || p[0] != "Secret/node1-tls" {
		t.Errorf("pending are %v", p)
	}
	w.delete(w.secret("node1-tls"))
	w.walk("k8s", nil)
	w.whole("k8s")
}
