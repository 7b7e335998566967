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

// renew asks for the next token of the agent's own ServiceAccount when it is time, and says when there is something to do or to tell.
func (a *Agent) renew(ctx context.Context, s *session) time.Time {
	if !s.answered() || !s.credential.own() {
		return time.Time{}
	}
	c := s.cluster
	seed := seedOf(a.cfg.Namespace + "/" + a.cfg.Host)
	due := a.byHost(s, s.credential.renewAt(seed))
	if due = later(due, c.renewal.next); a.clock.Now().Before(due) {
		return due
	}
	next, err := a.nextCredential(ctx, s)
	if err == nil {
		err = a.credentials.write(c.Name, s.issuer, next)
	}
	if err != nil {
		s.check(err)
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
	a.log.Info("Renewed the agent's token", "cluster", c.Name, "granted", next.expires.Sub(next.issued).Round(time.Second).String(),
		"expires", next.expires.UTC().Format(time.RFC3339))
	c.renewalProblem, c.other, a.reconnect = "", false, true
	c.renewal.next = a.clock.Now().Add(firstRenewal) // whatever becomes of it
	return a.clock.Now()
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
