package controller

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// record is what the authority namespace says of a CA, bound to this object. Where there is nothing and never was, the
// first key is made.
func (r *clusterCAs) record(ctx context.Context, ca *v1alpha1.ClusterCA) (record *authority.Record, created bool, err error) {
	if err := r.authorityReady(ctx, ca.Namespace); err != nil {
		return nil, false, err
	}
	record, err = r.store.Live(ctx, ca.Namespace, ca.Name)
	switch {
	case authority.IsUnreadable(err):
		return nil, false, stalled(v1alpha1.ReasonLedgerUnreadable, "%v: restore it from a backup", err)
	case err != nil:
		return nil, false, err
	case record == nil || record.Tombstone():
		record, err = r.bootstrap(ctx, ca, record)
		return record, err == nil, err
	case !r.keeps(record):
		return nil, false, stalled(v1alpha1.ReasonAuthorityRetained,
			"the Secret of this CA came from another authority namespace (UID %s), by a copy or from a backup: if no other operator serves this CA, whoever "+
				"administers the PKI lets this one, by `clusterpki authority release %s/%s`", record.HomeUID, ca.Namespace, ca.Name)
	case record.UID == ca.UID && record.Deleted.IsZero():
		return record, false, r.ours(ca)
	default:
		record, err = r.bind(ctx, ca, record)
		return record, false, err
	}
}

// bind gives a CA that was retained to the object that has its name now, if that stands in the namespace which held it.
// A namespace that was made anew, perhaps by somebody else, does not inherit its predecessor's CA.
func (r *clusterCAs) bind(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record) (*authority.Record, error) {
	released := record.UID == "" // by a person, who says that it belongs here
	if !released {
		if err := r.ours(ca); err != nil {
			return nil, err
		}
	}
	identity, err := r.identity(ctx, ca)
	if err != nil {
		return nil, err
	}
	if record.NamespaceUID != identity.NamespaceUID {
		return nil, stalled(v1alpha1.ReasonAuthorityRetained,
			"the authority namespace keeps a CA of this name, which another namespace %q held before: whoever administers the PKI can give it to this one by "+
				"`clusterpki authority release %s/%s`, or destroy it by `clusterpki authority delete %s/%s`",
			ca.Namespace, ca.Namespace, ca.Name, ca.Namespace, ca.Name)
	}
	if err := r.claim(ctx, ca); err != nil {
		return nil, err
	}
	next := record.Next()
	next.Identity, next.Deleted = identity, zeroTime
	record, err = r.store.Commit(ctx, record, next)
	if err == nil {
		log.FromContext(ctx).Info("Took up a retained certificate authority", "clusterCA", klog.KObj(ca))
	}
	return record, err
}

// identity names the objects that a CA belongs to, read live.
func (b *base) identity(ctx context.Context, ca *v1alpha1.ClusterCA) (authority.Identity, error) {
	namespace, err := b.uid(ctx, "", "Namespace", ca.Namespace)
	if err != nil {
		return authority.Identity{}, err
	}
	crd, err := b.uid(ctx, "apiextensions.k8s.io", "CustomResourceDefinition", clusterCACRD)
	if err != nil {
		return authority.Identity{}, err
	}
	return authority.Identity{
		Namespace: ca.Namespace, Name: ca.Name, NamespaceUID: namespace.UID, CRDUID: crd.UID, UID: ca.UID, HomeUID: types.UID(b.authorityUID()),
	}, nil
}

// clusterCACRD is the CustomResourceDefinition of ClusterCAs.
const clusterCACRD = "clustercas.clusterpki.io"

// uid reads the metadata of an object without a namespace from the API server.
func (b *base) uid(ctx context.Context, group, kind, name string) (*metav1.PartialObjectMetadata, error) {
	o := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind}}
	if group != "" {
		o.APIVersion = group + "/v1"
	}
	if err := b.live.Get(ctx, client.ObjectKey{Name: name}, o); err != nil {
		return nil, fmt.Errorf("read %s %q: %w", kind, name, err)
	}
	return o, nil
}

