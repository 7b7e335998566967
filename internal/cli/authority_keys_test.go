package cli

import (
	"crypto"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
)

// keepAccountKeys stores the keys of a ServiceAccountKey; change may change what belongs to whom.
func (v *vault) keepAccountKeys(name string, change func(*authority.AccountKeys)) {
	v.t.Helper()
	key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.ECDSA, Size: 256})
	if err != nil {
		v.t.Fatal(err)
	}
	id, err := keyring.KeyID(key.Public())
	if err != nil {
		v.t.Fatal(err)
	}
	k := &authority.AccountKeys{
		Identity: authority.Identity{Namespace: v.ns, Name: name, NamespaceUID: v.uid(), UID: "gone", HomeUID: v.uidOf(v.home)},
		Ledger:   keyring.Bootstrap(time.Now(), keyring.Ledger{}, keyring.Origin{Active: id}),
		Keys:     map[int32]pki.PrivateKey{1: key}, Public: map[int32]crypto.PublicKey{1: key.Public()},
	}
	change(k)
	if _, err := v.store.CreateAccountKeys(v.t.Context(), k); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vault) keptAccountKeys(name string) *authority.AccountKeys {
	v.t.Helper()
	k, err := v.store.LiveAccountKeys(v.t.Context(), v.ns, name)
	if err != nil {
		v.t.Fatal(err)
	}
	return k
}

// TestAuthorityOfAccountKeys lists, releases and destroys the keys of ServiceAccountKeys by the rules of CAs, and takes them for no CA of the name.
func TestAuthorityOfAccountKeys(t *testing.T) {
	v := newVault(t)
	v.keep("both", asIs)
	v.keepAccountKeys("both", func(k *authority.AccountKeys) { k.NamespaceUID, k.Deleted = "another", time.Now() })
	out, err := v.authority("list", "-o", "json")
	var report authorityReport
	if jsonErr := json.Unmarshal([]byte(out), &report); err != nil || jsonErr != nil {
		t.Fatal(err, jsonErr, out)
	}
	if len(report.CAs) != 1 || report.CAs[0].State != authorityOrphaned || len(report.ServiceAccountKeys) != 1 ||
		report.ServiceAccountKeys[0].State != authorityRetained || report.ServiceAccountKeys[0].Keys[0] != (authorityKey{1, "Active"}) {
		t.Errorf("listed:\n%s", out)
	}
	ref := "serviceaccountkeys/" + v.ns + "/both"
	if out, err := v.authority("list"); err != nil || !strings.Contains(out, ref) || strings.Contains(out, "PRIVATE KEY") {
		t.Errorf("listed: %v\n%s", err, out)
	}
	v.says(ref+": released to namespace "+v.ns, "release", ref)
	if k := v.keptAccountKeys("both"); k.NamespaceUID != v.uid() || !k.Deleted.IsZero() || k.UID != "" {
		t.Errorf("released: %+v", k.Identity)
	}
	v.create(&v1alpha1.ServiceAccountKey{ObjectMeta: metav1.ObjectMeta{Name: "both"}})
	v.refuses("is there, and API servers may use its keys", "delete", ref, "--yes")
	v.keepAccountKeys("k8s-sa", func(*authority.AccountKeys) {})
	v.refuses("would destroy 1 keys", "delete", "sak/"+v.ns+"/k8s-sa")
	v.says("its keys are destroyed", "delete", "sak/"+v.ns+"/k8s-sa", "--yes")
	if k := v.keptAccountKeys("k8s-sa"); k == nil || !k.Tombstone() || k.Ledger.Last != 1 {
		t.Fatalf("left: %+v", k)
	}
	v.says("its tombstone is removed", "delete", "sak/"+v.ns+"/k8s-sa", "--yes", "--tombstone")
	if v.keptAccountKeys("k8s-sa") != nil || v.kept("both") == nil {
		t.Error("the wrong one is removed")
	}
	v.refuses("holds no service account keys "+ref+"x", "release", ref+"x")
}

// TestRefsOfTheAPI: what the authority namespace calls kinds is what the API calls them.
func TestRefsOfTheAPI(t *testing.T) {
	for _, k := range v1alpha1.Kinds() {
		for _, name := range []string{k.Name, k.Plural, k.ShortName} {
			of, err := authority.ParseRef(name + "/prod/k8s")
			keeps := slices.Contains([]string{v1alpha1.KindClusterCA, v1alpha1.KindServiceAccountKey, v1alpha1.KindClusterPKI}, k.Name)
			if keeps != (err == nil) || keeps && of.Kind != k.Name {
				t.Errorf("%s/prod/k8s is %+v, %v", name, of, err)
			}
		}
	}
}
