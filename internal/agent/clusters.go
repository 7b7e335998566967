package agent

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxSilentCluster is how long a management cluster may give no answer, where there is another one.
const maxSilentCluster = 20 * time.Second

// cluster is a management cluster, and what is known of the way there.
type cluster struct {
	ManagementCluster
	dials          attempts
	said           string // what was logged last
	other          bool   // the credential that was issued last is refused: the other one is tried
	renewal        attempts
	renewalProblem string
}

func clustersOf(c Config) []*cluster {
	var out []*cluster
	for _, m := range c.ManagementClusters {
		out = append(out, &cluster{ManagementCluster: m})
	}
	return out
}

// connect sees to it that the session is to the first management cluster that has this host's Secrets, and returns when to try one of those before
// it. There is one session at a time. A cluster that holds nothing for this host is used only as long as no other one answers that does.
func (a *Agent) connect(ctx context.Context, s *session) (*session, time.Time) {
	s = a.present(s)
	var spare *session
	for _, c := range a.clusters {
		if s != nil && c == s.cluster && !s.empty {
			break // those behind it are of no interest
		}
		if s != nil && c == s.cluster || a.clock.Now().Before(c.dials.next) {
			continue
		}
		next := a.reach(ctx, c)
		switch {
		case next == nil:
		case !next.empty:
			s.close()
			spare.close()
			return a.use(next), a.nextDial(next)
		case s == nil && spare == nil:
			spare = next
		default:
			next.close()
		}
	}
	if s == nil && spare != nil {
		s = a.use(spare)
	}
	return s, a.nextDial(s)
}

// present is the session that there is, if it is of use.
func (a *Agent) present(s *session) *session {
	if s.broken() != nil {
		a.lost(s)
		return nil
	}
	if s.answered() {
		s.cluster.answered(s.credential)
		s.empty = s.empty && len(a.store.facts().secrets) == 0
	}
	return s
}

// answered notes that a credential works.
func (c *cluster) answered(by credential) {
	c.dials = attempts{}
	if by.renewed && c.renewalProblem == "" {
		c.renewal = attempts{}
	}
}

// lost notes why a session is over.
func (a *Agent) lost(s *session) {
	c, now := s.cluster, a.clock.Now()
	if apierrors.IsUnauthorized(s.broken()) {
		c.other = !c.other
		c.renewal.failed(now, firstRenewal, lastRenewal) // if it was a new token, the next one is not asked for at once
	}
	c.dials.failed(now, firstAttempt, lastAttempt)
	a.log.Info("Lost the management cluster", "cluster", c.Name, "problem", s.explain(a.cfg).Error(), "kubeconfig", c.Kubeconfig)
	s.close()
}

// nextDial is when a management cluster that is not in use is to be tried.
func (a *Agent) nextDial(s *session) time.Time {
	var next time.Time
	for _, c := range a.clusters {
		if s != nil && c == s.cluster {
			if !s.empty {
				break
			}
			continue
		}
		next = sooner(next, c.dials.next)
	}
	return next
}

// reach connects to a management cluster, nil where that fails. With several, it is one that answers now.
func (a *Agent) reach(ctx context.Context, c *cluster) *session {
	s, err := a.dial(ctx, c)
	if err == nil && len(a.clusters) > 1 {
		s.empty, err = a.look(ctx, s)
	}
	switch {
	case err != nil && s.broken() != nil:
		a.lost(s)
		return nil
	case err != nil:
		s.close()
		if c.said != err.Error() {
			a.log.Info("Could not connect to the management cluster", "cluster", c.Name, "problem", err.Error())
		}
		c.said = err.Error()
		c.dials.failed(a.clock.Now(), firstAttempt, lastAttempt)
		return nil
	case s.empty:
		c.dials.failed(a.clock.Now(), firstAttempt, lastAttempt)
	}
	c.said = ""
	return s
}

// look asks a management cluster for the host's Secrets until there is one. An error says that nobody knows.
func (a *Agent) look(ctx context.Context, s *session) (empty bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for _, o := range a.objects {
		_, err := s.secrets.Get(ctx, o.secrets[0], metav1.GetOptions{})
		switch {
		case err == nil:
			return false, nil
		case !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err):
			s.check(err)
			return false, fmt.Errorf("read Secret %q: %w", o.secrets[0], err)
		}
	}
	return true, nil
}

// use has a session bring the host's Secrets. What another management cluster has brought plays no part any more.
func (a *Agent) use(s *session) *session {
	if a.from != s.cluster {
		if a.from != nil {
			a.store, a.leases, a.refusals = newStore(), newLeases(a.cfg.Host), map[string]refusal{}
		}
		a.from = s.cluster
		a.log.Info("Takes what is delivered", "cluster", s.cluster.Name, "kubeconfig", s.cluster.Kubeconfig)
	}
	a.store.follow(s, a.objects, a.clock, a.log)
	return s
}
