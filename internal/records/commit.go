package records

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// Batch is how many issues are waited for at most before they are written at once, and gathering for how long, while there is a mass of them:
	// that is, while so many were recorded within the last second. A single one is written at once.
	Batch     = 32
	gathering = 2 * time.Second
	mass      = 4
	// commitTimeout bounds one write that several wait for, with its repetitions.
	commitTimeout = 20 * time.Second
	attempts      = 5
)

// commits are the issues of one namespace that wait to be written. They are under the lock of the space.
type commits struct {
	waiting []*entry
	running bool
	full    chan struct{} // closed when there are Batch of them
	recent  []time.Time   // when the last ones came
}

// entry is one issue that waits, and whoever waits for it.
type entry struct {
	place Place
	issue Issue
	inUse []string
	// acknowledges: the issue is recorded already, and is to be marked.
	acknowledges bool
	done         chan struct{}
	err          error
}

// Record writes down an issue, together with others that come at the same time. It returns once that is stored: the certificate may
// be published then, and not before. inUse are serial numbers of certificates that the object's host has, or may have.
func (s *Store) Record(ctx context.Context, p Place, i Issue, inUse ...string) error {
	if p.NamespaceUID == "" || p.HomeUID == "" || i.UID == "" {
		return errors.New("record a certificate: it is not known whose it is")
	}
	sp := s.space(p.Namespace)
	if err := s.ensure(ctx, p.Namespace, sp); err != nil {
		return err
	}
	return s.await(ctx, sp, &entry{place: p, issue: i, inUse: inUse})
}

// await has an entry written, and waits for that.
func (s *Store) await(ctx context.Context, sp *space, e *entry) error {
	e.done = make(chan struct{})
	s.enqueue(context.WithoutCancel(ctx), sp, e)
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
		return fmt.Errorf("record a certificate: %w", ctx.Err())
	}
}

func (s *Store) enqueue(ctx context.Context, sp *space, e *entry) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	q := &sp.queue
	now := time.Now() //nolint:forbidigo // how long ago, not what time it is
	q.recent = append(slices.DeleteFunc(q.recent, func(t time.Time) bool { return now.Sub(t) > time.Second }), now)
	q.waiting = append(q.waiting, e)
	if len(q.waiting) == Batch && q.full != nil {
		close(q.full)
		q.full = nil
	}
	if !q.running {
		q.running = true
		go s.run(ctx, sp)
	}
}

// run writes what waits, until nothing does.
func (s *Store) run(ctx context.Context, sp *space) {
	for {
		batch := sp.gather(s.window)
		if len(batch) == 0 {
			return
		}
		limited, cancel := context.WithTimeout(ctx, commitTimeout)
		err := s.commit(limited, sp, batch)
		cancel()
		for _, e := range batch {
			e.err = err
			close(e.done)
		}
	}
}

// gather takes what waits to be written, all of one place; nothing where that is the end.
func (sp *space) gather(window time.Duration) []*entry {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	q := &sp.queue
	if q.growing() {
		full := make(chan struct{})
		q.full = full
		sp.mu.Unlock()
		timer := time.NewTimer(window)
		select {
		case <-full:
		case <-timer.C:
		}
		timer.Stop()
		sp.mu.Lock()
		q.full = nil
	}
	if len(q.waiting) == 0 {
		q.running = false
		return nil
	}
	place := q.waiting[0].place
	var batch, rest []*entry
	for _, e := range q.waiting {
		if e.place == place && len(batch) < 2*Batch {
			batch = append(batch, e)
		} else {
			rest = append(rest, e)
		}
	}
	q.waiting = rest
	return batch
}

// growing says whether more are to be expected than those that wait now: there is a mass of them.
func (q *commits) growing() bool {
	return len(q.waiting) > 0 && len(q.waiting) < Batch && len(q.recent) >= mass
}

// commit writes a batch into one Secret, under the resourceVersion that was read; where somebody else wrote, all is read again.
func (s *Store) commit(ctx context.Context, sp *space, batch []*entry) error {
	sp.requests.Lock()
	defer sp.requests.Unlock()
	err := s.write(ctx, sp, batch)
	for n := 1; n < attempts && (apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)); n++ {
		if err = s.load(ctx, batch[0].place.Namespace, sp); err == nil {
			err = s.write(ctx, sp, batch)
		}
	}
	if err == nil {
		return nil
	}
	sp.mu.Lock()
	sp.loaded = false // it may have been stored, all the same
	sp.mu.Unlock()
	return fmt.Errorf("record certificates of namespace %q: %w", batch[0].place.Namespace, err)
}

