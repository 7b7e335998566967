// Package home looks after the authority namespace: whether it is there, is the operator's alone, and stays the one that it was.
package home

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
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
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/records"
)

// Home is the authority namespace. It is made at the first start where the operator may do that, and taken only if nobody
// else can read there.
type Home struct {
	Client    client.Client // not cached
	Namespace string
	Own       string // the operator's namespace; "" where it runs in none
	Served    string // the namespace that the operator serves; "": all
	Agents    string // the namespace of the agents' ServiceAccounts
	// Prepare makes what stands there before the first CA; nil: nothing.
	Prepare func(context.Context) error

	once    sync.Once
	looking chan struct{} // holds one, while somebody asks the API server

	mu   sync.Mutex // of what follows, and of no request
	last finding
}

// finding is what was found when the namespace was looked at.
type finding struct {
	uid string // once it is ready
	err error  // why it was not
	at  time.Time
}

// Reserved says whether a namespace is not for objects: who may run pods there could read the operator's token, or an agent's.
func (h *Home) Reserved(namespace string) bool {
	return namespace == h.Namespace || namespace == h.Own || namespace == h.Agents
}

// UID is the UID of the authority namespace, "" until it is ready.
func (h *Home) UID() string {
	return h.found().uid
}

func (h *Home) found() finding {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// Command for a person, where the operator may not make the namespace.
const applyAuthority = "kubectl apply -k config/authority"

// Ensure makes sure, once, that the namespace is there and the operator's alone. The error says what to do. Who comes while another
// looks does not wait for that longer than for its own context.
func (h *Home) Ensure(ctx context.Context) error {
	if h.found().uid != "" {
		return nil
	}
	done, err := h.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	last := h.found()
	if last.uid != "" {
		return nil
	}
	if last.err != nil && time.Since(last.at) < again { //nolint:forbidigo // how long ago; thousands of objects may wait for one namespace
		return last.err
	}
	return h.look(ctx)
}

// turn waits until nobody else looks.
func (h *Home) turn(ctx context.Context) (done func(), err error) {
	h.once.Do(func() { h.looking = make(chan struct{}, 1) })
	select {
	case h.looking <- struct{}{}:
		return func() { <-h.looking }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a look at the authority namespace %q: %w", h.Namespace, ctx.Err())
	}
}

// Check is the readiness probe: `/readyz/authority-namespace` says why the namespace cannot be used.
func (h *Home) Check(req *http.Request) error { return h.Ensure(req.Context()) }

// settle reads or makes the namespace, takes it, and returns its UID.
func (h *Home) settle(ctx context.Context) (string, error) {
	ns, err := h.read(ctx)
	if err != nil {
		return "", err
	}
	if err := h.takes(ctx, ns); err != nil {
		return "", err
	}
	if h.Prepare != nil {
		if err := h.Prepare(ctx); err != nil {
			return "", err
		}
	}
	return string(ns.UID), nil
}

// again is how soon it is looked at again while it is not ready.
const again = time.Second

// checked is how often the namespace is looked at again.
const checked = time.Minute

// Start makes the namespace ready, and looks whether it stays what it is: it may be deleted, or made anew by somebody else.
func (h *Home) Start(ctx context.Context) error {
	for {
		wait := checked
		if err := h.lookAgain(ctx); err != nil {
			wait = again
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// NeedLeaderElection says that each replica looks for itself.
func (h *Home) NeedLeaderElection() bool { return false }

// lookAgain is Ensure, whatever was found before.
func (h *Home) lookAgain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, plan.LongestWrite)
	defer cancel()
	done, err := h.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	return h.look(ctx)
}

// look keeps what it finds. That the API server did not answer says nothing about a namespace that was ready.
func (h *Home) look(ctx context.Context) error {
	uid, err := h.settle(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, unfit := errors.AsType[*unfitError](err); err != nil && !unfit && (h.last.uid != "" || ctx.Err() != nil) {
		return err
	}
	h.log(ctx, err)
	h.last = finding{uid, err, time.Now()} //nolint:forbidigo // how long ago, not what time it is
	return err
}

// unfitError says why a namespace cannot be the authority's.
type unfitError struct{ text string }

func (e *unfitError) Error() string { return e.text }

func unfit(format string, args ...any) error { return &unfitError{fmt.Sprintf(format, args...)} }

// log says what has changed.
func (h *Home) log(ctx context.Context, err error) {
	logger := log.FromContext(ctx).WithValues("authorityNamespace", h.Namespace)
	switch {
	case err == nil && h.last.uid == "":
		logger.Info("The authority namespace is ready")
	case err != nil && (h.last.err == nil || h.last.err.Error() != err.Error()):
		logger.Info("The authority namespace is not ready", "reason", err.Error())
	}
}

// Still says whether the namespace is the one that was taken: somebody could have deleted it and made another of its name
// since, and would be given the next key.
func (h *Home) Still(ctx context.Context) error {
	ns := &corev1.Namespace{}
	if err := h.Client.Get(ctx, client.ObjectKey{Name: h.Namespace}, ns); err != nil {
		return fmt.Errorf("read the authority namespace %q: %w", h.Namespace, err)
	}
	if h.UID() != string(ns.UID) {
		return fmt.Errorf("the authority namespace %q was made anew (UID %s instead of %s): restore its Secrets from a backup, "+
			"and run `clusterpki authority init`", h.Namespace, ns.UID, h.UID())
	}
	return nil
}

// read reads the namespace, or makes it.
func (h *Home) read(ctx context.Context) (*corev1.Namespace, error) {
	ns := &corev1.Namespace{}
	err := h.Client.Get(ctx, client.ObjectKey{Name: h.Namespace}, ns)
	if apierrors.IsNotFound(err) && h.Served == "" {
		// An apply, because a role can allow to create a namespace of this one name only by an apply.
		apply := corev1apply.Namespace(h.Namespace).WithLabels(map[string]string{"app.kubernetes.io/part-of": "clusterpki"})
		if err := h.Client.Apply(ctx, apply, client.FieldOwner("clusterpki")); err != nil {
			return nil, fmt.Errorf("make the authority namespace %q: %w: create it by `%s`", h.Namespace, err, applyAuthority)
		}
		err = h.Client.Get(ctx, client.ObjectKey{Name: h.Namespace}, ns)
	}
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return nil, unfit("the authority namespace %q is not there, or the operator may not use it: create it and its Role by `%s`",
			h.Namespace, applyAuthority)
	case err != nil:
		return nil, fmt.Errorf("read the authority namespace %q: %w", h.Namespace, err)
	case !ns.DeletionTimestamp.IsZero() || ns.Status.Phase == corev1.NamespaceTerminating:
		return nil, unfit("the authority namespace %q is being deleted, and the keys of all CAs with it: restore them from a backup once it is gone",
			h.Namespace)
	}
	return ns, nil
}

// namespacesConfigMap records, in the operator's own namespace, which namespaces it has taken.
const namespacesConfigMap = "clusterpki-namespaces"

// takes says why a namespace must not be taken: its UID is not recorded, and others may read there, or it holds keys of an
// installation whose record is gone. Else it is recorded.
func (h *Home) takes(ctx context.Context, ns *corev1.Namespace) error {
	record, err := h.recorded(ctx)
	if err != nil {
		return err
	}
	switch known := record.Data[h.Namespace]; {
	case known == string(ns.UID):
		return nil
	case known != "":
		return unfit("the authority namespace %q was made anew (UID %s instead of %s): restore its Secrets from a backup and run `clusterpki authority init`",
			h.Namespace, ns.UID, known)
	}
	if err := h.isAlone(ctx); err != nil {
		return err
	}
	if h.Own == "" {
		return nil
	}
	if err := h.isEmpty(ctx); err != nil {
		return err
	}
	return h.record(ctx, record, ns)
}

// isAlone says who else may read the namespace.
func (h *Home) isAlone(ctx context.Context) error {
	var list rbacv1.RoleBindingList
	if err := h.Client.List(ctx, &list, client.InNamespace(h.Namespace)); err != nil {
		return fmt.Errorf("see who may read the authority namespace %q: %w", h.Namespace, err)
	}
	for _, b := range list.Items {
		for _, s := range b.Subjects {
			if s.Kind != rbacv1.ServiceAccountKind || s.Namespace != h.Own || h.Own == "" {
				return unfit("RoleBinding %q of the authority namespace %q gives rights there to %s %q, who is not the operator: delete it, or run "+
					"`clusterpki authority init` if that is as it should be", b.Name, h.Namespace, s.Kind, s.Name)
			}
		}
	}
	return nil
}

// isEmpty says whether keys stand there already, of an installation whose own namespace is gone.
func (h *Home) isEmpty(ctx context.Context) error {
	var list corev1.SecretList
	if err := h.Client.List(ctx, &list, client.InNamespace(h.Namespace)); err != nil {
		return fmt.Errorf("see what the authority namespace %q holds: %w", h.Namespace, err)
	}
	for _, s := range list.Items {
		types := []corev1.SecretType{
			authority.SecretType, authority.SealSecretType, authority.KeySecretType, authority.DeliverySecretType, authority.FamilySecretType,
			authority.AccountKeysSecretType, records.SecretType,
		}
		ours := func(prefix string) bool { return strings.HasPrefix(s.Name, prefix) }
		names := []string{"ca.", "sak.", "cpki.", "key.", "delivery.", "issued."}
		if slices.Contains(types, s.Type) || s.Name == authority.SealSecretName || slices.ContainsFunc(names, ours) {
			return unfit("the authority namespace %q holds keys already, of an installation whose own namespace is gone: if they are yours, run "+
				"`clusterpki authority init` once", h.Namespace)
		}
	}
	return nil
}

func (h *Home) recorded(ctx context.Context) (*corev1.ConfigMap, error) {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: h.Own, Name: namespacesConfigMap}}
	if h.Own == "" {
		return cm, nil
	}
	err := h.Client.Get(ctx, client.ObjectKeyFromObject(cm), cm)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read which authority namespace is the operator's: %w", err)
	}
	return cm, nil
}

func (h *Home) record(ctx context.Context, cm *corev1.ConfigMap, ns *corev1.Namespace) error {
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	cm.Data[h.Namespace] = string(ns.UID)
	write := func() error { return h.Client.Update(ctx, cm) }
	if cm.ResourceVersion == "" {
		write = func() error { return h.Client.Create(ctx, cm) }
	}
	if err := write(); err != nil {
		return fmt.Errorf("record which authority namespace is the operator's: %w", err)
	}
	return nil
}

// Init records the authority namespace as the operator's, whatever it holds and whoever may read there: `clusterpki authority
// init`, with the rights of whoever runs it.
func Init(ctx context.Context, c client.Client, own, namespace string) error {
	h := &Home{Client: c, Namespace: namespace, Own: own}
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
