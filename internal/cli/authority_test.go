package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// vault is a fixture with an authority namespace of its own, and the kubeconfig of somebody who may do everything.
type vault struct {
	*fixture
	home  string
	store *authority.Store
}

func newVault(t *testing.T) *vault {
	t.Helper()
	w := newFixture(t)
	home := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "authority-"}}
	if err := w.api.Create(t.Context(), home); err != nil {
		t.Fatal(err)
	}
	w.kubeconfig = administrator(t)
	return &vault{w, home.Name, authority.New(home.Name, w.api, nil)}
}

// administrator is the kubeconfig of somebody who may do everything.
func administrator(t *testing.T) string {
	t.Helper()
	k := api.NewConfig()
	k.Clusters["here"] = &api.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	k.AuthInfos["admin"] = &api.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}
	k.Contexts["admin"] = &api.Context{Cluster: "here", AuthInfo: "admin"}
	k.CurrentContext = "admin"
	name := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*k, name); err != nil {
		t.Fatal(err)
	}
	return name
}

// authority runs a command below `clusterpki authority`.
func (v *vault) authority(args ...string) (string, error) {
	v.t.Helper()
	args = append(append([]string{"authority"}, args...), "--authority-namespace", v.home, "--kubeconfig", v.kubeconfig)
	c := start(v.t, args...)
	err := c.end()
	return c.out.String(), err
}

func (v *vault) says(want string, args ...string) {
	v.t.Helper()
	if out, err := v.authority(args...); err != nil || !strings.Contains(out, want) {
		v.t.Errorf("%v: %v; it printed\n%swant %s", args, err, out, want)
	}
}

func (v *vault) refuses(want string, args ...string) {
	v.t.Helper()
	if out, err := v.authority(args...); err == nil || !strings.Contains(err.Error(), want) {
		v.t.Errorf("%v: %v; it printed\n%swant %s", args, err, out, want)
	}
}

// keep stores a CA with a key; change may change what belongs to whom.
func (v *vault) keep(name string, change func(*authority.Record)) *authority.Record {
	v.t.Helper()
	pair, err := pki.SelfSign(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: name}, Validity: time.Hour, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256},
	})
	if err != nil {
		v.t.Fatal(err)
	}
	g := plan.Generation{Number: 1, SHA256: pki.FingerprintOf(pair.Cert), NotAfter: pair.Cert.NotAfter}
	r := &authority.Record{
		Identity: authority.Identity{Namespace: v.ns, Name: name, NamespaceUID: v.uid(), UID: "gone", HomeUID: v.uidOf(v.home)},
		Ledger:   plan.Bootstrap(time.Now(), plan.Ledger{}, g), CAs: map[int32]pki.CA{1: pair},
	}
	change(r)
	if r, err = v.store.Create(v.t.Context(), r); err != nil {
		v.t.Fatal(err)
	}
	return r
}

func (v *vault) uid() types.UID { return v.uidOf(v.ns) }

func (v *vault) uidOf(namespace string) types.UID {
	v.t.Helper()
	var ns corev1.Namespace
	if err := v.api.Get(v.t.Context(), client.ObjectKey{Name: namespace}, &ns); err != nil {
		v.t.Fatal(err)
	}
	return ns.UID
}

func (v *vault) kept(name string) *authority.Record {
	v.t.Helper()
	r, err := v.store.Live(v.t.Context(), v.ns, name)
	if err != nil {
		v.t.Fatal(err)
	}
	return r
}

func (v *vault) states() map[string]string {
	v.t.Helper()
	out, err := v.authority("list", "-o", "json")
	var report authorityReport
	if jsonErr := json.Unmarshal([]byte(out), &report); err != nil || jsonErr != nil {
		v.t.Fatal(err, jsonErr, out)
	}
	states := map[string]string{}
	for _, item := range report.CAs {
		states[item.Name] = item.State
	}
	return states
}

func asIs(*authority.Record) {}

