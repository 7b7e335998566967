package owned

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// LostRace says whether an error is that somebody else wrote first, or that the cache is behind what was written: what was decided
// is void, and is decided again.
func LostRace(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || errors.Is(err, ErrBehind)
}
