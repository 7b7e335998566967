package controller

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/owned"
)

// TestEndings goes through the states of a ClusterCA as a watch brings them.
func TestEndings(t *testing.T) {
	state := func(uid types.UID, going, owner, large bool) *v1alpha1.ClusterCA {
		o := &v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{UID: uid}}
		if going {
			o.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
		}
		if owner {
			o.OwnerReferences = []metav1.OwnerReference{{UID: "owner"}}
		}
		if large {
			o.Annotations = map[string]string{"x": strings.Repeat("x", 100<<10), "clusterpki.io/cut": "true"}
		}
		cached, err := new(owned.Cache).Transform(o)
		if err != nil {
			t.Fatal(err)
		}
		return cached.(*v1alpha1.ClusterCA)
	}
	there, going := state("a", false, false, false), state("a", true, false, false)
	adopted, goingWithOwner := state("a", false, true, false), state("a", true, true, false)
	for _, c := range []struct {
		name   string
		states []*v1alpha1.ClusterCA
		unseen bool
		want   bool
	}{
		{"deleted at once", []*v1alpha1.ClusterCA{there, there}, false, true},
		{"held up by a finalizer", []*v1alpha1.ClusterCA{there, going, going}, false, true},
		{"an owner long before", []*v1alpha1.ClusterCA{there, adopted, there, going}, false, true},
		{"an owner at its end", []*v1alpha1.ClusterCA{there, adopted}, false, false},
		{"an owner that was taken off while it went", []*v1alpha1.ClusterCA{there, adopted, goingWithOwner, going, going}, false, false},
		{"an owner that came and went while it went", []*v1alpha1.ClusterCA{there, going, goingWithOwner, going}, false, false},
		{"annotations, large and of any name", []*v1alpha1.ClusterCA{there, state("a", false, false, true)}, false, true},
		{"the same while it went", []*v1alpha1.ClusterCA{there, state("a", true, false, true), going}, false, true},
		{"an owner among large metadata", []*v1alpha1.ClusterCA{adopted, state("a", false, true, true)}, false, false},
		{"large metadata that were cut down again", []*v1alpha1.ClusterCA{adopted, state("a", true, true, true), going}, false, false},
		{"going when it was found", []*v1alpha1.ClusterCA{going, going}, false, false},
		{"another one, going when it was found", []*v1alpha1.ClusterCA{state("b", false, false, false), going, going}, false, false},
		{"after another one, which had an owner", []*v1alpha1.ClusterCA{state("b", true, true, false), there, going}, false, true},
		{"unseen", []*v1alpha1.ClusterCA{there, there}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := endings{}
			e.found(c.states[0])
			for i, o := range c.states[1:] {
				e.changed(c.states[i], o)
			}
			if got := e.gone(c.states[len(c.states)-1], c.unseen); got != c.want {
				t.Errorf("it counts: %v", got)
			}
			if len(e) > 0 {
				t.Errorf("%v is still remembered", e)
			}
		})
	}
}
