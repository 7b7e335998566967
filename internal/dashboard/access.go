package dashboard

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"strings"
	"sync"
)

// Access decides who may see what.
type Access interface {
	// Admit says what the bearer of a token may see, of the namespaces that there are. The error is ErrUnknown,
	// ErrForbidden, ErrBusy, or says why nobody can tell now.
	Admit(ctx context.Context, token string, namespaces []string) (Viewer, error)
}

// The answers of Access to those who see nothing.
var (
	// ErrUnknown is for a token that is missing, wrong, expired or revoked.
	ErrUnknown = errors.New("the token is not known")
	// ErrForbidden is for somebody who may read the objects of no namespace.
	ErrForbidden = errors.New("not allowed to list and watch clustercas, apiservercertificates and nodecredentials in any namespace")
	// ErrBusy is for more sign-ins at one time than the API server is to be asked about.
	ErrBusy = errors.New("too many tokens are being checked: try again in a moment")
)

// Viewer is somebody who looks at the page.
type Viewer struct {
	Name string
	// Everything is all that the dashboard reads; otherwise it is what is in Namespaces, in order. Where both are set, the
	// dashboard reads no others.
	Everything bool
	Namespaces []string
}

// scope is the same for viewers who see the same.
func (v Viewer) scope() string {
	if v.Everything {
		return "*"
	}
	return strings.Join(v.Namespaces, " ")
}

// Link admits whoever opens a URL that was printed to a terminal. Each URL is good once; what the browser gets for it
// is good as long as the program runs.
type Link struct {
	show   func(code string) // with the code that is good now
	viewer Viewer
	secret string

	mu   sync.Mutex
	code string
}

// NewLink makes the first code, which Show prints; after each use the next one is printed. Whoever redeems one is the viewer.
func NewLink(viewer Viewer, show func(code string)) *Link {
	return &Link{show: show, viewer: viewer, secret: rand.Text(), code: rand.Text()}
}

// Show prints the code that is good now.
func (l *Link) Show() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.show(l.code)
}

// Redeem takes a code for the token that Admit knows; ok is false for a code that was used or never was one.
func (l *Link) Redeem(code string) (token string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if subtle.ConstantTimeCompare([]byte(code), []byte(l.code)) != 1 {
		return "", false
	}
	l.code = rand.Text()
	l.show(l.code)
	return l.secret, true
}

// Admit implements Access.
func (l *Link) Admit(_ context.Context, token string, _ []string) (Viewer, error) {
	if subtle.ConstantTimeCompare([]byte(token), []byte(l.secret)) != 1 {
		return Viewer{}, ErrUnknown
	}
	return l.viewer, nil
}
