package controller

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
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
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/stall"
	"clusterpki.io/operator/internal/visits"
)

// +kubebuilder:rbac:groups=clusterpki.io,resources=clustercas;serviceaccountkeys;apiservercertificates;nodecredentials,verbs=get;list;watch
// +kubebuilder:rbac:groups=clusterpki.io,resources=clustercas/status;serviceaccountkeys/status;apiservercertificates/status;nodecredentials/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;update;patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;patch
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get
// +kubebuilder:rbac:groups="",resources=namespaces,resourceNames=clusterpki-authority,verbs=create;patch
// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,resourceNames=clustercas.clusterpki.io,verbs=get
// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,resourceNames=serviceaccountkeys.clusterpki.io,verbs=get
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings,verbs=list
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// nodeCredentials reconciles NodeCredentials.
type nodeCredentials struct {
	base
	settled *visits.Settled
}

// Reconcile brings one NodeCredential's Secrets to what its spec asks for.
func (r *nodeCredentials) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var c v1alpha1.NodeCredential
	if found, err := r.get(ctx, req, &c); !found {
		r.settled.Note(req.NamespacedName, [sha256.Size]byte{}, false, zeroTime)
		return skipped(err)
	}
	inputs, unknown := r.inputs(ctx, &c)
	if errors.Is(unknown, owned.ErrBehind) {
		return r.result(unknown, zeroTime)
	}
	if result, same := r.settled.Unchanged(req.NamespacedName, inputs, r.clock.Now()); same && unknown == nil {
		return result, nil
	}
	view, err := r.reconcile(ctx, &c)
	err = refused(err)
	result, failed := r.finish(ctx, &c, view, err)
	settled, until := visits.SettledAfter(&c, r.clock.Now(), result, stall.First(err, failed, unknown))
	r.settled.Note(req.NamespacedName, inputs, settled, until)
	return result, failed
}

// credentialView is how a credential stands at the end of a reconciliation, as far as that is known.
type credentialView struct {
	asked      leaf.Request
	agent      reported
	key        keySource
	turn       *turn // nil: nothing was asked for
	leaf       leaf.State
	kubeconfig kubeconfigState
}

// reconcile makes the credential's Secrets. An error of the Lease keeps nothing from being issued.
func (r *nodeCredentials) reconcile(ctx context.Context, c *v1alpha1.NodeCredential) (credentialView, error) {
	v := credentialView{asked: leaf.Request{Owner: c, Secret: c.TLSSecretName(), CA: c.Spec.CARef.Name}}
	v.asked.Desired, v.asked.Invalid = desired.Credential(c)
	existing, err := r.secrets.Cached(ctx, c.Namespace, v.asked.Secret)
	if err != nil {
		return v, err
	}
	if v.asked.Keeper, err = r.keeper(ctx, c.Namespace); err != nil {
		return v, err
	}
	if err := r.servedElsewhere(ctx, c.Namespace, v.asked.CA); err != nil {
		return v, err
	}
	if v.asked.Invalid, err = denied(v.asked.Invalid, func() error { return r.mayHave(ctx, c, v.asked) }); err != nil {
		return v, err
	}
	agent, leaseErr := r.attendLease(ctx, attended{c, v.asked.Keeper, c.LeaseName(), c.Spec.HostName, c.Spec.Delivery})
	v.agent, v.asked.Acknowledgment = agent, agent.acknowledgment
	key, err := r.findKey(ctx, c, v.asked, existing, agent)
	v.key, v.asked.ApprovedKey = key, key.approved
	v.asked.ExternalKey, v.asked.Desired.KeyOnHost, v.asked.Desired.HostKey, v.asked.Invalid = key.external, key.onHost, key.public, key.invalid
	if err != nil {
		return v, err
	}
	v.turn = r.turnOf(ctx, agent.delivery, leaf.ClaimOf(v.asked.Keeper, existing))
	v.asked.Awaits = v.turn.awaits
	v.asked.Absent = []string{consumers.ServerBundleKey}
	if c.Spec.Delivery.Mode == v1alpha1.DeliveryAgent {
		if v.asked.Delivery, v.asked.Absent, err = r.delivered(ctx, c, leaf.ClaimOf(v.asked.Keeper, existing)); err != nil {
			return v, err
		}
		v.asked.Delivery.Taken = agent.taken()
	}
	v.leaf, err = r.leaves.Make(ctx, v.asked, existing)
	v.kubeconfig, err = r.reconcileBeside(ctx, c, v, err)
	return v, stall.First(err, v.turn.err, leaseErr)
}