// bootstrap makes the first key of a CA, or, after a tombstone, the first one again. Before that it makes sure that there
// was none: a CA that was there once and is not any more is an error for a person, never a reason to make another.
func (r *clusterCAs) bootstrap(ctx context.Context, ca *v1alpha1.ClusterCA, tombstone *authority.Record) (*authority.Record, error) {
	if err := r.home.still(ctx); err != nil {
		return nil, stalled(v1alpha1.ReasonAuthorityNotReady, "%v", err)
	}
	if err := r.ours(ca); err != nil {
		return nil, err
	}
	if tombstone == nil {
		if err := r.noTraces(ctx, ca); err != nil {
			return nil, err
		}
	}
	if err := r.claim(ctx, ca); err != nil {
		return nil, err
	}
	identity, err := r.identity(ctx, ca)
	if err != nil {
		return nil, err
	}
	was := &authority.Record{}
	if tombstone != nil {
		was = tombstone
	}
	want, err := r.want(ctx, ca, was)
	if err != nil {
		return nil, err
	}
	next := was.Next()
	next.Identity, next.Deleted = identity, zeroTime
	generation, pair, err := r.newCAKey(ctx, ca, was, want)
	if err != nil {
		return nil, err
	}
	next.Ledger = plan.Begin(r.clock.Latest(), was.Ledger, generation)
	next.CAs = map[int32]pki.CA{generation.Number: pair}
	if tombstone != nil {
		next, err = r.store.Commit(ctx, tombstone, next)
	} else {
		next, err = r.store.Create(ctx, next)
	}
	if err != nil {
		return nil, tooLarge(err)
	}
	log.FromContext(ctx).Info("Created a certificate authority", "clusterCA", klog.KObj(ca),
		"subject", pair.Cert.Subject.String(), "serialNumber", pki.SerialOf(pair.Cert), "notAfter", pair.Cert.NotAfter)
	return next, nil
}

// noTraces says, as a stall, where anything tells that the CA was there already.
func (r *clusterCAs) noTraces(ctx context.Context, ca *v1alpha1.ClusterCA) error {
	trace := ""
	switch {
	case len(ca.Status.Generations) > 0 || ca.Status.Certificate.SerialNumber != "":
		trace = "its status names a certificate"
	case restored(ca):
		trace = "a backup tool restored this object"
	}
	if trace == "" {
		cm, err := r.trustConfigMap(ctx, ca)
		if err != nil {
			return err
		}
		if cm != nil {
			trace = fmt.Sprintf("ConfigMap %q is there", cm.Name)
		}
	}
	if trace == "" {
		var err error
		if trace, err = r.issuedBefore(ctx, ca); err != nil {
			return err
		}
	}
	if trace == "" {
		return nil
	}
	return stalled(v1alpha1.ReasonAuthorityMissing,
		"this CA was there before (%s), and the authority namespace %q has no Secret %q: restore that from a backup, or run the operator with the "+
			"authority namespace that has it. To begin anew with another CA, delete what was made for the old one: this ClusterCA, ConfigMap %q, and "+
			"the objects that its certificates were issued for",
		trace, r.store.Namespace(), authority.SecretName(ca.Namespace, ca.Name), ca.TrustConfigMapName())
}

// issuedBefore says whether an object that names the CA has a certificate already.
func (r *clusterCAs) issuedBefore(ctx context.Context, ca *v1alpha1.ClusterCA) (string, error) {
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	for _, list := range []client.ObjectList{&servers, &credentials} {
		if err := r.live.List(ctx, list, client.InNamespace(ca.Namespace)); err != nil {
			return "", fmt.Errorf("look for what the CA has signed: %w", err)
		}
	}
	text := func(o v1alpha1.Object) string { return fmt.Sprintf("%s %q has a certificate", o.Kind(), o.GetName()) }
	for i := range servers.Items {
		if s := &servers.Items[i]; s.Spec.CARef.Name == ca.Name && s.Status.Certificate.SerialNumber != "" {
			return text(s), nil
		}
	}
	for i := range credentials.Items {
		if c := &credentials.Items[i]; c.Spec.CARef.Name == ca.Name && c.Status.Certificate.SerialNumber != "" {
			return text(c), nil
		}
	}
	return "", nil
}

// trustConfigMap reads what is published, from the API server itself; nil where nothing is.
func (r *clusterCAs) trustConfigMap(ctx context.Context, ca *v1alpha1.ClusterCA) (*corev1.ConfigMap, error) {
	var cm corev1.ConfigMap
	err := r.live.Get(ctx, client.ObjectKey{Namespace: ca.Namespace, Name: ca.TrustConfigMapName()}, &cm)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %q: %w", ca.TrustConfigMapName(), err)
	}
	return &cm, nil
}

// tooLarge makes a stall of a CA that cannot be stored.
func tooLarge(err error) error {
	if large, ok := errors.AsType[*authority.TooLargeError](err); ok {
		return stalled(v1alpha1.ReasonImportInvalid, "%v", large)
	}
	return err
}
