package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Decode reads a Secret of a backup: the namespace whose records it holds, and those.
func Decode(s *corev1.Secret) (namespace string, issues []Issue, err error) {
	var p struct {
		Place
		Number int `json:"number"`
	}
	if text := s.Data[documentKey]; len(text) > maxBytes || json.Unmarshal(text, &p) != nil || SecretName(p.Namespace, p.Number) != s.Name {
		return "", nil, fmt.Errorf("read Secret %q: %w", s.Name, errors.New("it holds no records"))
	}
	d, err := decode(s, p.Namespace, p.Number)
	return p.Namespace, d.Issues, err
}

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
		i.UID = ""
		if !slices.ContainsFunc(shards, func(sh shard) bool { return slices.ContainsFunc(sh.Issues, i.same) }) {
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

// same says whether two issues are of one certificate of one object.
func (i Issue) same(other Issue) bool {
	return i.Object == other.Object && i.SerialNumber == other.SerialNumber
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