func (s *Store) write(ctx context.Context, sp *space, all []*entry) error {
	place := all[0].place
	batch := slices.DeleteFunc(slices.Clone(all), func(e *entry) bool { return e.acknowledges })
	sp.mu.Lock()
	shards := slices.Clone(sp.shards)
	sp.mu.Unlock()
	dropped := s.dropped(sp, batch)
	target := -1
	if len(batch) > 0 {
		target = s.target(ctx, sp, place, shards)
	}
	if target == len(shards) {
		shards = append(shards, shard{document: document{Place: place, Number: target}})
	}
	for n := range shards {
		next, fewer := sp.without(shards[n].Issues, dropped)
		next, news := marked(next, all)
		if n != target && !news && !fewer {
			continue
		}
		if n == target || news {
			next = s.kept(ctx, sp, place, next)
		}
		if n == target {
			sp.order(batch)
			next = with(next, batch)
		}
		if err := s.put(ctx, &shards[n], document{Place: shards[n].Place, Number: n, Issues: next}); err != nil {
			return err
		}
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.shards = shards
	sp.index()
	return nil
}

// order sees that what is recorded last of an object is its last one, whatever a clock says: that one alone may stand.
func (sp *space) order(batch []*entry) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	for _, e := range batch {
		if was := sp.all(e.issue.Object); len(was) > 0 && !e.issue.Time.After(was[len(was)-1].Time) {
			e.issue.Time = was[len(was)-1].Time.Add(time.Nanosecond)
		}
	}
}

// with adds a batch to some issues; a write that failed may have stored it already.
func with(issues []Issue, batch []*entry) []Issue {
	for _, e := range batch {
		if !slices.ContainsFunc(issues, e.issue.same) {
			issues = append(issues, e.issue)
		}
	}
	return issues
}

// ref names an issue.
type ref struct {
	uid    types.UID
	serial string
}

// dropped are the issues that must go because an object has too many with those of a batch.
func (s *Store) dropped(sp *space, batch []*entry) map[ref]bool {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	out := map[ref]bool{}
	for _, e := range batch {
		issues := append(sp.all(e.issue.Object), e.issue)
		inUse := append(slices.Clone(e.inUse), e.issue.SerialNumber, sp.last(issues, e.issue.UID))
		for _, serial := range excess(issues, inUse...) {
			out[ref{e.issue.UID, serial}], out[ref{"", serial}] = true, true
		}
	}
	return out
}

// without are some issues without those that must go; of these it stays what approvals they have used up. fewer says whether any goes.
func (sp *space) without(issues []Issue, dropped map[ref]bool) (out []Issue, fewer bool) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	var going []Issue
	for _, i := range issues {
		if !i.Ended && dropped[ref{i.UID, i.SerialNumber}] {
			going = append(going, i)
		} else {
			out = append(out, i)
		}
	}
	return append(out, usedUp(out, going, sp.named)...), len(going) > 0
}

// target is the number of the Secret that is written: one that has room or, where none has, a new one.
func (s *Store) target(ctx context.Context, sp *space, place Place, shards []shard) int {
	for _, room := range []func([]Issue) bool{
		func(all []Issue) bool { return sizeOf(all) < fullAt },                             // as it is
		func(all []Issue) bool { return sizeOf(s.kept(ctx, sp, place, all)) < fullAt/4*3 }, // once what nobody needs is gone
	} {
		for n := len(shards) - 1; n >= 0; n-- {
			if (shards[n].Place == place || s.over(shards[n].Issues)) && room(shards[n].Issues) {
				shards[n].Place = place
				return n
			}
		}
	}
	return len(shards)
}

// over says whether every certificate of some issues has ended: they may be of a namespace that had the name before.
func (s *Store) over(issues []Issue) bool {
	now := s.now()
	return !slices.ContainsFunc(issues, func(i Issue) bool { return now.Before(i.NotAfter) })
}

// kept are those of some issues that somebody needs still, and of the others what approvals they have used up. What was restored belongs to the object that
// has its name now.
func (s *Store) kept(ctx context.Context, sp *space, place Place, issues []Issue) []Issue {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	now := s.now()
	gone := map[types.UID][]string{}
	var out, rest []Issue
	for _, i := range issues {
		uid, known := s.standing(ctx, place.Namespace, i.Kind, i.Name)
		switch {
		case i.Ended:
			rest = append(rest, i)
			continue
		case known && i.UID == "" && uid != "":
			if i.UID = uid; slices.ContainsFunc(sp.bound[uid], i.same) {
				continue
			}
		case known && i.UID != "" && i.UID != uid: // that one was deleted
			delete(sp.acknowledged, i.UID)
			rest = append(rest, i)
			continue
		}
		if _, asked := gone[i.UID]; !asked {
			all := sp.all(i.Object)
			gone[i.UID] = outdated(all, sp.last(all, i.UID), now)
		}
		if i.UID == "" && now.Before(i.NotAfter) || !slices.Contains(gone[i.UID], i.SerialNumber) {
			out = append(out, i)
		} else {
			rest = append(rest, i)
		}
	}
	return append(out, usedUp(out, rest, sp.named)...)
}

// put stores one Secret, and notes its version.
func (s *Store) put(ctx context.Context, sh *shard, next document) error {
	text, err := next.encode()
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: SecretName(next.Namespace, next.Number)},
		Type:       SecretType, Data: map[string][]byte{documentKey: text},
	}
	if sh.version == "" {
		err = s.live.Create(ctx, secret)
	} else {
		secret.UID, secret.ResourceVersion = sh.uid, sh.version
		err = s.live.Update(ctx, secret)
	}
	if err != nil {
		return fmt.Errorf("write Secret %q of the authority namespace: %w", secret.Name, err)
	}
	*sh = shard{document: next, uid: secret.UID, version: secret.ResourceVersion}
	return nil
}
