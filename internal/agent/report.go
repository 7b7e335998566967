package agent

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/ptr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/pki"
)

// patience is how long a problem may last that is to be expected while the operator writes one Secret after another.
const patience = 30 * time.Second

// track takes down why objects keep the files of before, and returns when one of them is to be told that is not yet.
func (a *Agent) track(problems map[string]problem) (next time.Time) {
	now := a.clock.Now()
	for _, o := range a.objects {
		p, ok := problems[o.lease]
		was := a.dated[o.lease]
		switch {
		case !ok:
			delete(a.dated, o.lease)
		case was.text != p.text:
			a.dated[o.lease] = datedProblem{text: p.text, since: now}
			if !p.usual {
				a.log.Info("Kept the files of before", "object", o.name, "problem", p.text)
			}
		}
		if ok && !p.passing {
			a.dated[o.lease] = datedProblem{text: p.text} // since ever
		}
		if at := a.dated[o.lease].since.Add(patience); ok && now.Before(at) {
			next = sooner(next, at)
		}
	}
	return next
}

// problem is why an object is not in use as it is issued, "" where it is or may soon be.
func (a *Agent) problem(o object, rec record) string {
	now := a.clock.Now()
	p, ok := a.dated[o.lease]
	state, installed := rec.States[o.lease]
	switch {
	case a.blockedReason != "":
		return a.blockedReason
	case ok && now.Sub(p.since) >= patience:
		return p.text
	case rec.Failed != nil && rec.Failed.Digest == a.desired:
		return "it was installed and rolled back: " + rec.Failed.Reason
	case !installed || same(state, rec.Verified[o.lease]):
		return ""
	case a.unrecoverable != "":
		return a.unrecoverable
	case len(rec.NeedsRestart) > 0:
		return fmt.Sprintf("%s must be restarted to read its files, and the agent's configuration does not say how: list it under components",
			strings.Join(rec.NeedsRestart, ", "))
	default:
		return a.unverified[o.lease]
	}
}

// report says in each object's Lease how it stands, if that is news or the Lease has to be renewed, and when to renew next.
func (a *Agent) report(ctx context.Context, s *session) time.Time {
	if s.broken() != nil || s == nil {
		return time.Time{}
	}
	var rec record
	set, err := a.dir.Current()
	if err == nil {
		rec = recordOf(set)
	}
	keys, err := a.keys.read(a.objects)
	if err != nil {
		a.fail(err)
	}
	var next time.Time
	for _, o := range a.objects {
		if s.broken() != nil {
			break
		}
		if !a.store.known(o.secrets[0]) { // it is about to be read
			continue
		}
		request := ""
		if o.externalKey() && keys[o.lease] != nil {
			if request, err = a.keys.request(o, keys[o.lease]); err != nil {
				a.fail(err)
			}
		}
		m, err := a.message(o, set, rec, request)
		if err != nil {
			a.fail(err)
		}
		at, err := a.send(ctx, s, o, m)
		if err != nil {
			s.check(err)
			a.say(o, err)
			at = a.clock.Now().Add(a.leases.retry(o.lease))
		} else {
			a.say(o, nil)
		}
		next = sooner(next, at)
	}
	return next
}

// message is what goes into a Lease: a report, and a certificate signing request beside it.
type message struct {
	report  ack.Report
	key     pki.PrivateKey // that signs the report; none where nothing is installed
	request string
}

// message is what is to be said of an object: signed by the key of the certificate that is installed. Without one there is nothing to
// acknowledge.
func (a *Agent) message(o object, set hostdir.Set, rec record, request string) (message, error) {
	m := message{report: ack.Report{Host: a.cfg.Host, Problem: a.problem(o, rec)}, request: request}
	if request != "" {
		sum := sha256.Sum256([]byte(request))
		m.report.RequestSHA256 = hex.EncodeToString(sum[:])
	}
	state, installed := rec.States[o.lease]
	taken := rec.Delivered[o.lease]
	if !installed || taken.UID == "" {
		return m, nil
	}
	i := slices.IndexFunc(set.Files, func(f hostdir.File) bool { return f.Path == o.keyPath() })
	if i < 0 {
		return m, fmt.Errorf("the key of %s is not installed: nothing can be acknowledged", o.name)
	}
	r, err := a.cfg.ring(rec.Named, rec.Delivered)
	if err != nil {
		return m, err
	}
	if m.key, err = pki.ParsePrivateKey(set.Files[i].Data); err != nil {
		return m, fmt.Errorf("the installed key of %s: %w: nothing can be acknowledged", o.name, err)
	}
	m.report.UID, m.report.SignedBy, m.report.Installed = taken.UID, state.SerialNumber, &state
	m.report.DeliveryKeys, m.report.DeliveryTime = r.trusted(), taken.Time
	m.report.Restarting = len(rec.Reload) > 0 || !rec.Checked || len(rec.NeedsRestart) > 0 && !same(state, rec.Verified[o.lease])
	if verified, ok := rec.Verified[o.lease]; ok {
		m.report.Verified = &verified
	}
	if o.accountsSecret() != "" {
		m.report.Tokens = a.tokens.list
	}
	return m, nil
}

