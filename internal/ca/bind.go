package ca

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/limits"
	"clusterpki.io/operator/internal/stall"
)

// bind gives a CA that was retained to the object that has its name now, if that stands in the namespace which held it.
// A namespace that was made anew, perhaps by somebody else, does not inherit its predecessor's CA.
func (m *Maker) bind(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record) (*authority.Record, error) {
	released := record.UID == "" // by a person, who says that it belongs here
	if !released {
		if err := m.Home.Serves(ca); err != nil {
			return nil, err
		}
	}
	identity, err := m.identity(ctx, ca)
	if err != nil {
		return nil, err
	}
	if record.NamespaceUID != identity.NamespaceUID {
		return nil, stall.Because(v1alpha1.ReasonAuthorityRetained,
			"the authority namespace keeps a CA of this name, which another namespace %q held before: whoever administers the PKI can give it to this one by "+
				"`clusterpki authority release %s/%s`, or destroy it by `clusterpki authority delete %s/%s`",
			ca.Namespace, ca.Namespace, ca.Name, ca.Namespace, ca.Name)
	}
	if err := m.enter(ctx, ca); err != nil {
		return nil, err
	}
	next := record.Next()
	next.Identity, next.Deleted = identity, time.Time{}
	record, err = m.Store.Commit(ctx, record, next)
	if err == nil {
		log.FromContext(ctx).Info("Took up a retained certificate authority", "clusterCA", klog.KObj(ca))
	}
	return record, err
}

// identity names the objects that a CA belongs to, read live.
func (m *Maker) identity(ctx context.Context, ca *v1alpha1.ClusterCA) (authority.Identity, error) {
	namespace, err := m.uid(ctx, "", "Namespace", ca.Namespace)
	if err != nil {
		return authority.Identity{}, err
	}
	crd, err := m.uid(ctx, "apiextensions.k8s.io", "CustomResourceDefinition", clusterCACRD)
	if err != nil {
		return authority.Identity{}, err
	}
	return authority.Identity{
		Namespace: ca.Namespace, Name: ca.Name, NamespaceUID: namespace.UID, CRDUID: crd.UID, UID: ca.UID, HomeUID: types.UID(m.Home.UID()),
	}, nil
}

// clusterCACRD is the CustomResourceDefinition of ClusterCAs.
const clusterCACRD = "clustercas.clusterpki.io"

// uid reads the metadata of an object without a namespace from the API server.
func (m *Maker) uid(ctx context.Context, group, kind, name string) (*metav1.PartialObjectMetadata, error) {
	o := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind}}
	if group != "" {
		o.APIVersion = group + "/v1"
	}
	if err := m.Live.Get(ctx, client.ObjectKey{Name: name}, o); err != nil {
		return nil, fmt.Errorf("read %s %q: %w", kind, name, err)
	}
	return o, nil
}

// enter enters this installation as the one, of several, that has the CA: the one whose authority namespace the status names. The write fails if
// anybody wrote in between; and where there is nothing to write, the ClusterCA is read live: it may be another one by now.
func (m *Maker) enter(ctx context.Context, ca *v1alpha1.ClusterCA) error {
	own := m.Home.UID()
	if ca.Status.Authority.NamespaceUID == own {
		return m.ensureFresh(ctx, ca)
	}
	before := ca.DeepCopy()
	ca.Status.Authority.NamespaceUID = own
	if _, err := limits.PatchStatus(ctx, m.Client, before, ca); err != nil {
		return fmt.Errorf("enter the authority namespace into the status: %w", err)
	}
	m.Wrote.Updated(ca.Kind(), ca)
	return nil
}

// ensureFresh says, as a lost race, where the API server has another spec than a decision was made from. That the ledger is the
// same is what its resourceVersion is for.
func (m *Maker) ensureFresh(ctx context.Context, ca *v1alpha1.ClusterCA) error {
	var now v1alpha1.ClusterCA
	if err := m.Live.Get(ctx, client.ObjectKeyFromObject(ca), &now); err != nil {
		return fmt.Errorf("read the ClusterCA again: %w", err)
	}
	if now.UID != ca.UID || now.Generation != ca.Generation || !now.DeletionTimestamp.IsZero() {
		kind := schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "clustercas"}
		return fmt.Errorf("decide again: %w", apierrors.NewConflict(kind, ca.Name, errOutdated))
	}
	return nil
}

var errOutdated = errors.New("it was changed in the meantime")
