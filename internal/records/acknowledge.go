package records

import (
	"context"
	"slices"
)

// Acknowledged notes that the agent of an object has acknowledged a certificate: older ones count no more from now on, and go when their Secret is next
// written. It never goes back to an older one. Where there is an older one, store writes it down, once, together with what others record at the same time:
// whoever has a key that was replaced must not speak again once the operator starts anew. nil: there is nothing to store.
func (s *Store) Acknowledged(ctx context.Context, namespace string, o Object, serial string) (store func() error, err error) {
	sp := s.space(namespace)
	if err := s.ensure(ctx, namespace, sp); err != nil {
		return nil, err
	}
	place, news := sp.acknowledge(o, serial)
	if !news {
		return nil, nil //nolint:nilnil // that is an answer
	}
	return func() error {
		return s.await(ctx, sp, &entry{place: place, issue: Issue{Object: o, SerialNumber: serial}, acknowledges: true})
	}, nil
}

// acknowledge counts a certificate as the last one that was acknowledged. news says whether that is to be stored, and place where.
func (sp *space) acknowledge(o Object, serial string) (place Place, news bool) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	all := sp.all(o)
	at := placeOf(all, serial)
	if at < 0 || at < placeOf(all, sp.last(all, o.UID)) {
		return Place{}, false
	}
	sp.acknowledged[o.UID] = serial
	n := slices.IndexFunc(sp.shards, func(sh shard) bool { return slices.ContainsFunc(sh.Issues, all[at].same) })
	if at == 0 || all[at].Acknowledged || n < 0 { // before the first one there is nothing to keep out
		return Place{}, false
	}
	return sp.shards[n].Place, true
}

// marked are some issues with what a batch acknowledges of them; news says whether that is anything that was not marked before.
func marked(issues []Issue, batch []*entry) (out []Issue, news bool) {
	for n, i := range issues {
		is := func(e *entry) bool {
			return e.acknowledges && i.SerialNumber == e.issue.SerialNumber && i.of(e.issue.Object)
		}
		if !i.Acknowledged && slices.ContainsFunc(batch, is) {
			issues[n].Acknowledged, news = true, true
		}
	}
	return issues, news
}

// of says whether an issue is an object's: its own one, or one that was restored and has not been taken up.
func (i Issue) of(o Object) bool {
	return !i.Ended && (i.Object == o || i.Object == o.named())
}