// texts are the annotations that say so, at a time.
func (m message) texts(now time.Time) (map[string]string, error) {
	out := map[string]string{}
	if m.request != "" {
		out[v1alpha1.CSRAnnotation] = m.request
	}
	r := m.report
	r.Time = now.UTC().Truncate(time.Second)
	text, err := r.Text()
	if err != nil {
		return nil, err
	}
	out[v1alpha1.ReportAnnotation] = text
	if m.key.Public() != nil {
		if out[v1alpha1.ReportSignatureAnnotation], err = ack.Sign(text, m.key); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// said says whether a Lease says so already, whenever that was, and under a signature that fits: others may have written it since.
func (m message) said(l *coordinationv1.Lease) bool {
	want := ack.Unsigned
	if m.key.Public() != nil {
		want = ack.Signed
	}
	return ack.Of(l).Same(m.report) && l.Annotations[v1alpha1.CSRAnnotation] == m.request &&
		ack.ProofOf(l, m.report.UID, func(string) crypto.PublicKey { return m.key.Public() }) == want
}

// send writes one report, and does not wait for ever: while the management cluster hangs, there is other work.
func (a *Agent) send(ctx context.Context, s *session, o object, m message) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	stop := context.AfterFunc(s.ctx, cancel)
	defer stop()
	return a.leases.send(ctx, s, a.cfg.Namespace, o, m, a.clock.Now())
}

// say logs why an object's Lease cannot be written, each time that this is another reason than before.
func (a *Agent) say(o object, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if a.logged[o.lease] != text && text != "" {
		a.log.Info("Could not report", "object", o.name, "problem", text)
	}
	a.logged[o.lease] = text
}

// leases are the Leases of a host as they were last written.
type leases struct {
	holder  string
	known   map[string]*coordinationv1.Lease
	renewed map[string]time.Time // by the host's clock
	failed  map[string]int
}

func newLeases(holder string) leases {
	return leases{holder: holder, known: map[string]*coordinationv1.Lease{}, renewed: map[string]time.Time{}, failed: map[string]int{}}
}

func (l leases) retry(lease string) time.Duration {
	l.failed[lease]++
	return backoff(l.failed[lease], firstAttempt, lastAttempt)
}

const (
	// defaultLength is that of a Lease that says nothing.
	defaultLength = 15 * time.Minute
	// minLength bounds what a Lease says, as admission bounds delivery.leaseDuration: others may write it too.
	minLength = 10 * time.Second
	// maxSilence is how long nothing is written at most into a Lease, whatever its length is: whoever has written another length, or another report, has
	// the host silent no longer than that.
	maxSilence = defaultLength / 3
)

// look returns a Lease as it is known, and until when nothing is to be written into it: zero where something is.
func (l leases) look(
	ctx context.Context, api coordinationv1client.LeaseInterface, o object, m message, now time.Time,
) (*coordinationv1.Lease, time.Time, error) {
	known := l.known[o.lease]
	if known == nil {
		var err error
		if known, err = api.Get(ctx, o.lease, metav1.GetOptions{}); err != nil {
			return nil, time.Time{}, explainLease(o, err)
		}
		l.known[o.lease] = known
	}
	if due := l.renewed[o.lease].Add(silence(known)); m.said(known) && now.Before(due) {
		return known, due, nil
	}
	return known, time.Time{}, nil
}

// silence is how long nothing has to be written into a Lease.
func silence(l *coordinationv1.Lease) time.Duration { return min(lengthOf(l)/3, maxSilence) }

// send writes a report, if it is another than the last or the Lease has to be renewed, and returns when to write again.
func (l leases) send(ctx context.Context, s *session, namespace string, o object, m message, now time.Time) (time.Time, error) {
	api := s.leases.Leases(namespace)
	known, until, err := l.look(ctx, api, o, m, now)
	if err != nil || !until.IsZero() {
		return until, err
	}
	next := known.DeepCopy()
	if next.Annotations == nil {
		next.Annotations = map[string]string{}
	}
	texts, err := m.texts(s.server.Now())
	if err != nil {
		return time.Time{}, err
	}
	for _, name := range []string{v1alpha1.ReportAnnotation, v1alpha1.ReportSignatureAnnotation, v1alpha1.CSRAnnotation} {
		delete(next.Annotations, name)
	}
	maps.Copy(next.Annotations, texts)
	at := metav1.NewMicroTime(s.server.Now()) // by the clock of the cluster, whatever this host's says
	if ptr.Deref(next.Spec.HolderIdentity, "") != l.holder {
		next.Spec.HolderIdentity, next.Spec.AcquireTime = &l.holder, &at
	}
	next.Spec.RenewTime = &at
	written, err := api.Update(ctx, next, metav1.UpdateOptions{})
	if err != nil {
		delete(l.known, o.lease) // read it again
		return time.Time{}, explainLease(o, err)
	}
	l.known[o.lease], l.renewed[o.lease] = written, now
	delete(l.failed, o.lease)
	return now.Add(silence(written)), nil
}

func lengthOf(l *coordinationv1.Lease) time.Duration {
	if n := ptr.Deref(l.Spec.LeaseDurationSeconds, 0); n > 0 {
		return max(time.Duration(n)*time.Second, minLength)
	}
	return defaultLength
}

// explainLease says what to do about a Lease that cannot be had.
func explainLease(o object, err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the Lease %q does not exist, so nobody learns what is in use here: set delivery.mode: Agent on %s", o.lease, o.name)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("the Lease %q may not be written by this host: the operator allows it with delivery.mode 'Agent'; see the events of its object (%w)",
			o.lease, err)
	default:
		return fmt.Errorf("the Lease %q: %w", o.lease, err)
	}
}
