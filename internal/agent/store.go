package agent

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
)

// store holds the host's Secrets as they were last seen. It outlives the connections that fill it.
type store struct {
	mu      sync.Mutex
	secrets map[string]*corev1.Secret
	unread  map[string]string
	changed chan struct{} // gets a value when something did
}

func newStore() *store {
	return &store{secrets: map[string]*corev1.Secret{}, unread: map[string]string{}, changed: make(chan struct{}, 1)}
}

// facts are what is known now.
func (st *store) facts() facts {
	st.mu.Lock()
	defer st.mu.Unlock()
	return facts{secrets: maps.Clone(st.secrets), unread: maps.Clone(st.unread)}
}

// known says whether a Secret was asked for, and what came of it.
func (st *store) known(name string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.secrets[name] != nil || st.unread[name] != ""
}

// version tells states of some Secrets apart.
func (st *store) version(names []string) string {
	st.mu.Lock()
	defer st.mu.Unlock()
	var out []string
	for _, name := range names {
		if s := st.secrets[name]; s != nil {
			out = append(out, s.ResourceVersion)
		}
	}
	return strings.Join(out, "/")
}

// explain notes why a Secret cannot be read now.
func (st *store) explain(name, why string) {
	st.mu.Lock()
	known := st.secrets[name] != nil
	st.mu.Unlock()
	if !known {
		st.put(name, nil, why)
	}
}

// put enters a Secret, or why there is none.
func (st *store) put(name string, s *corev1.Secret, why string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if s == nil {
		if st.secrets[name] == nil && st.unread[name] == why {
			return
		}
		delete(st.secrets, name)
		st.unread[name] = why
	} else {
		if was := st.secrets[name]; was != nil && was.ResourceVersion == s.ResourceVersion {
			return
		}
		s.ManagedFields = nil
		st.secrets[name] = s
	}
	select {
	case st.changed <- struct{}{}:
	default: // somebody has yet to notice the last one
	}
}

// follow watches every Secret of the objects, each by its name, until the session ends. None is listed: a host may not.
func (st *store) follow(s *session, objects []object, clk clock.Clock, log logr.Logger) {
	for _, o := range objects {
		for _, name := range o.secrets {
			f := follower{store: st, session: s, name: name, api: s.secrets, clock: clk, log: log}
			go f.run(s.ctx)
		}
	}
}

// follower follows one Secret.
type follower struct {
	store   *store
	session *session
	name    string
	api     secretsAPI
	clock   clock.Clock
	log     logr.Logger
}

func (f follower) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		began := f.clock.Now()
		err := f.once(ctx)
		f.session.check(err)
		if err == nil || f.clock.Since(began) > lastAttempt {
			failures = 0
		}
		if failures++; failures == 1 && err != nil && !errors.Is(err, errWatchEnded) && ctx.Err() == nil {
			f.log.Info("Could not read", "secret", f.name, "problem", err.Error())
		}
		timer := f.clock.NewTimer(backoff(failures, firstAttempt, lastAttempt))
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C():
		}
	}
}

// once reads the Secret, and then every change of it until the watch ends.
func (f follower) once(ctx context.Context) error {
	s, err := f.api.Get(ctx, f.name, metav1.GetOptions{})
	from := ""
	switch {
	case err == nil:
		f.store.put(f.name, s, "")
		from = s.ResourceVersion
	case apierrors.IsNotFound(err):
		f.store.put(f.name, nil, "it does not exist: has the operator issued it?")
		from = "0" // whatever comes
	case apierrors.IsForbidden(err): // an API server that has just started may say so too: what is known stays
		f.store.explain(f.name, "it may not be read by this host: the operator allows it once it holds a certificate of this host's; see the status and the "+
			"events of its object")
		return err
	default:
		return err
	}
	for ctx.Err() == nil {
		if from, err = f.watch(ctx, from); err != nil {
			return err
		}
	}
	return ctx.Err() //nolint:wrapcheck // it is counted alone
}

var errWatchEnded = errors.New("the watch ended early")

// watch follows the Secret from a version on until the server ends the watch, and returns where to go on.
func (f follower) watch(ctx context.Context, from string) (string, error) {
	began := f.clock.Now()
	w, err := f.api.Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, f.name).String(), ResourceVersion: from, AllowWatchBookmarks: true,
		TimeoutSeconds: ptr.To(int64(watchFor / time.Second)),
	})
	if err != nil {
		return "", err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		s, ok := e.Object.(*corev1.Secret)
		switch {
		case e.Type == watch.Error:
			return "", apierrors.FromObject(e.Object) //nolint:wrapcheck // it is counted alone
		case !ok:
			continue
		case e.Type == watch.Deleted:
			f.store.put(f.name, nil, "it was deleted: has somebody deleted its object?")
		case e.Type != watch.Bookmark:
			f.store.put(f.name, s, "")
		}
		from = s.ResourceVersion
	}
	if f.clock.Since(began) < time.Second {
		return "", errWatchEnded
	}
	return from, nil
}

// watchFor is how long a watch lasts: each end costs one request.
const watchFor = 45 * time.Minute
