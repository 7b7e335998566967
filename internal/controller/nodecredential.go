package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
)

// +kubebuilder:rbac:groups=clusterpki.io,resources=clustercas;apiservercertificates;nodecredentials,verbs=get;list;watch
// +kubebuilder:rbac:groups=clusterpki.io,resources=clustercas/status;apiservercertificates/status;nodecredentials/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;update;patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;patch
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get
// +kubebuilder:rbac:groups="",resources=namespaces,resourceNames=clusterpki-authority,verbs=create;patch
// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,resourceNames=clustercas.clusterpki.io,verbs=get
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings,verbs=list
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// nodeCredentials reconciles NodeCredentials.
type nodeCredentials struct{ base }

// Reconcile brings one NodeCredential's Secrets to what its spec asks for.
func (r *nodeCredentials) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var c v1alpha1.NodeCredential
	if found, err := r.get(ctx, req, &c); !found {
		return skipped(err)
	}
	l := leaf{
		owner: &c, secret: c.TLSSecretName(), ca: c.Spec.CARef.Name,
		lease: c.LeaseName(), host: c.Spec.HostName, deliver: c.Spec.Delivery,
	}
	l.desired, l.invalid = desiredCredential(&c)

	var st leafState
	var k kubeconfigState
	var leaseErr error
	seen, err := r.cachedSecret(ctx, c.Namespace, l.secret)
	if err == nil {
		l.keeper, err = r.keeper(ctx, c.Namespace)
	}
	if err == nil {
		err = r.servedElsewhere(ctx, c.Namespace, l.ca)
	}
	if err == nil {
		leaseErr = r.attendLease(ctx, &l)
		err = r.findKey(ctx, &c, &l, seen)
	}
	if err == nil {
		st, err = r.reconcileLeaf(ctx, l, seen)
	}
	if c.Spec.Kubeconfig != nil && (err == nil || isStall(err)) && st.observed != nil && st.observed.Err == nil {
		var kerr error
		if k, kerr = r.reconcileKubeconfig(ctx, &c, l, &st); err == nil {
			err = kerr
		}
	}
	if err == nil {
		err = leaseErr
	}
	return r.finish(ctx, &c, l, st, k, err)
}

// kubeconfigState is how a credential's kubeconfig stands.
type kubeconfigState struct {
	known   bool // whether the rest was looked at
	exists  bool
	stored  []byte // the certificate that it holds
	blocked string // why it was not rendered now
	reason  string
}

// reconcileKubeconfig renders the kubeconfig Secret from the leaf as it is. The key is never touched.
func (r *nodeCredentials) reconcileKubeconfig(ctx context.Context, c *v1alpha1.NodeCredential, l leaf, st *leafState) (kubeconfigState, error) {
	name := c.KubeconfigSecretName()
	seen, err := r.cachedSecret(ctx, c.Namespace, name)
	if err != nil {
		return kubeconfigState{}, err
	}
	if seen != nil {
		if err := l.keeper.Check(ctx, ownerOf(c), seen); err != nil {
			return kubeconfigState{}, conflict(err)
		}
	}
	k := kubeconfigState{known: true, exists: seen != nil}
	if seen != nil {
		k.stored = seen.Data[corev1.TLSCertKey]
	}
	api, server, err := r.server(ctx, c, *st, l.claimOf(seen), &k)
	if err != nil || server.bundle == nil {
		return k, err
	}
	w, err := kubeconfigSecret(c, *st, api.Spec.Endpoint, server)
	if err != nil {
		return k, err
	}
	err = r.writeProduct(ctx, l, seen, w)
	if seen == nil && apierrors.IsAlreadyExists(err) {
		err = r.unexpected(ctx, l, name, err)
	}
	if err == nil {
		k.exists, k.stored = true, w.data[corev1.TLSCertKey]
	}
	return k, err
}

