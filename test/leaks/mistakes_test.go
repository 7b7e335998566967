package leaks_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// mistakes puts keys where people have put them, and damages what is to be read.
func (r *run) mistakes() {
	r.t.Helper()
	good, other := r.importable(pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}), r.importable(pki.KeySpec{Algorithm: pki.RSA, Size: 2048})
	certificate, key := good[corev1.TLSCertKey], good[corev1.TLSPrivateKeyKey]
	for name, data := range map[string][2][]byte{
		"key-of-another":         {certificate, other[corev1.TLSPrivateKeyKey]},
		"key-in-both":            {key, key},
		"swapped":                {key, certificate},
		"key-before-certificate": {slices.Concat(key, certificate), key},
		"key-cut":                {certificate, key[:len(key)-40]},
		"key-in-one-line":        {certificate, bytes.ReplaceAll(key, []byte("\n"), nil)},
		"key-without-begin":      {certificate, key[30:]},
		"key-with-letters":       {certificate, append([]byte("the key: "), key...)},
		"key-of-a-wrong-type":    {certificate, bytes.ReplaceAll(key, []byte("PRIVATE KEY"), []byte("EC PRIVATE KEY"))},
		"two-keys":               {certificate, slices.Concat(key, other[corev1.TLSPrivateKeyKey])},
	} {
		r.makeSecret("import-"+name, corev1.SecretTypeOpaque, map[string][]byte{corev1.TLSCertKey: data[0], corev1.TLSPrivateKeyKey: data[1]})
		r.make(given.CA(name, given.ImportedFrom("import-"+name, r.digest(good))))
		path := r.file(name, slices.Concat(data[0], data[1]))
		r.command("inspect", "-f", path)
		r.command("inspect", "-n", namespace, "secret/import-"+name)
	}
	// A key in a field that is no place for one: the API server's own answer must not repeat it.
	for name, text := range map[string][]byte{"key-alone": key, "key-before-request": slices.Concat(key, []byte("-----BEGIN CERTIFICATE REQUEST-----\n"))} {
		o := fmt.Sprintf("apiVersion: clusterpki.io/v1alpha1\nkind: NodeCredential\nmetadata: {name: %s}\nspec:\n  caRef: {name: k8s}\n  hostName: k8s-node3\n"+
			"  role: Kubelet\n  keySource: Host\n  request: |\n    %s\n", name, strings.ReplaceAll(string(text), "\n", "\n    "))
		r.kubectl("apply", "-n", namespace, "-f", r.file(name+".yaml", []byte(o)))
	}
	testenv.EventuallyEvery(r.t, time.Second, "each mistake is answered", func() error {
		objects, err := testenv.Objects(r.t.Context(), shared.api, namespace)
		for _, o := range objects {
			if len(*o.StatusConditions()) == 0 {
				return fmt.Errorf("%s has no condition", o.GetName())
			}
		}
		return err
	})
}
