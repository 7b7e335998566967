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
	"clusterpki.io/operator/internal/pki"
)

// +kubebuilder:rbac:groups=clusterpki.io,resources=clustercas;apiservercertificates;nodecredentials,verbs=get;list;watch
// +kubebuilder:rbac:groups=clusterpki.io,resources=clustercas/status;apiservercertificates/status;nodecredentials/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;update
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// nodeCredentials reconciles NodeCredentials.
type nodeCredentials struct{ base }

// Reconcile brings one NodeCredential's Secrets to what its spec asks for.
func (r *nodeCredentials) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var c v1alpha1.NodeCredential
	if found, err := r.get(ctx, req, &c); !found {
		return ctrl.Result{}, err
	}
	l := leaf{
		owner: &c, kind: kindNodeCredential, secret: c.TLSSecretName(), ca: c.Spec.CARef.Name,
		lease: c.LeaseName(), host: c.Spec.HostName, deliver: c.Spec.Delivery,
	}
	l.desired, l.invalid = desiredCredential(&c)

	var st leafState
	var k kubeconfigState
	var leaseErr error
	seen, err := r.cachedSecret(ctx, c.Namespace, l.secret)
	if err == nil {
		err = r.claim(ctx, &l, l.secret)
	}
	if err == nil {
		leaseErr = r.heed(ctx, &l)
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
	if err := r.claim(ctx, &l, name); err != nil {
		return kubeconfigState{}, err
	}
	seen, err := r.cachedSecret(ctx, c.Namespace, name)
	if err != nil {
		return kubeconfigState{}, err
	}
	if seen != nil && !l.mine(seen) {
		return kubeconfigState{}, conflict("Secret", name)
	}
	k := kubeconfigState{known: true, exists: seen != nil}
	if seen != nil {
		k.stored = seen.Data[corev1.TLSCertKey]
	}
	held := holdingIn(seen)
	api, server, err := r.server(ctx, c, *st, held, &k)
	if err != nil || server.bundle == nil {
		return k, err
	}
	w, err := r.kubeconfigSecret(c, l, *st, api.Spec.Endpoint, server, seen)
	if err != nil {
		return k, err
	}
	err = r.ensureSecret(ctx, c, seen, w)
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
	ctx context.Context, c *v1alpha1.NodeCredential, st leafState, held holding, k *kubeconfigState,
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
		if iss, err = r.issuer(ctx, c.Namespace, api.Spec.CARef.Name, held.Trust[bundleKey]); err != nil {
			return api, issuer{}, err
		}
	}
	if iss.bundle == nil {
		k.reason, k.blocked = iss.reason, iss.message
	}
	return api, iss, nil
}

// kubeconfigSecret is the Secret as it should be.
func (r *nodeCredentials) kubeconfigSecret(
	c *v1alpha1.NodeCredential, l leaf, st leafState, endpoint string, server issuer, seen *corev1.Secret,
) (wanted, error) {
	pair := st.observed.Pair
	data, absent, err := kubeconfigData(c, endpoint, server.bundle, pair)
	if err != nil {
		return wanted{}, err
	}
	was, h := holdingIn(seen), holding{Issuer: st.facts.issuer, Generation: st.facts.generation}
	h.put(bundleKey, server.rendered(), was, data)
	facts, err := h.dated(seen, data, was.Issuer == h.Issuer && was.Generation == h.Generation, l.said).facts()
	return wanted{name: c.KubeconfigSecretName(), kind: kindNodeCredential, typ: corev1.SecretTypeOpaque, data: data, absent: absent, facts: facts}, err
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
	return r.conclude(ctx, before, c, &c.Status.Conditions, &c.Status.ObservedGeneration, rep, out)
}