// server returns the API server that a credential is for, and the CA that signs for it. A nil bundle means that they are not to be had now, and k says why.
func (r *nodeCredentials) server(
	ctx context.Context, c *v1alpha1.NodeCredential, st leafState, held consumers.Claim, k *kubeconfigState,
) (v1alpha1.APIServerCertificate, issuer, error) {
	var api v1alpha1.APIServerCertificate
	if c.Spec.APIServerRef == nil {
		return api, issuer{}, stalled(v1alpha1.ReasonInvalidSpec, "spec.apiServerRef must be set where spec.kubeconfig is")
	}
	err := r.client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.Spec.APIServerRef.Name}, &api)
	if apierrors.IsNotFound(err) {
		k.reason, k.blocked = v1alpha1.ReasonIssuerNotFound, fmt.Sprintf("APIServerCertificate %q does not exist", c.Spec.APIServerRef.Name)
		return api, issuer{}, nil
	}
	if err != nil {
		return api, issuer{}, fmt.Errorf("read APIServerCertificate %q: %w", c.Spec.APIServerRef.Name, err)
	}
	if !slices.Contains(api.ClientCANames(), c.Spec.CARef.Name) {
		return api, issuer{}, stalled(v1alpha1.ReasonClientCANotTrusted,
			"APIServerCertificate %q does not authenticate clients of ClusterCA %q: add it to its clientCARefs, or change caRef", api.Name, c.Spec.CARef.Name)
	}
	if err := endpointCovered(&api); err != nil {
		return api, issuer{}, err
	}
	iss := st.issuer // where it issued, read just now
	if !st.issued || api.Spec.CARef.Name != c.Spec.CARef.Name {
		if iss, err = r.issuer(ctx, c.Namespace, api.Spec.CARef.Name, held.Revisions()); err != nil {
			return api, issuer{}, err
		}
	}
	if iss.bundle == nil {
		k.reason, k.blocked = iss.reason, iss.message
	}
	return api, iss, nil
}

// kubeconfigSecret is the Secret as it should be.
func kubeconfigSecret(c *v1alpha1.NodeCredential, st leafState, endpoint string, server issuer) (product, error) {
	data, absent, err := kubeconfigData(c, endpoint, server.bundle, st.observed.Pair)
	return product{
		name: c.KubeconfigSecretName(), typ: corev1.SecretTypeOpaque, data: data, absent: absent,
		bundles: map[string]rendered{bundleKey: server.rendered()}, claim: consumers.Claim{Issuer: st.claim.Issuer, Generation: st.claim.Generation},
	}, err
}

// unusable says why a kubeconfig, as it is stored, cannot be used.
func (k kubeconfigState) unusable(now time.Time) error {
	if !k.exists {
		return errors.New("the kubeconfig is not rendered yet")
	}
	certs, err := pki.ParseCertificates(k.stored)
	if err != nil {
		return fmt.Errorf("the kubeconfig holds no readable certificate: %w", err)
	}
	if !now.Before(certs[0].NotAfter) {
		return errors.New("the certificate in the kubeconfig has expired")
	}
	return nil
}

// outdated says whether a stored kubeconfig holds another certificate than the credential's Secret.
func (k kubeconfigState) outdated(st leafState) bool {
	return k.exists && st.observed != nil && st.observed.Err == nil && string(k.stored) != string(st.observed.Pair.CertPEM())
}

// finish writes the status and says when to look again.
func (r *nodeCredentials) finish(ctx context.Context, c *v1alpha1.NodeCredential, l leaf, st leafState, k kubeconfigState, err error) (ctrl.Result, error) {
	rep := r.leafReport(l, st, err)
	awaitRequest(c, st, &rep)
	if c.Spec.Kubeconfig != nil {
		rep.message = fmt.Sprintf("the certificate is in Secret %q, the kubeconfig in Secret %q", l.secret, c.KubeconfigSecretName())
		if k.blocked != "" && st.issuer.reason == v1alpha1.ReasonIssuerAvailable {
			rep.issuer = &issuer{reason: k.reason, message: k.blocked}
		}
		if rep.unusable == nil && k.known {
			rep.unusable = k.unusable(r.clock.Now())
		}
		if k.known && rep.waiting == "" && k.outdated(st) {
			rep.waiting = "the kubeconfig still holds the previous certificate: " + k.blocked
		}
	}
	if c.Spec.Role == v1alpha1.RoleHost {
		role, _ := pki.LookupRole(string(c.Spec.Role))
		rep.warnings = append(rep.warnings, metav1.Condition{
			Type: v1alpha1.IdentityWarningCondition, Status: metav1.ConditionTrue,
			Reason: v1alpha1.ReasonHostIdentity, Message: role.Warning,
		})
	}
	said, ackErr := r.acknowledged(ctx, l, c.Spec.HostName, l.secret, c.KubeconfigSecretName())
	rep.warnings = append(rep.warnings, said...)
	if rep.err == nil {
		rep.err = ackErr
	}
	before := c.DeepCopy()
	c.Status.Certificate, c.Status.Revision = leafCertificate(l, st, c.Status.Certificate)
	out := st.outcome(l, r.clock.Now())
	if k.blocked != "" {
		out.nextCheck = sooner(out.nextCheck, r.clock.Now().Add(stalledDelay))
	}
	return r.conclude(ctx, before, c, rep, out)
}
