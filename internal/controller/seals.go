package controller

import (
	"context"
	"time"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
)

// seals say to the caches of users' namespaces what the operator made.
type seals struct{ store *authority.Store } // set before a cache is started

// sealTimeout bounds a read of the seal, for which a cache waits.
const sealTimeout = 5 * time.Second

func (s *seals) of(ctx context.Context) func(again bool) (consumers.Sealer, bool) {
	return func(again bool) (consumers.Sealer, bool) {
		if s.store == nil {
			return nil, false
		}
		ctx, cancel := context.WithTimeout(ctx, sealTimeout)
		defer cancel()
		return s.store.Recall(ctx, again)
	}
}