// TestAuthorityList says whose each CA is.
func TestAuthorityList(t *testing.T) {
	v := newVault(t)
	v.says("holds no CA", "list")
	ca := &v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Name: "bound"}}
	v.create(ca)
	v.create(&v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Name: "returning"}})
	v.keep("bound", func(r *authority.Record) { r.UID = ca.UID })
	v.keep("returning", asIs)
	v.keep("orphaned", asIs)
	v.keep("remade", func(r *authority.Record) { r.NamespaceUID = "another" })
	v.keep("deleted", func(r *authority.Record) { r.Deleted = time.Now() })
	v.keep("elsewhere", func(r *authority.Record) { r.Namespace = "no-such-namespace" })
	want := map[string]string{
		"bound": "Bound", "returning": "Returning", "orphaned": "Orphaned", "remade": "Retained",
		"deleted": "Deleted", "elsewhere": "Orphaned",
	}
	got := v.states()
	for name, state := range want {
		if got[name] != state {
			t.Errorf("%s is %s, want %s", name, got[name], state)
		}
	}
	out, err := v.authority("list")
	if err != nil || !strings.Contains(out, "the keys are destroyed after ") || !strings.Contains(out, "1 Active") {
		t.Errorf("%v\n%s", err, out)
	}
	if strings.Contains(out, "PRIVATE KEY") {
		t.Error("it shows a key")
	}
	damaged := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v.home, Name: "ca.x.y"}, Type: authority.SecretType}
	if err := v.api.Create(t.Context(), damaged); err != nil {
		t.Fatal(err)
	}
	if out, err = v.authority("list"); ExitCode(err) != exitUnwell || !strings.Contains(out, "Damaged") {
		t.Errorf("with a damaged Secret: %v\n%s", err, out)
	}
}

// TestAuthorityRelease gives CAs to the namespace as it is now, and changes nothing else of them.
func TestAuthorityRelease(t *testing.T) {
	v := newVault(t)
	for _, name := range []string{"a", "b", "c"} {
		v.keep(name, func(r *authority.Record) { r.NamespaceUID, r.Deleted = "another", time.Now() })
	}
	before := v.kept("a")
	v.keep("copied", func(r *authority.Record) { r.HomeUID = "another" })
	v.says(v.ns+"/a: released to namespace "+v.ns, "release", v.ns+"/a")
	r := v.kept("a")
	if r.NamespaceUID != v.uid() || !r.Deleted.IsZero() || r.UID != "" || r.Ledger.Revision != before.Ledger.Revision {
		t.Errorf("released: %+v", r.Identity)
	}
	v.says("bound to this namespace already", "release", v.ns+"/a")
	if got := v.states()["copied"]; got != authorityRetained {
		t.Errorf("copied is %s", got)
	}
	v.says(v.ns+"/b: left as it is: its namespace was made anew", "release", "-A")
	if r, b := v.kept("copied"), v.kept("b"); r.HomeUID != v.uidOf(v.home) || r.UID != "" || b.NamespaceUID != "another" {
		t.Errorf("released with -A: %+v, and %+v", r.Identity, b.Identity)
	}
	key, err := v.store.Delivery(t.Context(), v.ns, "another")
	if err != nil {
		t.Fatal(err)
	}
	v.says("the delivery key of "+v.ns+": released", "release", "--all", "-n", v.ns)
	if now, err := v.store.Delivery(t.Context(), v.ns, v.uid()); err != nil || !now.SameAs(key) {
		t.Errorf("the delivery key, released with all: %v", err)
	}
	if r := v.kept("b"); r.NamespaceUID != v.uid() {
		t.Errorf("released with all: %+v", r.Identity)
	}
	if got := v.states()["c"]; got != authorityOrphaned {
		t.Errorf("c is %s", got)
	}
	v.keep("far", func(r *authority.Record) { r.Namespace = "no-such-namespace" })
	v.refuses(`namespace "no-such-namespace" is not there: create it first`, "release", "-A")
	v.refuses("holds no CA "+v.ns+"/x", "release", v.ns+"/x")
	v.refuses("namespace and name, as in prod/k8s", "release", "k8s")
	v.refuses("namespace and name, as in prod/k8s", "release")
	v.refuses("either name CAs", "release", v.ns+"/a", "--all")
	v.refuses("say two things", "release", "-A", "-n", v.ns)
}

