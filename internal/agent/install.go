package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/hostdir"
)

// install swaps the files.
func (a *Agent) install(ctx context.Context, set hostdir.Set, rec record, w desiredFiles) bool {
	before := set.Files
	if set.ID == "" {
		before = a.plain(w.files)
	}
	changed := hostdir.Changed(before, w.files)
	next := a.follow(rec, changed, len(before) > 0)
	next.States, next.Verified, next.Failed = w.states, maps.Clone(rec.Verified), rec.Failed
	next.Delivered, next.Named, next.Trusts = w.delivered, w.named, w.trusts
	maps.DeleteFunc(next.Verified, func(lease string, _ ack.State) bool { _, ok := w.states[lease]; return !ok })
	next.Worked = a.working(ctx, before, changed)
	next.Checked = len(next.Worked) == 0 // there is nothing to go back for
	note, err := next.encode()
	if err != nil {
		return a.fail(err)
	}
	a.settled = false
	installed, err := a.dir.Install(w.files, note)
	if err != nil {
		return a.fail(err)
	}
	a.checks, a.unrecoverable = attempts{}, ""
	a.log.Info("Installed", "files", shorten(changed), "reload", next.Reload)
	a.leftOut(installed)
	a.pause(ctx)
	return true
}

// follow is the record of a swap: what has to follow it.
func (a *Agent) follow(rec record, changed []string, replaces bool) record {
	now := a.clock.Now().UTC().Truncate(time.Second)
	next := record{
		Installed: now, Due: rec.Due, Reload: slices.Clone(rec.Reload), NeedsRestart: slices.Clone(rec.NeedsRestart), Delivered: rec.Delivered,
		Named: rec.Named,
	}
	if !replaces { // nothing has read a file that was not there
		return next
	}
	e := a.cfg.effects(changed)
	for _, name := range e.reload {
		if !slices.Contains(next.Reload, name) {
			next.Reload = append(next.Reload, name)
		}
	}
	for _, name := range e.needsRestart {
		if !slices.Contains(next.NeedsRestart, name) {
			next.NeedsRestart = append(next.NeedsRestart, name)
		}
	}
	if e.waits {
		next.Due = now.Add(a.cfg.ReloadDelay.Duration)
		a.due = a.clock.Now().Add(a.cfg.ReloadDelay.Duration)
	}
	return next
}

// pause lets readers of the files of before come to an end, and sweeps those.
func (a *Agent) pause(ctx context.Context) {
	timer := a.clock.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C():
		a.settle()
	}
}

// rollback puts the files of before in place of those that do not work, and reloads once more what has read them.
func (a *Agent) rollback(set hostdir.Set, rec record, why error) bool {
	previous, err := a.dir.Previous()
	if err != nil || previous.ID == "" || len(rec.Worked) == 0 {
		return a.stay(rec, errors.Join(why, err))
	}
	was := recordOf(previous)
	next := a.follow(rec, hostdir.Changed(set.Files, previous.Files), true)
	next.States, next.Verified, next.Trusts, next.Checked = was.States, was.Verified, was.Trusts, true
	next.Failed = rec.failed(a.clock.Now(), set.Files, why)
	note, err := next.encode()
	if err != nil {
		return a.fail(err)
	}
	a.settled = false
	installed, err := a.dir.Rollback(note)
	if err != nil {
		return a.fail(err)
	}
	a.log.Info("Took the new files back", "problem", why.Error())
	a.leftOut(installed)
	a.checks, a.unrecoverable = attempts{}, ""
	return true
}

// leftOut tells of what others have put on the host and an install did not carry over.
func (a *Agent) leftOut(installed hostdir.Set) {
	if len(installed.LeftOut) > 0 {
		a.log.Info("Left out what others have put into their directories", "what", shorten(installed.LeftOut))
	}
}

// shorten names the first of some paths.
func shorten(paths []string) string {
	if len(paths) > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(paths[:4], ", "), len(paths)-4)
	}
	return strings.Join(paths, ", ")
}
