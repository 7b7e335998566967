package dashboard

import (
	"cmp"
	"fmt"
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
	Kind            string
	Namespace, Name string
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
	noted := func(o v1alpha1.Object) func(at time.Time, text string) {
		return func(at time.Time, text string) {
			if age := now.Sub(at); age < logged {
				out = append(out, Entry{at.UTC().Truncate(time.Second), o.Kind(), o.GetNamespace(), o.GetName(), text})
			}
		}
	}
	for i := range objects.Keys {
		toldOfKeys(&objects.Keys[i], noted(&objects.Keys[i]))
	}
	for i := range objects.CAs {
		c := &objects.CAs[i]
		note := noted(c)
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

// toldOfKeys notes what happened to service account keys, the latest first.
func toldOfKeys(k *v1alpha1.ServiceAccountKey, note func(at time.Time, text string)) {
	for _, key := range slices.Backward(k.Status.Keys) {
		if text := keyNotes[key.State]; text != "" && !key.Since.IsZero() {
			note(key.Since.Time, fmt.Sprintf("key %d %s", key.Number, text))
		}
	}
	if r := timeline.PublicationOf(k); r.Rotating() {
		note(r.Start, "a rotation has begun: "+r.Title())
	}
	note(k.CreationTimestamp.Time, "it was created")
}

var keyNotes = map[v1alpha1.GenerationState]string{
	v1alpha1.GenerationTrusted: "is brought to every API server, to be trusted", v1alpha1.GenerationActive: "signs",
	v1alpha1.GenerationRetiring: "signs nothing any more, and its tokens are accepted still", v1alpha1.GenerationWithdrawn: "is trusted no more",
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
