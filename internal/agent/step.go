package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/hostdir"
)

// nextStep takes the host as far as it can get now, reports, and says when to look again; the zero time says that only a
// change can help.
func (a *Agent) nextStep(ctx context.Context, s *session) time.Time {
	a.blockedReason = ""
	again, next := true, time.Time{}
	if a.started.IsZero() {
		a.started = a.clock.Now().UTC().Truncate(time.Second)
	}
	for round := 0; again && round < 10 && ctx.Err() == nil; round++ { // each round takes one step, and few follow each other
		again, next = a.step(ctx)
		if a.reportDue { // a reload may take as long as a Lease lasts
			a.reportDue = false
			a.report(ctx, s)
		}
	}
	if again {
		next = a.clock.Now() // once it is known how far it is
	}
	if a.blockedReason != "" {
		next = sooner(next, a.clock.Now().Add(lastAttempt))
	}
	return sooner(next, a.report(ctx, s))
}

// step takes the one step that is due. again: there may be another one.
func (a *Agent) step(ctx context.Context) (again bool, next time.Time) {
	set, err := a.dir.Current()
	if err != nil { // what is damaged is made anew
		a.log.Info("Could not read the files that are there", "problem", err.Error())
		set = hostdir.Set{}
	}
	if set.ID == "" {
		return a.change(ctx, set, record{})
	}
	if !a.settled {
		a.settle()
	}
	rec := recordOf(set)
	if done, again, next := a.finish(ctx, set, rec); done {
		return again, next
	}
	if again, next = a.change(ctx, set, rec); again || a.blockedReason != "" {
		return again, next
	}
	if again, next = a.verifyWhenDue(ctx, rec, next); again {
		return again, next
	}
	return false, sooner(next, a.listTokens(ctx))
}

// finish takes the next step that a swap still needs: reloads, then a check. done is false where there is none now, and
// other files may take the place of these.
func (a *Agent) finish(ctx context.Context, set hostdir.Set, rec record) (done, again bool, next time.Time) {
	waits := a.clock.Now().Before(a.checks.next)
	switch {
	case slices.ContainsFunc(rec.NeedsRestart, a.cfg.reloads): // the configuration has changed since
		rec.Reload, rec.NeedsRestart = a.cfg.reloadable(rec)
		return true, a.save(rec), time.Time{}
	case len(rec.Reload) > 0 && !waits:
		again, next = a.reload(ctx, set, rec)
		return true, again, next
	case len(rec.Reload) > 0 || rec.Checked:
		return false, false, time.Time{}
	case waits:
		return true, false, a.checks.next
	default:
		again, next = a.confirm(ctx, set, rec)
		return true, again, next
	}
}

// verifyWhenDue verifies what is installed, once everything may have reloaded it. next is when there is something else to do.
func (a *Agent) verifyWhenDue(ctx context.Context, rec record, next time.Time) (bool, time.Time) {
	now := a.clock.Now()
	switch {
	case rec.inUse() || len(rec.NeedsRestart) > 0:
		return false, next
	case now.Before(a.checks.next):
		return false, sooner(next, a.checks.next)
	case now.Before(a.dueAt(now, rec)):
		return false, sooner(next, a.due)
	}
	again := a.verify(ctx, rec)
	return again, sooner(next, a.checks.next)
}

// dueAt is when everything has reloaded its files by itself. While the agent runs, that is not a matter of the clock on the
// wall, which may be put forward or back.
func (a *Agent) dueAt(now time.Time, rec record) time.Time {
	if a.due.IsZero() {
		a.due = rec.Due
		if latest := now.Add(a.cfg.ReloadDelay.Duration); a.due.After(latest) {
			a.due = latest
		}
	}
	return a.due
}

// fail notes why nothing can be done; it answers that no other step makes sense.
func (a *Agent) fail(err error) bool {
	if a.blockedReason != err.Error() {
		a.log.Info("Could not go on", "problem", err.Error())
	}
	a.blockedReason = err.Error()
	return false
}

// settle finishes a swap, or what an agent that was killed has left of one.
func (a *Agent) settle() {
	if err := a.dir.Settle(); err != nil {
		a.log.Info("Could not sweep the files of before", "problem", err.Error())
		return
	}
	a.settled = true
}

// save puts a record in the place of the current one.
func (a *Agent) save(rec record) bool {
	note, err := rec.encode()
	if err == nil {
		err = a.dir.SetNote(note)
	}
	if err != nil {
		return a.fail(err)
	}
	return true
}

// change installs what is issued now, if that is another thing than what is there.
func (a *Agent) change(ctx context.Context, set hostdir.Set, rec record) (again bool, next time.Time) {
	w, next, err := a.desiredFiles(ctx, set, rec)
	if err != nil {
		return a.fail(err), next
	}
	next = sooner(next, a.track(w.problems))
	a.desired = digest(w.files)
	if w.accounts != nil {
		a.switchedAt = w.accounts.SwitchedAt
	}
	if set.ID != "" && !rec.Named.same(w.named) { // whatever becomes of the files
		rec.Named = w.named
		return a.save(rec), next
	}
	if hostdir.Equal(set.Files, w.files) {
		if set.ID == "" || maps.EqualFunc(rec.States, w.states, same) && maps.EqualFunc(rec.Delivered, w.delivered, sameDocument) {
			return false, next
		}
		rec.Trusts = w.trusts
		return a.save(rec.restated(w.states, w.delivered)), next
	}
	now := a.clock.Now()
	if f := rec.Failed; f != nil && f.Digest == a.desired && now.Before(f.Until) && f.Until.Sub(now) <= lastRetry {
		return false, sooner(next, f.Until)
	}
	return a.install(ctx, set, rec, w), next
}

