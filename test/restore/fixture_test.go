package restore_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/cli"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/test/testenv"
)

// fixture is a namespace, and the authority namespace of its operator.
type fixture struct {
	*cluster
	t             *testing.T
	ns, authority string
	installed     testenv.Installation
}

func newFixture(t *testing.T, ns string) *fixture {
	t.Helper()
	return newFixtureOn(t, management, ns, ns+"-authority")
}

func newFixtureOn(t *testing.T, c *cluster, ns, keys string) *fixture {
	t.Helper()
	w := &fixture{cluster: c, t: t, ns: ns, authority: keys}
	w.createNamespaces()
	return w
}

// createNamespaces makes the namespaces that are not there, and says, as docs/backup.md has it after a loss, that the authority's is
// the one.
func (w *fixture) createNamespaces() {
	w.t.Helper()
	err := w.api.Create(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns}})
	if client.IgnoreAlreadyExists(err) != nil {
		w.t.Fatal(err)
	}
	if w.installed, err = w.InstallFor(w.t.Context(), w.ns, w.authority); err != nil {
		w.t.Fatal(err)
	}
	if err := w.clusterpki(io.Discard, "authority", "init", "--operator-namespace", w.installed.Options.OwnNamespace); err != nil {
		w.t.Fatal(err)
	}
}

// deleteNamespaces deletes namespaces, and waits until they are gone.
func (w *fixture) deleteNamespaces(names ...string) {
	w.t.Helper()
	for _, name := range names {
		if err := w.api.Delete(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, name := range names {
		testenv.Eventually(w.t, "namespace "+name+" is gone", func() error {
			err := w.api.Get(w.t.Context(), client.ObjectKey{Name: name}, &corev1.Namespace{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is still there: %w", err)
		})
	}
}

// lose deletes everything, the authority namespace too. The namespaces are there again, and empty.
func (w *fixture) lose() {
	w.t.Helper()
	w.deleteNamespaces(w.ns, w.authority)
	w.createNamespaces()
}

// store reads and writes the authority namespace, as whoever administers the PKI can.
func (w *fixture) store() *authority.Store { return authority.New(w.authority, w.api, nil) }

// record is what the authority namespace says of a CA; nil where it says nothing.
func (w *fixture) record(ca string) *authority.Record {
	w.t.Helper()
	r, err := w.store().Live(w.t.Context(), w.ns, ca)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// authoritySecret is the Secret of a CA in the authority namespace.
func (w *fixture) authoritySecret(ca string) *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.authority, Name: authority.SecretName(w.ns, ca)}, &s); err != nil {
		w.t.Fatal(err)
	}
	return &s
}

// keys are the keys, certificates and chains in the authority namespace, without the ledgers.
func (w *fixture) keys() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	var list corev1.SecretList
	if err := w.api.List(w.t.Context(), &list, client.InNamespace(w.authority)); err != nil {
		w.t.Fatal(err)
	}
	for _, s := range list.Items {
		for key, value := range s.Data {
			if (s.Type == authority.SecretType || s.Type == authority.AccountKeysSecretType) && key != "ledger.json" {
				out["Secret "+strings.ReplaceAll(s.Name, "."+w.ns+".", ".")+" "+key] = string(value)
			}
		}
	}
	return out
}

// release gives the CAs of the namespace to the one that bears its name now.
func (w *fixture) release() {
	w.t.Helper()
	if err := w.clusterpki(io.Discard, "authority", "release", "-n", w.ns, "--all"); err != nil {
		w.t.Fatal(err)
	}
}

// clusterpki runs a command of clusterpki.
func (w *fixture) clusterpki(out io.Writer, args ...string) error {
	command := cli.New()
	command.SetOut(out)
	command.SetErr(io.Discard)
	command.SetArgs(append(args, "--kubeconfig", w.file, "--authority-namespace", w.authority))
	return command.ExecuteContext(w.t.Context())
}

// kubectl runs kubectl in the repository's root.
func (w *fixture) kubectl(args ...string) {
	w.t.Helper()
	if _, _, err := w.Kubectl(w.t.Context(), append([]string{"-n", w.ns}, args...)...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *fixture) create(objects ...client.Object) {
	w.t.Helper()
	for _, o := range objects {
		o.SetNamespace(w.ns)
		if err := w.api.Create(w.t.Context(), o); err != nil {
			w.t.Fatalf("create %T %s: %v", o, o.GetName(), err)
		}
	}
}

func (w *fixture) get(name string, o client.Object) {
	w.t.Helper()
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, o); err != nil {
		w.t.Fatalf("get %T %s: %v", o, name, err)
	}
}

func (w *fixture) missing(name string, o client.Object) bool {
	w.t.Helper()
	return apierrors.IsNotFound(w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, o))
}

// edit changes an object, and tries again when the operator was faster.
func edit[T client.Object](w *fixture, name string, o T, change func(T)) {
	w.t.Helper()
	o.SetNamespace(w.ns)
	o.SetName(name)
	testenv.Edit(w.t, w.api, o, change)
}

