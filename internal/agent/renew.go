package agent

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"clusterpki.io/operator/internal/ack"
)

const (
	// askedLife is how long a token is asked for. What counts is what is granted.
	askedLife = 30 * 24 * time.Hour
	// firstRenewal and lastRenewal bound how soon a renewal that failed is tried again.
	firstRenewal = 10 * time.Second
	lastRenewal  = 10 * time.Minute
)

// renew asks for the next token of the agent's own ServiceAccount when it is time, in every management cluster: one that is not in use now may be next
// month. It says when there is something to do or to tell.
func (a *Agent) renew(ctx context.Context, s *session) time.Time {
	if !s.answered() {
		return time.Time{}
	}
	next, renewed := a.renewBy(ctx, s)
	a.reconnect = a.reconnect || renewed
	for _, c := range a.clusters {
		if c != s.cluster {
			next = sooner(next, a.renewElsewhere(ctx, c))
		}
	}
	return next
}

// renewElsewhere does so in a management cluster that is not in use.
func (a *Agent) renewElsewhere(ctx context.Context, c *cluster) time.Time {
	if a.clock.Now().Before(c.renewal.next) {
		return c.renewal.next
	}
	s, err := a.dial(ctx, c)
	if err != nil { // it is told when it is to be used
		c.renewal.failed(a.clock.Now(), firstRenewal, lastRenewal)
		return c.renewal.next
	}
	defer s.close()
	next, _ := a.renewBy(ctx, s)
	if apierrors.IsUnauthorized(s.broken()) {
		c.other = !c.other
	}
	c.renewal.next = later(next, c.renewal.next)
	return c.renewal.next
}

// renewBy renews the credential of a session, if it is time.
func (a *Agent) renewBy(ctx context.Context, s *session) (at time.Time, renewed bool) {
	if !s.credential.own() {
		return time.Time{}, false
	}
	c, now := s.cluster, a.clock.Now()
	seed := seedOf(a.cfg.Namespace + "/" + a.cfg.Host)
	if due := later(a.byHost(s, s.credential.renewAt(seed)), c.renewal.next); now.Before(due) {
		return due, false
	}
	next, err := a.nextCredential(ctx, s)
	if err == nil {
		err = a.credentials.write(c.Name, s.issuer, next)
	}
	if err != nil {
		return a.notRenewed(s, err, seed), false
	}
	a.log.Info("Renewed the agent's token", "cluster", c.Name, "granted", next.expires.Sub(next.issued).Round(time.Second).String(),
		"expires", next.expires.UTC().Format(time.RFC3339))
	c.renewalProblem, c.other = "", false
	c.renewal.next = a.clock.Now().Add(firstRenewal) // whatever becomes of it
	return c.renewal.next, true
}

// notRenewed notes why, and says when to try again or to tell.
func (a *Agent) notRenewed(s *session, err error, seed uint32) time.Time {
	s.check(err)
	c := s.cluster
	c.renewal.failed(a.clock.Now(), firstRenewal, lastRenewal)
	c.renewal.next = c.renewal.next.Add(firstRenewal / 100 * time.Duration(seed%100))
	if c.renewalProblem != err.Error() {
		a.log.Info("Could not renew the agent's token", "cluster", c.Name, "problem", err.Error())
	}
	c.renewalProblem = err.Error()
	if at := a.byHost(s, s.credential.expiringAt()); at.After(a.clock.Now()) {
		return sooner(c.renewal.next, at)
	}
	return c.renewal.next
}

// byHost is when a moment of the API server's comes by the host's clock.
func (a *Agent) byHost(s *session, at time.Time) time.Time {
	if at.IsZero() {
		return time.Time{}
	}
	return a.clock.Now().Add(at.Sub(s.server.Now()))
}

// nextCredential asks for a token.
func (a *Agent) nextCredential(ctx context.Context, s *session) (credential, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	of := s.credential.account
	ask := &authenticationv1.TokenRequest{}
	ask.Spec.ExpirationSeconds = new(int64(askedLife / time.Second))
	answer, err := s.tokens.CreateToken(ctx, of, ask)
	switch {
	case apierrors.IsForbidden(err):
		return credential{}, fmt.Errorf("ServiceAccount %s/%s may not ask for tokens of itself (403): the operator makes the Role that lets it, "+
			"while an object of this host has delivery.mode: Agent", of.namespace, of.name)
	case err != nil:
		return credential{}, fmt.Errorf("ask for a token of ServiceAccount %s/%s: %w", of.namespace, of.name, err)
	}
	next := credentialOf(answer.Status.Token)
	next.renewed, next.expires = true, answer.Status.ExpirationTimestamp.UTC()
	if next.issued.IsZero() { // by the same clock, as well as the host can tell
		next.issued = s.server.Now().UTC().Truncate(time.Second)
	}
	if next.account != of || !next.expires.After(next.issued) {
		return credential{}, errNoToken
	}
	return next, nil
}

// expiring is what to report of the agent's own credential: nothing, while more than a third of its life is left.
func (s *session) expiring() *ack.Credential {
	if s == nil || !s.credential.expiring(s.server.Now()) {
		return nil
	}
	c := s.credential
	return &ack.Credential{GrantedSeconds: int64(c.expires.Sub(c.issued) / time.Second), Expires: c.expires, Problem: s.cluster.renewalProblem}
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
