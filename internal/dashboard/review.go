package dashboard

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authentication "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorization "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"

	"clusterpki.io/operator/api/v1alpha1"
)

const (
	// DefaultRecheck is how long an answer of the API server counts, and so how long a revoked token lives on.
	DefaultRecheck = 30 * time.Second
	// maxAnswers bounds how many answers are kept.
	maxAnswers = 1024
	// maxNamespaces is in how many namespaces the API server is asked about somebody who may not see all.
	maxNamespaces = 100
	// asksPerSecond and askBurst bound how often the API server is asked about tokens.
	asksPerSecond, askBurst = 5, 20
)

// Reviews lets the API server decide: a TokenReview says whose a token is, SubjectAccessReviews what they may read.
type Reviews struct {
	tokens  authentication.TokenReviewInterface
	rights  authorization.SubjectAccessReviewInterface
	clock   clock.PassiveClock
	recheck time.Duration
	limit   flowcontrol.RateLimiter

	mu      sync.Mutex
	answers map[[sha256.Size]byte]answer
}

// answer is what the API server said of a token, whose hash alone is kept.
type answer struct {
	viewer Viewer
	err    error
	until  time.Time
}

// NewReviews asks as an identity that must be allowed to create TokenReviews and SubjectAccessReviews. An answer
// counts for a while; 0 is DefaultRecheck.
func NewReviews(config *rest.Config, connection *http.Client, c clock.PassiveClock, recheck time.Duration) (*Reviews, error) {
	tokens, err := authentication.NewForConfigAndClient(config, connection)
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	rights, err := authorization.NewForConfigAndClient(config, connection)
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	if recheck <= 0 {
		recheck = DefaultRecheck
	}
	return &Reviews{
		tokens: tokens.TokenReviews(), rights: rights.SubjectAccessReviews(), clock: c, recheck: recheck,
		limit: flowcontrol.NewTokenBucketRateLimiter(asksPerSecond, askBurst), answers: map[[sha256.Size]byte]answer{},
	}, nil
}

// Admit implements Access.
func (r *Reviews) Admit(ctx context.Context, token string, namespaces []string) (Viewer, error) {
	if token == "" {
		return Viewer{}, ErrUnknown
	}
	key := sha256.Sum256([]byte(token))
	now := r.clock.Now()
	r.mu.Lock()
	a, ok := r.answers[key]
	r.mu.Unlock()
	if ok && now.Before(a.until) {
		return a.viewer, a.err
	}
	if !r.limit.TryAccept() {
		return Viewer{}, ErrBusy
	}
	viewer, err := r.ask(ctx, token, namespaces)
	if err == nil || errors.Is(err, ErrUnknown) || errors.Is(err, ErrForbidden) {
		r.keep(key, answer{viewer, err, now.Add(r.recheck)}, now)
	}
	return viewer, err
}

// keep remembers an answer. Those that are over make room, and if there are none, any does.
func (r *Reviews) keep(key [sha256.Size]byte, a answer, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.answers) >= maxAnswers {
		for k, old := range r.answers {
			if !now.Before(old.until) {
				delete(r.answers, k)
			}
		}
		for k := range r.answers {
			if len(r.answers) < maxAnswers {
				break
			}
			delete(r.answers, k)
		}
	}
	r.answers[key] = a
}

// ask asks the API server whose the token is, and what they may see.
func (r *Reviews) ask(ctx context.Context, token string, namespaces []string) (Viewer, error) {
	review, err := r.tokens.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return Viewer{}, fmt.Errorf("ask the API server whose the token is: %w", err)
	}
	if !review.Status.Authenticated {
		return Viewer{}, ErrUnknown
	}
	user := review.Status.User
	v := Viewer{Name: user.Username}
	all, err := r.reads(ctx, user, "")
	if err != nil {
		return Viewer{}, err
	}
	if all {
		v.Everything = true
		return v, nil
	}
	if len(namespaces) > maxNamespaces {
		return v, fmt.Errorf("%w: you may not read all namespaces, and in more than %d it is not asked one by one", ErrForbidden, maxNamespaces)
	}
	for _, namespace := range namespaces {
		may, err := r.reads(ctx, user, namespace)
		if err != nil {
			return Viewer{}, err
		}
		if may {
			v.Namespaces = append(v.Namespaces, namespace)
		}
	}
	if len(v.Namespaces) == 0 {
		return v, ErrForbidden
	}
	return v, nil
}

// reads says whether somebody may list and watch the three kinds in a namespace; in all for "".
func (r *Reviews) reads(ctx context.Context, user authenticationv1.UserInfo, namespace string) (bool, error) {
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range user.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	for _, resource := range []string{"clustercas", "apiservercertificates", "nodecredentials"} {
		for _, verb := range []string{"list", "watch"} {
			spec := authorizationv1.SubjectAccessReviewSpec{
				User: user.Username, Groups: user.Groups, UID: user.UID, Extra: extra,
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: resource, Verb: verb, Namespace: namespace,
				},
			}
			review, err := r.rights.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
			if err != nil {
				return false, fmt.Errorf("ask the API server what %s may do: %w", user.Username, err)
			}
			if !review.Status.Allowed {
				return false, nil
			}
		}
	}
	return true, nil
}