// reconcileBeside makes what holds the leaf beside its own Secret: the kubeconfig, and the outputs. err is that of the leaf: what is there of one that is
// stalled is still looked after.
func (r *nodeCredentials) reconcileBeside(ctx context.Context, c *v1alpha1.NodeCredential, v credentialView, err error) (k kubeconfigState, _ error) {
	if err != nil && !stall.Is(err) || !v.leaf.Renderable() {
		return k, err
	}
	if c.Spec.Kubeconfig != nil {
		beside := v.asked
		if c.Spec.Delivery.Mode == v1alpha1.DeliveryAgent { // the host renders its own, and nobody acknowledges this one
			beside.Acknowledgment = consumers.Undelivered
		}
		var kerr error
		if k, kerr = r.reconcileKubeconfig(ctx, c, beside, v.leaf); kerr != nil && !stall.Is(kerr) {
			return k, stall.First(err, kerr)
		}
		err = stall.First(err, kerr)
	}
	if len(c.Spec.Outputs) > 0 {
		err = stall.First(err, r.reconcileOutputs(ctx, c, v.asked, v.leaf))
	}
	return k, err
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
func (r *nodeCredentials) reconcileKubeconfig(ctx context.Context, c *v1alpha1.NodeCredential, l leaf.Request, st leaf.State) (kubeconfigState, error) {
	name := c.KubeconfigSecretName()
	existing, err := r.secrets.Cached(ctx, c.Namespace, name)
	if err != nil {
		return kubeconfigState{}, err
	}
	if existing != nil {
		if err := l.Keeper.Check(ctx, c, existing); err != nil {
			return kubeconfigState{}, leaf.Conflict(err)
		}
	}
	k := kubeconfigState{known: true, exists: existing != nil}
	if existing != nil {
		k.stored = existing.Data[corev1.TLSCertKey]
	}
	api, server, err := r.server(ctx, c, st, leaf.ClaimOf(l.Keeper, existing), &k)
	if err != nil || server.Bundle == nil {
		return k, err
	}
	w, err := r.kubeconfigSecret(c, l, st, desired.EndpointFor(c, &api), server)
	if err != nil {
		return k, err
	}
	if err = r.leaves.Write(ctx, l, existing, w); err == nil {
		k.exists, k.stored = true, w.Data[corev1.TLSCertKey]
		err = leaf.TypeDiffers(existing, w.Type) // what is there has been looked after
	}
	return k, err
}

// server returns the API server that a credential is for, and the CA that signs for it. A nil bundle means that they are not to be had now, and k says why.
func (r *nodeCredentials) server(
	ctx context.Context, c *v1alpha1.NodeCredential, st leaf.State, claim consumers.Claim, k *kubeconfigState,
) (v1alpha1.APIServerCertificate, leaf.Issuer, error) {
	api, blocked, err := r.apiServer(ctx, c)
	if err != nil || blocked != "" {
		k.reason, k.blocked = v1alpha1.ReasonIssuerNotFound, blocked
		return api, leaf.Issuer{}, err
	}
	iss := st.Issuer // where it issued, read just now
	if !st.Issued || api.Spec.CARef.Name != c.Spec.CARef.Name {
		if iss, err = r.leaves.Read(ctx, c.Namespace, api.Spec.CARef.Name, claim.Revisions()); err != nil {
			return api, leaf.Issuer{}, err
		}
	}
	if iss.Bundle == nil {
		k.reason, k.blocked = iss.Reason, iss.Message
	}
	return api, iss, nil
}

// apiServer is the one that a credential is for, or why it is not to be had now.
func (r *nodeCredentials) apiServer(ctx context.Context, c *v1alpha1.NodeCredential) (api v1alpha1.APIServerCertificate, blocked string, err error) {
	if c.Spec.APIServerRef == nil {
		return api, "", stall.Because(v1alpha1.ReasonInvalidSpec, "spec.apiServerRef must be set where spec.kubeconfig is")
	}
	err = r.client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.Spec.APIServerRef.Name}, &api)
	if apierrors.IsNotFound(err) {
		return api, fmt.Sprintf("APIServerCertificate %q does not exist", c.Spec.APIServerRef.Name), nil
	}
	if err != nil {
		return api, "", fmt.Errorf("read APIServerCertificate %q: %w", c.Spec.APIServerRef.Name, err)
	}
	if !slices.Contains(api.ClientCANames(), c.Spec.CARef.Name) {
		return api, "", stall.Because(v1alpha1.ReasonClientCANotTrusted,
			"APIServerCertificate %q does not authenticate clients of ClusterCA %q: add it to its clientCARefs, or change caRef", api.Name, c.Spec.CARef.Name)
	}
	return api, "", desired.EndpointCovered(&api)
}

