package owned

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/internal/consumers"
)

// maxCached bounds, in bytes, what the cache keeps of one object's data: whoever may make objects in a namespace must not be
// able to fill the operator's memory. What is larger is read live.
const maxCached = 128 << 10

// cutAnnotation marks, in the cache, an object whose data was too large to be kept.
const cutAnnotation = "clusterpki.io/cut"

// productKeys are the keys of Secrets that the operator reads back.
var productKeys = []string{
	corev1.TLSCertKey, corev1.TLSPrivateKeyKey, consumers.BundleKey, consumers.ClientBundleKey, consumers.HeaderBundleKey,
	consumers.KubeconfigKey, consumers.FilesKubeconfigKey,
}

// Bounded keeps, of what a cache is to hold, only what is read back.
func Bounded(o any) (any, error) {
	switch o := o.(type) {
	case *corev1.Secret:
		o.ManagedFields, o.Data = nil, kept(&o.ObjectMeta, o.Data, productKeys)
	case *corev1.ConfigMap:
		o.ManagedFields, o.BinaryData = nil, nil
		o.Data = kept(&o.ObjectMeta, o.Data, []string{consumers.BundleKey})
	}
	return o, nil
}

func kept[T ~string | ~[]byte](of *metav1.ObjectMeta, data map[string]T, keys []string) map[string]T {
	out, size := map[string]T{}, 0
	for _, key := range keys {
		if value, there := data[key]; there {
			out[key], size = value, size+len(value)
		}
	}
	if size > maxCached {
		metav1.SetMetaDataAnnotation(of, cutAnnotation, "true")
		return nil
	}
	return out
}

// IsCut says whether the cache has left out what an object holds.
func IsCut(o metav1.Object) bool { return o.GetAnnotations()[cutAnnotation] != "" }
