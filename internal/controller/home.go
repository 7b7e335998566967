package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/internal/authority"
)

// home is the authority namespace. It is made at the first start where the operator may do that, and taken only if nobody
// else can read there.
type home struct {
	client    client.Client // not cached
	namespace string
	own       string // the operator's namespace; "" where it runs in none
	serves    string // the namespace that it serves; "": all
	// prepare makes what stands there before the first CA; nil: nothing.
	prepare func(context.Context) error
	mu      sync.Mutex
	id      string // once it is ready
	err     error  // why it was not, when it was looked at last
	looked  time.Time
}

// reserved says whether a namespace is not for objects: who may run pods there could read the operator's token.
func (h *home) reserved(namespace string) bool { return namespace == h.namespace || namespace == h.own }

func (h *home) uid() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.id
}

// Command for a person, where the operator may not make the namespace.
const applyAuthority = "kubectl apply -k config/authority"

// ensure makes sure, once, that the namespace is there and the operator's alone. The error says what to do.
func (h *home) ensure(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.id != "" {
		return nil
	}
	if h.err != nil && time.Since(h.looked) < raceDelay { //nolint:forbidigo // how long ago; thousands of objects may wait for one namespace
		return h.err
	}
	return h.look(ctx)
}

// check is the readiness probe: `/readyz/authority-namespace` says why the namespace cannot be used.
func (h *home) check(req *http.Request) error { return h.ensure(req.Context()) }

// settle reads or makes the namespace, takes it, and returns its UID.
func (h *home) settle(ctx context.Context) (string, error) {
	ns, err := h.read(ctx)
	if err != nil {
		return "", err
	}
	if err := h.takes(ctx, ns); err != nil {
		return "", err
	}
	if h.prepare != nil {
		if err := h.prepare(ctx); err != nil {
			return "", err
		}
	}
	return string(ns.UID), nil
}

// homeChecked is how often the namespace is looked at again.
const homeChecked = time.Minute