// reload reloads the next component, never two at once.
func (a *Agent) reload(ctx context.Context, set hostdir.Set, rec record) (again bool, next time.Time) {
	name := rec.Reload[0]
	c := a.cfg.component(name)
	if c == nil { // the configuration has changed since
		rec.Reload, rec.NeedsRestart = rec.Reload[1:], append(rec.NeedsRestart, name)
		return a.save(rec), time.Time{}
	}
	if !a.save(rec) { // nor could it be written afterwards, and the component would be reloaded again and again
		return false, time.Time{}
	}
	a.log.Info("Reloading", "component", name)
	a.reportDue = true
	if err := c.do(ctx, a.run); err != nil {
		if ctx.Err() != nil {
			return false, time.Time{}
		}
		again = a.rollback(set, rec, err)
		return again, a.checks.next
	}
	a.checks, a.unrecoverable = attempts{}, ""
	rec.Reload, rec.Reloaded = rec.Reload[1:], a.clock.Now().UTC().Truncate(time.Second)
	return a.save(rec), time.Time{}
}

// confirm sees whether everything that worked before the swap works after it, and takes the swap back if it does not
// in time. next: it may yet.
func (a *Agent) confirm(ctx context.Context, set hostdir.Set, rec record) (again bool, next time.Time) {
	now := a.clock.Now()
	var failures []string
	unanswered := false
	for _, r := range a.probe(ctx, a.among(rec.Worked)) {
		switch {
		case r.err == nil:
		case !isWrong(r.err) && a.cfg.APIServer == nil: // that nobody answers says nothing of the files
			unanswered = true
		default:
			failures = append(failures, r.object.name+": "+r.err.Error())
		}
	}
	deadline := rec.Installed
	if rec.Reloaded.After(deadline) {
		deadline = rec.Reloaded
	}
	if a.started.After(deadline) { // the host may have just started, with all that it runs
		deadline = a.started
	}
	if deadline.After(now) { // the clock was put back
		a.started = now.UTC().Truncate(time.Second)
		rec.Installed, rec.Reloaded = a.started, time.Time{}
		return a.save(rec), time.Time{}
	}
	deadline = deadline.Add(a.cfg.CheckTimeout.Duration)
	switch {
	case ctx.Err() != nil:
		return false, time.Time{}
	case len(failures) == 0 && unanswered:
		a.checks.failed(now, firstAttempt, 10*time.Second)
		return false, a.checks.next
	case len(failures) == 0:
		rec.Checked, rec.Failed = true, nil
		a.checks = attempts{}
		return a.save(rec), time.Time{}
	case now.Before(deadline):
		a.checks.failed(now, firstAttempt, 10*time.Second)
		return false, a.checks.next
	}
	again = a.rollback(set, rec, fmt.Errorf("with the new files, what worked before them does not: %s", strings.Join(failures, "; ")))
	return again, a.checks.next
}

// stay keeps files that do not work, because nothing worked before them. They are tried again, or replaced by others.
func (a *Agent) stay(rec record, why error) bool {
	a.checks.failed(a.clock.Now(), firstRetry, lastRetry)
	a.unrecoverable = why.Error()
	a.log.Info("The files do not work, and there are none to go back to", "problem", a.unrecoverable)
	if rec.Checked {
		return false
	}
	rec.Checked = true
	return a.save(rec)
}

// verify sees what is installed work once everything has reloaded it.
func (a *Agent) verify(ctx context.Context, rec record) bool {
	was := a.unverified
	a.unverified, a.unrecoverable = map[string]string{}, ""
	verified, failed := maps.Clone(rec.Verified), false
	if verified == nil {
		verified = map[string]ack.State{}
	}
	for _, r := range a.probe(ctx, a.objects) {
		lease := r.object.lease
		state, ok := rec.States[lease]
		if !ok { // it has no files yet
			delete(verified, lease)
			continue
		}
		if r.err == nil {
			verified[lease], r.err = a.seen(ctx, r.object, state, rec.Verified[lease])
		}
		if r.err != nil {
			failed = true
			a.unverified[lease] = r.err.Error()
			if was[lease] != r.err.Error() {
				a.log.Info("Did not see in use what is installed", "object", r.object.name, "problem", r.err.Error())
			}
		}
	}
	if ctx.Err() != nil {
		return false
	}
	if failed {
		a.checks.failed(a.clock.Now(), firstAttempt, lastAttempt)
	} else {
		a.checks = attempts{}
	}
	if maps.EqualFunc(verified, rec.Verified, same) {
		return false
	}
	rec.Verified = verified
	return a.save(rec) && !failed
}