// resources are all custom resources.
func (w *fixture) resources() []v1alpha1.Object {
	w.t.Helper()
	all, err := testenv.Objects(w.t.Context(), w.api, w.ns)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func (w *fixture) list(list client.ObjectList) []client.Object {
	w.t.Helper()
	if err := w.api.List(w.t.Context(), list, client.InNamespace(w.ns)); err != nil {
		w.t.Fatal(err)
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		w.t.Fatal(err)
	}
	out := make([]client.Object, 0, len(items))
	for _, item := range items {
		out = append(out, item.(client.Object))
	}
	return out
}

// ready waits until every custom resource is, and returns how many there are.
func (w *fixture) ready() (n int) {
	w.t.Helper()
	testenv.Eventually(w.t, "everything is Ready", func() (err error) {
		n, err = testenv.AllReady(w.t.Context(), w.api, w.ns)
		return err
	})
	return n
}

// condition waits for a condition of an object.
func (w *fixture) condition(o v1alpha1.Object, name, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	w.t.Helper()
	o.SetNamespace(w.ns)
	o.SetName(name)
	return testenv.Condition(w.t, w.api, o, kind, status, reason)
}

// versions are the resource versions of all that the operator writes.
func (w *fixture) versions() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	var all []client.Object
	for _, o := range w.resources() {
		all = append(all, o)
	}
	for _, list := range []client.ObjectList{&corev1.SecretList{}, &corev1.ConfigMapList{}, &coordinationv1.LeaseList{}} {
		all = append(all, w.list(list)...)
	}
	var decides corev1.SecretList
	if err := w.api.List(w.t.Context(), &decides, client.InNamespace(w.authority)); err != nil {
		w.t.Fatal(err)
	}
	for i := range decides.Items {
		all = append(all, &decides.Items[i])
	}
	for _, o := range all {
		out[fmt.Sprintf("%T %s", o, o.GetName())] = o.GetResourceVersion()
	}
	return out
}

// settled waits until the operator has seen every object as it is, and has nothing left to do.
func (w *fixture) settled() {
	w.t.Helper()
	last, still := w.versions(), 0
	testenv.Eventually(w.t, "the operator has nothing left to do", func() error {
		time.Sleep(100 * time.Millisecond) // one look of the operator at what it waits for
		now := w.versions()
		if still++; !maps.Equal(now, last) || !w.visited() {
			last, still = now, 0
		}
		if still < 5 {
			return fmt.Errorf("it writes on")
		}
		return nil
	})
}

// visited says whether the status of every object is that of its present generation.
func (w *fixture) visited() bool {
	w.t.Helper()
	return !slices.ContainsFunc(w.resources(), func(o v1alpha1.Object) bool {
		c := meta.FindStatusCondition(*o.StatusConditions(), v1alpha1.ReadyCondition)
		return c == nil || c.ObservedGeneration != o.GetGeneration()
	})
}

// contents are all bytes of keys, certificates, bundles and kubeconfigs, in the namespace and of the authority.
func (w *fixture) contents() map[string]string {
	w.t.Helper()
	out := w.keys()
	for _, o := range w.list(&corev1.SecretList{}) {
		for key, value := range o.(*corev1.Secret).Data {
			if key != consumers.DeliveryKey { // it names the object's UID, and is signed anew
				out["Secret "+o.GetName()+" "+key] = string(value)
			}
		}
	}
	for _, o := range w.list(&corev1.ConfigMapList{}) {
		for key, value := range o.(*corev1.ConfigMap).Data {
			out["ConfigMap "+o.GetName()+" "+key] = value
		}
	}
	return out
}

// changed names what differs between two contents. No key is printed.
func changed(got, want map[string]string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if now, there := got[name]; !there {
			out = append(out, name+" is gone")
		} else if !bytes.Equal([]byte(now), []byte(want[name])) {
			out = append(out, name+" is another")
		}
	}
	for name := range got {
		if _, there := want[name]; !there {
			out = append(out, name+" is new")
		}
	}
	return out
}

func (w *fixture) ledger(ca string) plan.Ledger {
	w.t.Helper()
	r := w.record(ca)
	if r == nil {
		w.t.Fatalf("there is no CA %s", ca)
	}
	return r.Ledger
}

// report lets the agent of a host say that everything which was issued to a credential is in use.
func (w *fixture) report(credential, host string, at time.Time) {
	w.t.Helper()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		var tls, kubeconfig corev1.Secret
		var lease coordinationv1.Lease
		for name, o := range map[string]client.Object{credential + "-tls": &tls, credential + "-kubeconfig": &kubeconfig} {
			if err := w.api.Get(context.Background(), client.ObjectKey{Namespace: w.ns, Name: name}, o); err != nil {
				return err
			}
		}
		if err := w.api.Get(context.Background(), client.ObjectKey{Namespace: w.ns, Name: credential + "-tls"}, &lease); err != nil {
			return err
		}
		state, err := ack.StateOf(&tls, &kubeconfig)
		if err != nil {
			return err
		}
		leaf, err := pki.ParseLeaf(tls.Data["tls.crt"], tls.Data["tls.key"])
		if err != nil {
			return err
		}
		if err := testenv.Report(&lease, ack.Report{Host: host, Time: at, Installed: &state, Verified: &state}, leaf); err != nil {
			return err
		}
		return w.api.Update(context.Background(), &lease)
	})
	if err != nil {
		w.t.Fatalf("report %s: %v", credential, err)
	}
}