// Start makes the namespace ready, and looks whether it stays what it is: it may be deleted, or made anew by somebody else.
func (h *home) Start(ctx context.Context) error {
	for {
		wait := homeChecked
		if err := h.again(ctx); err != nil {
			wait = raceDelay
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// NeedLeaderElection says that each replica looks for itself.
func (h *home) NeedLeaderElection() bool { return false }

// again is ensure, whatever was found before.
func (h *home) again(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.look(ctx)
}

// look keeps what it finds. That the API server did not answer says nothing about a namespace that was ready.
func (h *home) look(ctx context.Context) error {
	id, err := h.settle(ctx)
	if _, unfit := errors.AsType[*unfitError](err); err != nil && !unfit && (h.id != "" || ctx.Err() != nil) {
		return err
	}
	h.tell(ctx, err)
	h.id, h.err, h.looked = id, err, time.Now() //nolint:forbidigo // how long ago, not what time it is
	return err
}

// unfitError says why a namespace cannot be the authority's.
type unfitError struct{ text string }

func (e *unfitError) Error() string { return e.text }

func unfit(format string, args ...any) error { return &unfitError{fmt.Sprintf(format, args...)} }

// tell logs what has changed.
func (h *home) tell(ctx context.Context, err error) {
	logger := log.FromContext(ctx).WithValues("authorityNamespace", h.namespace)
	switch {
	case err == nil && h.id == "":
		logger.Info("The authority namespace is ready")
	case err != nil && (h.err == nil || h.err.Error() != err.Error()):
		logger.Info("The authority namespace is not ready", "reason", err.Error())
	}
}

// still says whether the namespace is the one that was taken: somebody could have deleted it and made another of its name
// since, and would be given the next key.
func (h *home) still(ctx context.Context) error {
	ns := &corev1.Namespace{}
	if err := h.client.Get(ctx, client.ObjectKey{Name: h.namespace}, ns); err != nil {
		return fmt.Errorf("read the authority namespace %q: %w", h.namespace, err)
	}
	if h.uid() != string(ns.UID) {
		return fmt.Errorf("the authority namespace %q was made anew (UID %s instead of %s): restore its Secrets from a backup, "+
			"and run `clusterpki authority init`", h.namespace, ns.UID, h.uid())
	}
	return nil
}

// read reads the namespace, or makes it.
func (h *home) read(ctx context.Context) (*corev1.Namespace, error) {
	ns := &corev1.Namespace{}
	err := h.client.Get(ctx, client.ObjectKey{Name: h.namespace}, ns)
	if apierrors.IsNotFound(err) && h.serves == "" {
		// An apply, because a role can allow to create a namespace of this one name only by an apply.
		apply := corev1apply.Namespace(h.namespace).WithLabels(map[string]string{"app.kubernetes.io/part-of": "clusterpki"})
		if err := h.client.Apply(ctx, apply, client.FieldOwner("clusterpki")); err != nil {
			return nil, fmt.Errorf("make the authority namespace %q: %w: create it by `%s`", h.namespace, err, applyAuthority)
		}
		err = h.client.Get(ctx, client.ObjectKey{Name: h.namespace}, ns)
	}
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return nil, unfit("the authority namespace %q is not there, or the operator may not use it: create it and its Role by `%s`",
			h.namespace, applyAuthority)
	case err != nil:
		return nil, fmt.Errorf("read the authority namespace %q: %w", h.namespace, err)
	case !ns.DeletionTimestamp.IsZero() || ns.Status.Phase == corev1.NamespaceTerminating:
		return nil, unfit("the authority namespace %q is being deleted, and the keys of all CAs with it: restore them from a backup once it is gone",
			h.namespace)
	}
	return ns, nil
}

// namespacesConfigMap records, in the operator's own namespace, which namespaces it has taken.
const namespacesConfigMap = "clusterpki-namespaces"

// takes says why a namespace must not be taken: its UID is not recorded, and others may read there, or it holds keys of an
// installation whose record is gone. Else it is recorded.
func (h *home) takes(ctx context.Context, ns *corev1.Namespace) error {
	record, err := h.recorded(ctx)
	if err != nil {
		return err
	}
	switch known := record.Data[h.namespace]; {
	case known == string(ns.UID):
		return nil
	case known != "":
		return unfit("the authority namespace %q was made anew (UID %s instead of %s): restore its Secrets from a backup and run `clusterpki authority init`",
			h.namespace, ns.UID, known)
	}
	if err := h.isAlone(ctx); err != nil {
		return err
	}
	if h.own == "" {
		return nil
	}
	if err := h.isEmpty(ctx); err != nil {
		return err
	}
	return h.record(ctx, record, ns)
}

// isAlone says who else may read the namespace.
func (h *home) isAlone(ctx context.Context) error {
	var list rbacv1.RoleBindingList
	if err := h.client.List(ctx, &list, client.InNamespace(h.namespace)); err != nil {
		return fmt.Errorf("see who may read the authority namespace %q: %w", h.namespace, err)
	}
	for _, b := range list.Items {
		for _, s := range b.Subjects {
			if s.Kind != rbacv1.ServiceAccountKind || s.Namespace != h.own || h.own == "" {
				return unfit("RoleBinding %q of the authority namespace %q gives rights there to %s %q, who is not the operator: delete it, or run "+
					"`clusterpki authority init` if that is as it should be", b.Name, h.namespace, s.Kind, s.Name)
			}
		}
	}
	return nil
}

// isEmpty says whether keys stand there already, of an installation whose own namespace is gone.
func (h *home) isEmpty(ctx context.Context) error {
	var list corev1.SecretList
	if err := h.client.List(ctx, &list, client.InNamespace(h.namespace)); err != nil {
		return fmt.Errorf("see what the authority namespace %q holds: %w", h.namespace, err)
	}
	for _, s := range list.Items {
		ours := s.Type == authority.SecretType || s.Type == authority.SealSecretType || s.Type == authority.KeySecretType
		if ours || s.Name == authority.SealSecretName || strings.HasPrefix(s.Name, "ca.") {
			return unfit("the authority namespace %q holds keys already, of an installation whose own namespace is gone: if they are yours, run "+
				"`clusterpki authority init` once", h.namespace)
		}
	}
	return nil
}

func (h *home) recorded(ctx context.Context) (*corev1.ConfigMap, error) {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: h.own, Name: namespacesConfigMap}}
	if h.own == "" {
		return cm, nil
	}
	err := h.client.Get(ctx, client.ObjectKeyFromObject(cm), cm)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read which authority namespace is the operator's: %w", err)
	}
	return cm, nil
}

func (h *home) record(ctx context.Context, cm *corev1.ConfigMap, ns *corev1.Namespace) error {
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	cm.Data[h.namespace] = string(ns.UID)
	write := func() error { return h.client.Update(ctx, cm) }
	if cm.ResourceVersion == "" {
		write = func() error { return h.client.Create(ctx, cm) }
	}
	if err := write(); err != nil {
		return fmt.Errorf("record which authority namespace is the operator's: %w", err)
	}
	return nil
}

// Init records the authority namespace as the operator's, whatever it holds and whoever may read there: `clusterpki authority
// init`, with the rights of whoever runs it.
func Init(ctx context.Context, c client.Client, own, namespace string) error {
	h := &home{client: c, namespace: namespace, own: own}
	ns, err := h.read(ctx)
	if err != nil {
		return err
	}
	cm, err := h.recorded(ctx)
	if err != nil {
		return err
	}
	return h.record(ctx, cm, ns)
}
