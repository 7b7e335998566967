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
	// DefaultRecheck is how long an answer of the API server counts, and how often an open page asks. A revoked token lives
	// on for up to twice that here.
	DefaultRecheck = 15 * time.Second
	// maxAnswers bounds how many answers of each sort are kept.
	maxAnswers = 1024
	// maxNamespaces is in how many namespaces the API server is asked about somebody who may not see all.
	maxNamespaces = 100
	// asksPerSecond and askBurst bound how often the API server is asked about tokens that it did not know a moment ago.
	asksPerSecond, askBurst = 5, 20
)

// Reviews lets the API server decide: a TokenReview says whose a token is, SubjectAccessReviews what they may read.
type Reviews struct {
	tokens  authentication.TokenReviewInterface
	rights  authorization.SubjectAccessReviewInterface
	clock   clock.PassiveClock
	recheck time.Duration
	limit   flowcontrol.RateLimiter

	mu       sync.Mutex
	admitted answers
	refused  answers // apart, so that no flood of wrong tokens makes a viewer unknown
}

// answers are those that are remembered, by the hash of the token.
type answers map[[sha256.Size]byte]answer

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
		limit: flowcontrol.NewTokenBucketRateLimiter(asksPerSecond, askBurst), admitted: answers{}, refused: answers{},
	}, nil
}

// Admit implements Access. How often it asks about tokens is bounded, but for those that were good when last asked about.
func (r *Reviews) Admit(ctx context.Context, token string, namespaces []string) (Viewer, error) {
	if token == "" {
		return Viewer{}, ErrUnknown
	}
	key := sha256.Sum256([]byte(token))
	now := r.clock.Now()
	r.mu.Lock()
	a, known := r.admitted[key]
	if !known {
		a = r.refused[key]
	}
	r.mu.Unlock()
	if now.Before(a.until) {
		return a.viewer, a.err
	}
	if !known && !r.limit.TryAccept() {
		return Viewer{}, ErrBusy
	}
	viewer, err := r.ask(ctx, token, namespaces)
	if err == nil || errors.Is(err, ErrUnknown) || errors.Is(err, ErrForbidden) {
		r.keep(key, answer{viewer, err, now.Add(r.recheck)}, now)
	}
	return viewer, err
}

// keep remembers an answer.
func (r *Reviews) keep(key [sha256.Size]byte, a answer, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.admitted, key)
	delete(r.refused, key)
	if a.err == nil {
		r.admitted.put(key, a, now)
	} else {
		r.refused.put(key, a, now)
	}
}

// put adds an answer. Those that are over make room, and if there are none, any does.
func (as answers) put(key [sha256.Size]byte, a answer, now time.Time) {
	if len(as) >= maxAnswers {
		for k, old := range as {
			if !now.Before(old.until) {
				delete(as, k)
			}
		}
		for k := range as {
			if len(as) < maxAnswers {
				break
			}
			delete(as, k)
		}
	}
	as[key] = a
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

// reads says whether somebody may list and watch all kinds in a namespace; in all for "".
func (r *Reviews) reads(ctx context.Context, user authenticationv1.UserInfo, namespace string) (bool, error) {
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range user.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	for _, kind := range v1alpha1.Kinds() {
		for _, verb := range []string{"list", "watch"} {
			spec := authorizationv1.SubjectAccessReviewSpec{
				User: user.Username, Groups: user.Groups, UID: user.UID, Extra: extra,
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: kind.Plural, Verb: verb, Namespace: namespace,
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
