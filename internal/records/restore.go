package records

import (
	"context"
	"slices"
)

// Restore adds issues of a backup for a namespace, as those of nobody: the objects that have their names take them up. What is there already stays.
func (s *Store) Restore(ctx context.Context, p Place, issues []Issue) error {
	sp := s.space(p.Namespace)
	sp.requests.Lock()
	defer sp.requests.Unlock()
	if err := s.load(ctx, p.Namespace, sp); err != nil {
		return err
	}
	sp.mu.Lock()
	shards := slices.Clone(sp.shards)
	sp.mu.Unlock()
	var added []Issue
	for _, i := range issues {
		there := slices.ContainsFunc(shards, func(sh shard) bool { return slices.ContainsFunc(sh.Issues, i.same) })
		if i.UID = ""; !there {
			added = append(added, i)
		}
	}
	for len(added) > 0 {
		n := len(shards)
		next := document{Place: p, Number: n}
		for len(added) > 0 && (len(next.Issues) == 0 || sizeOf(next.Issues) < fullAt) {
			next.Issues, added = append(next.Issues, added[0]), added[1:]
		}
		shards = append(shards, shard{})
		if err := s.put(ctx, &shards[n], next); err != nil {
			return err
		}
	}
	return s.load(ctx, p.Namespace, sp)
}

// same says whether two issues are of one certificate of one object, by its name.
func (i Issue) same(other Issue) bool {
	return i.Kind == other.Kind && i.Name == other.Name && i.SerialNumber == other.SerialNumber
}

// Release gives what was recorded of a namespace of that name to the one that has it now, in the authority namespace that there is now: the objects that
// have the names take it up.
func (s *Store) Release(ctx context.Context, p Place) error {
	sp := s.space(p.Namespace)
	sp.requests.Lock()
	defer sp.requests.Unlock()
	if err := s.load(ctx, p.Namespace, sp); err != nil {
		return err
	}
	sp.mu.Lock()
	shards := slices.Clone(sp.shards)
	sp.mu.Unlock()
	for n := range shards {
		if shards[n].Place == p || len(shards[n].Issues) == 0 {
			continue
		}
		next := document{Place: p, Number: n, Issues: slices.Clone(shards[n].Issues)}
		for i := range next.Issues {
			next.Issues[i].UID = ""
		}
		if err := s.put(ctx, &shards[n], next); err != nil {
			return err
		}
	}
	return s.load(ctx, p.Namespace, sp)
}
