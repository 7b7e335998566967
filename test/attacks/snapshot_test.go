package attacks_test

import (
	"bytes"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/controller"
)

// snapshot is what decides: Secrets of the authority namespace, by name.
type snapshot map[string]corev1.Secret

// everywhere is all that decides, about any namespace.
func (v *victim) everywhere() snapshot {
	v.t.Helper()
	var list corev1.SecretList
	v.must(admin.List(v.t.Context(), &list, client.InNamespace(controller.DefaultAuthorityNamespace)))
	out := snapshot{}
	for _, s := range list.Items {
		out[s.Name] = s
	}
	return out
}

// decides is what decides about this namespace: all of its CAs, and the seal. What other tests do to theirs is not its concern.
func (v *victim) decides() snapshot {
	v.t.Helper()
	out := v.everywhere()
	maps.DeleteFunc(out, func(name string, _ corev1.Secret) bool {
		return name != authority.SealSecretName && !strings.HasPrefix(name, authority.SecretName(v.ns, ""))
	})
	return out
}

// rotated takes note that the CA is rightly another one.
func (v *victim) rotated() {
	v.t.Helper()
	name := authority.SecretName(v.ns, "k8s")
	v.before[name] = v.everywhere()[name]
}

// unharmed waits for as long as the operator takes to act upon anything, and says whether what decides is byte for byte as
// before, was not even written, and whether nothing else was harmed.
func (v *victim) unharmed() {
	v.t.Helper()
	time.Sleep(1500 * time.Millisecond)
	v.asBefore()
	v.usesNothingPlanted()
	for _, before := range v.unrelated {
		if now := v.secret(before.Name); !same(*now, *before) {
			v.t.Errorf("Secret %s of somebody else was touched: it is %s, and was %s", before.Name, version(*now), version(*before))
		}
	}
}

// asBefore compares what decides.
func (v *victim) asBefore() {
	v.t.Helper()
	now := v.everywhere()
	for name, before := range v.before {
		after, there := now[name]
		if !there {
			v.t.Errorf("%s is gone from the authority namespace", name)
		} else if !same(after, before) {
			v.t.Errorf("%s of the authority namespace was written: %s\n%s\nbefore: %s\n%s", name,
				version(after), after.Data["ledger.json"], version(before), before.Data["ledger.json"])
		}
	}
}

// same says whether a Secret is the one that it was, and nobody has written it.
func same(a, b corev1.Secret) bool {
	return a.UID == b.UID && a.ResourceVersion == b.ResourceVersion && a.Type == b.Type && maps.EqualFunc(a.Data, b.Data, bytes.Equal)
}

func version(s corev1.Secret) string { return string(s.UID) + "@" + s.ResourceVersion }