// TestAuthorityDelete destroys keys only where nobody uses them, and leaves a tombstone.
func TestAuthorityDelete(t *testing.T) {
	v := newVault(t)
	ca := &v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Name: "used"}}
	v.create(ca)
	v.keep("used", func(r *authority.Record) { r.UID = ca.UID })
	v.refuses("is there, and its certificates are in use", "delete", v.ns+"/used", "--yes")
	v.keep("k8s", asIs)
	v.refuses("add --yes", "delete", v.ns+"/k8s")
	if v.kept("k8s").Tombstone() {
		t.Fatal("it was destroyed without --yes")
	}
	v.says("its keys are destroyed", "delete", v.ns+"/k8s", "--yes")
	if r := v.kept("k8s"); r == nil || !r.Tombstone() || r.Ledger.Last != 1 {
		t.Fatalf("left: %+v", r)
	}
	if got := v.states()["k8s"]; got != authorityDestroyed {
		t.Errorf("it is %s", got)
	}
	v.refuses("destroyed already", "delete", v.ns+"/k8s", "--yes")
	v.refuses("there is nothing to release", "release", v.ns+"/k8s")
	v.says("its tombstone is removed", "delete", v.ns+"/k8s", "--yes", "--tombstone")
	if v.kept("k8s") != nil {
		t.Error("the tombstone is there")
	}
	// Of a namespace that was made anew, the waiting ClusterCA does not hold up the destruction.
	v.create(&v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Name: "remade"}})
	v.keep("remade", func(r *authority.Record) { r.NamespaceUID = "another" })
	v.says("its tombstone is removed", "delete", v.ns+"/remade", "--yes", "--tombstone")
	v.refuses("namespace and name", "delete", "k8s", "--yes")
}

// TestAuthorityInit records the namespace, whoever may read there.
func TestAuthorityInit(t *testing.T) {
	v := newVault(t)
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: v.home, Name: "others"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "eve"}},
	}
	if err := v.api.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	v.says("holds the keys of the operator", "init", "--operator-namespace", v.ns)
	v.says("holds the keys of the operator", "init", "--operator-namespace", v.ns) // again
	var cm corev1.ConfigMap
	if err := v.api.Get(t.Context(), client.ObjectKey{Namespace: v.ns, Name: "clusterpki-namespaces"}, &cm); err != nil {
		t.Fatal(err)
	}
	var home corev1.Namespace
	if err := v.api.Get(t.Context(), client.ObjectKey{Name: v.home}, &home); err != nil {
		t.Fatal(err)
	}
	if cm.Data[v.home] != string(home.UID) {
		t.Errorf("recorded: %v", cm.Data)
	}
	v.refuses("cannot be the operator's own", "init", "--operator-namespace", v.home)
}

// TestAuthorityRights does nothing with more rights than those of whoever runs it.
func TestAuthorityRights(t *testing.T) {
	v := newVault(t)
	v.keep("k8s", asIs)
	c := start(t, "authority", "list", "--authority-namespace", v.home, "--kubeconfig", v.kubeconfig, "--as", "jane")
	if err := c.end(); !apierrors.IsForbidden(err) {
		t.Errorf("%v\n%s", err, c.out.String())
	}
}

// TestAuthorityCompletion names the CAs that are kept.
func TestAuthorityCompletion(t *testing.T) {
	v := newVault(t)
	v.keep("k8s", asIs)
	for _, command := range []string{"release", "delete"} {
		c := start(t, "__complete", "authority", command, "--authority-namespace", v.home, "--kubeconfig", v.kubeconfig, "")
		if err := c.end(); err != nil || !strings.Contains(c.out.String(), v.ns+"/k8s\n") {
			t.Errorf("%s: %v\n%s", command, err, c.out.String())
		}
	}
}