// kubeconfigSecret is the Secret as it should be. Where the key is on the host there is none here, and no kubeconfig that holds
// it. The embedded form is compared with a placeholder in place of the key.
func (r *nodeCredentials) kubeconfigSecret(
	c *v1alpha1.NodeCredential, l leaf.Request, st leaf.State, endpoint desired.Endpoint, server leaf.Issuer,
) (leaf.Product, error) {
	cert := st.Observed.Leaf.CertPEM()
	files, err := desired.FilesKubeconfig(c, endpoint)
	if err != nil {
		return leaf.Product{}, stall.Because(v1alpha1.ReasonInvalidSpec, "spec.kubeconfig: %v", err)
	}
	out := leaf.Product{
		Name: c.KubeconfigSecretName(), Type: corev1.SecretTypeOpaque,
		Data:    map[string][]byte{corev1.TLSCertKey: cert, consumers.FilesKubeconfigKey: files},
		Bundles: map[string]leaf.Rendered{bundleKey: server.Rendered()}, Claim: consumers.Claim{Issuer: st.Claim.Issuer, Generation: st.Claim.Generation},
	}
	if st.Key == nil {
		out.Absent = []string{consumers.KubeconfigKey, corev1.TLSPrivateKeyKey}
		return out, nil
	}
	placeholder := []byte(rand.Text()) // nobody's text holds it
	text, err := desired.EmbeddedKubeconfig(c, endpoint, server.Bundle, cert, placeholder)
	if err != nil {
		return leaf.Product{}, err
	}
	key := r.leaves.PrivateKey(l, st)
	out.Private = map[string]leaf.Private{
		corev1.TLSPrivateKeyKey: key,
		consumers.KubeconfigKey: {Digest: owned.EmbeddedDigest(text, placeholder), Get: func(ctx context.Context) ([]byte, error) {
			value, err := key.Get(ctx)
			if err != nil {
				return nil, err
			}
			return desired.EmbeddedKubeconfig(c, endpoint, server.Bundle, cert, value)
		}},
	}
	return out, nil
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
func (k kubeconfigState) outdated(st leaf.State) bool {
	return k.exists && st.Readable() && string(k.stored) != string(st.Observed.Leaf.CertPEM())
}

// finish writes the status and says when to look again.
func (r *nodeCredentials) finish(ctx context.Context, c *v1alpha1.NodeCredential, v credentialView, err error) (ctrl.Result, error) {
	l, st, k := v.asked, v.leaf, v.kubeconfig
	rep := r.leafReport(ctx, l, st, err)
	awaitRequest(c, st, v.key, &rep)
	if c.Spec.Kubeconfig != nil {
		rep.message = fmt.Sprintf("the certificate is in Secret %q, the kubeconfig in Secret %q", l.Secret, c.KubeconfigSecretName())
		if k.blocked != "" && st.Issuer.Reason == v1alpha1.ReasonIssuerAvailable {
			rep.issuer = &leaf.Issuer{Reason: k.reason, Message: k.blocked}
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
	acknowledged, ackErr := r.acknowledged(ctx, c.Namespace, v.agent, l.Secret)
	rep.warnings = append(rep.warnings, acknowledged...)
	if rep.err == nil {
		rep.err = ackErr
	}
	before := c.DeepCopy()
	c.Status.Certificate, c.Status.Revision = leafCertificate(l, st, c.Status.Certificate, c.Status.Revision)
	c.Status.Delivery, c.Status.AgentVersion = deliveryOf(c, acknowledged), v.agent.version()
	c.Status.Endpoint = r.endpointInUse(ctx, c, v, rep.err)
	out := leafOutcome(st, v.agent, r.clock.Now())
	if k.blocked != "" {
		out.nextCheck = sooner(out.nextCheck, r.clock.Now().Add(stalledDelay))
	}
	if v.turn != nil && v.turn.waits {
		out.nextCheck = sooner(out.nextCheck, r.clock.Now().Add(r.poll))
	}
	return r.conclude(ctx, before, c, rep, out)
}
