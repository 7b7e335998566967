package queue

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// modelled is what a test knows of an item that waits.
type modelled struct {
	class Class
	place Place
	ahead int // at most so many of its class may be handed out before it; -1: it was not the only one of its namespace
	all   int // and at most so many of any class
}

// TestOrder adds, raises and takes items at random: none is lost or handed out twice, each comes in the highest class that it
// was added in, and the first one of a namespace waits for no more than one item of each other namespace, however many wait.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o order[int]
		model := map[int]*modelled{}
		next := 0
		namespaces := func(c Class) []string {
			var out []string
			for _, m := range model {
				if m.class == c && !slices.Contains(out, m.place.Namespace) {
					out = append(out, m.place.Namespace)
				}
			}
			return out
		}
		enter := func(item int, class Class, place Place) {
			there := namespaces(class)
			m := &modelled{class: class, place: place, ahead: -1}
			if !slices.Contains(there, place.Namespace) {
				m.ahead = len(there)
				m.all = len(there) + 2*(len(there)/share+1)
			}
			model[item] = m
		}
		add := func(t *rapid.T) {
			place := Place{fmt.Sprint("ns", rapid.IntRange(0, 4).Draw(t, "namespace")), fmt.Sprint("ca", rapid.IntRange(0, 2).Draw(t, "ca"))}
			class := Class(rapid.IntRange(0, int(classes)-1).Draw(t, "class"))
			for range rapid.SampledFrom([]int{1, 1, 3, 50}).Draw(t, "many") {
				next++
				enter(next, class, place)
				o.push(next, class, place)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": add,
			"raise": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("nothing waits")
				}
				item := rapid.SampledFrom(sorted(model)).Draw(t, "item")
				class := Class(rapid.IntRange(0, int(classes)-1).Draw(t, "class"))
				o.raise(item, class)
				if m := model[item]; class < m.class {
					delete(model, item)
					enter(item, class, m.place)
				}
			},
			"pop": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("nothing waits")
				}
				item, class := o.pop()
				m := model[item]
				if m == nil || m.class != class {
					t.Fatalf("%d came in class %d: %+v", item, class, m)
				}
				delete(model, item)
				for _, other := range model {
					if other.ahead >= 0 {
						other.all--
						if other.class == class {
							other.ahead--
						}
						if other.ahead < 0 || other.class == Urgent && other.all < 0 {
							t.Fatalf("%+v waits for more than its turn", other)
						}
					}
				}
			},
			"": func(t *rapid.T) {
				if o.len() != len(model) {
					t.Fatalf("%d wait, and %d should", o.len(), len(model))
				}
			},
		})
	})
}

func sorted(m map[int]*modelled) []int {
	out := make([]int, 0, len(m))
	for item := range m {
		out = append(out, item)
	}
	slices.Sort(out)
	return out
}

// TestTurnsOfCAs takes one after another of a namespace's CAs.
func TestTurnsOfCAs(t *testing.T) {
	var o order[string]
	for i := range 1000 {
		o.push(fmt.Sprint("mass", i), Mass, Place{"prod", "old"})
	}
	o.push("new", Mass, Place{"prod", "other"})
	got := []string{}
	for range 2 {
		item, _ := o.pop()
		got = append(got, item)
	}
	if !slices.Equal(got, []string{"mass0", "new"}) {
		t.Errorf("they came as %v", got)
	}
}

// TestLowerClassesGoOn has more and more come in the highest class: what waits in lower ones is handed out all the same.
func TestLowerClassesGoOn(t *testing.T) {
	var o order[int]
	o.push(1, Repair, Place{"a", ""})
	o.push(2, Mass, Place{"a", ""})
	var got []Class
	for i := range 3 * share {
		o.push(100+i, Urgent, Place{"b", ""})
		_, class := o.pop()
		got = append(got, class)
	}
	if r, m := slices.Index(got, Repair), slices.Index(got, Mass); r != share || m < 0 || m > 2*share {
		t.Errorf("they came as %v", got)
	}
}
