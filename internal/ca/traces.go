package ca

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

// noTraces says, as a stall, where anything tells that the CA was there already.
func (m *Maker) noTraces(ctx context.Context, ca *v1alpha1.ClusterCA) error {
	trace := ""
	switch {
	case len(ca.Status.Generations) > 0 || ca.Status.Certificate.SerialNumber != "":
		trace = "its status names a certificate"
	case desired.Restored(ca):
		trace = "a backup tool restored this object"
	}
	if trace == "" {
		cm, err := m.trustConfigMap(ctx, ca)
		if err != nil {
			return err
		}
		if cm != nil {
			trace = fmt.Sprintf("ConfigMap %q is there", cm.Name)
		}
	}
	if trace == "" {
		var err error
		if trace, err = m.madeFrom(ctx, ca); err != nil {
			return err
		}
	}
	if trace == "" {
		return nil
	}
	return stall.Because(v1alpha1.ReasonAuthorityMissing,
		"this CA was there before (%s), and the authority namespace %q has no Secret %q: restore that from a backup, or run the operator with the "+
			"authority namespace that has it. To begin anew with another CA, delete what was made for the old one: this ClusterCA, ConfigMap %q, "+
			"the objects that its certificates were issued for, and their Secrets",
		trace, m.Store.Namespace(), authority.SecretName(ca.Namespace, ca.Name), ca.TrustConfigMapName())
}

// madeFrom says what was made from the CA already: a certificate of an object that names it, a subordinate CA, or a Secret or
// ConfigMap of any object, whose claim names it. That covers bundles of clients, of the front proxy, and in kubeconfigs. The seal
// of a claim is not asked: it may have been lost with the CA, and a forged one can only hold this CA up.
func (m *Maker) madeFrom(ctx context.Context, ca *v1alpha1.ClusterCA) (string, error) {
	for _, k := range v1alpha1.Kinds() {
		trace, err := m.signed(ctx, k, ca)
		if err != nil || trace != "" {
			return trace, err
		}
	}
	kept, err := m.Store.CachedIn(ctx, ca.Namespace)
	if err != nil {
		return "", err
	}
	for _, other := range kept {
		if slices.ContainsFunc(other.Ledger.Generations, func(g plan.Generation) bool { return g.Parent.Name == ca.Name }) {
			return fmt.Sprintf("it has signed the CA %q", other.Name), nil
		}
	}
	for _, kind := range []string{"Secret", "ConfigMap"} {
		name, err := m.claimed(ctx, kind, ca)
		if err != nil || name != "" {
			return name, err
		}
	}
	return "", nil
}

// carefully reads what stands beside a CA, whatever its size.
func (m *Maker) carefully(ca *v1alpha1.ClusterCA) *scan {
	return liveScan(m.Live, ca.Namespace, true)
}

// signed finds an object of a kind for which the CA has signed; "" where there is none.
func (m *Maker) signed(ctx context.Context, kind v1alpha1.KindInfo, ca *v1alpha1.ClusterCA) (trace string, err error) {
	err = pages(ctx, m.carefully(ca), kind.NewList, nil, func(l v1alpha1.ObjectList) {
		//nolint:errcheck // it fails on what is no list, and the function never does
		_ = meta.EachListItem(l, func(item runtime.Object) error {
			if o, ours := item.(v1alpha1.Object); ours && o.SignerName() == ca.Name && o.IssuedCertificate().SerialNumber != "" {
				trace = fmt.Sprintf("%s %q has a certificate", o.Kind(), o.GetName())
			}
			return nil
		})
	})
	return trace, err
}

// claimed finds an object of a kind whose claim says that it was made from the CA; "" where there is none.
func (m *Maker) claimed(ctx context.Context, kind string, ca *v1alpha1.ClusterCA) (trace string, err error) {
	list := func() *metav1.PartialObjectMetadataList {
		l := &metav1.PartialObjectMetadataList{}
		l.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind + "List"))
		return l
	}
	err = pages(ctx, m.carefully(ca), list, owned.Selector, func(l *metav1.PartialObjectMetadataList) {
		for i := range l.Items {
			if slices.Contains(consumers.Unsealed(l.Items[i].Annotations).CAs(), ca.Name) {
				trace = fmt.Sprintf("%s %q was made from it", kind, l.Items[i].Name)
			}
		}
	})
	return trace, err
}
