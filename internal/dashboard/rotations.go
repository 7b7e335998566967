package dashboard

import (
	"cmp"
	"slices"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
	"clusterpki.io/operator/internal/timeline"
)

const (
	// shown is how long a rotation is shown after its end.
	shown = 15 * time.Minute
	// logged is how far back the log goes, and maxLog how many entries it has.
	logged = 24 * time.Hour
	maxLog = 100
)

// Entry is one thing that happened.
type Entry struct {
	Time            time.Time
	Namespace, Name string // of the ClusterCA
	Text            string
}

// rotations are those under way, and then those that have just ended.
func rotations(now time.Time, objects status.Objects) []timeline.Rotation {
	var out, over []timeline.Rotation
	for _, namespace := range objects.Namespaces() {
		in := objects.In(namespace)
		for i := range in.CAs {
			c := &in.CAs[i]
			if r, ok := timeline.UnderWay(now, c, in.ConsumersOf(c.Name)); ok {
				out = append(out, r)
			} else if r, ok := timeline.Last(c); ok && now.Sub(r.End) < shown {
				over = append(over, r)
			}
		}
	}
	return append(out, over...)
}

// logOf is what happened of late, as the objects tell it, the latest first.
func logOf(now time.Time, objects status.Objects) []Entry {
	var out []Entry
	for i := range objects.CAs {
		c := &objects.CAs[i]
		note := func(at time.Time, text string) {
			if age := now.Sub(at); age < logged {
				out = append(out, Entry{at.UTC().Truncate(time.Second), c.Namespace, c.Name, text})
			}
		}
		note(c.CreationTimestamp.Time, "it was created")
		if r, ok := timeline.Last(c); ok {
			told(r, note)
		}
		if r, ok := timeline.UnderWay(now, c, nil); ok {
			told(r, note)
		}
	}
	slices.SortStableFunc(out, func(x, y Entry) int {
		return cmp.Or(y.Time.Compare(x.Time), cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	return out[:min(len(out), maxLog)]
}

// told notes what happened in a rotation, the latest first.
func told(r timeline.Rotation, note func(at time.Time, text string)) {
	if r.Over() {
		note(r.End, r.Outcome())
	}
	for _, s := range slices.Backward(r.Steps) {
		if !s.Start.IsZero() && s.State != v1alpha1.PhasePending {
			note(s.Start, string(s.Phase)+": "+s.Note)
		}
	}
	note(r.Start, "a rotation has begun: "+r.Title())
}
