// Package queue orders the work of a controller, so that a mass of work in one namespace, or for one CA, delays nobody else by
// more than one item of each namespace that has work.
package queue

import "sigs.k8s.io/controller-runtime/pkg/handler"

// Class says how soon an item is to be handled.
type Class int

// The classes, from the highest.
const (
	// Urgent is what is new, was edited or is overdue.
	Urgent Class = iota
	// Repair is what may have to be put right, and what is looked at from time to time.
	Repair
	// Mass is what a change of one thing brings for many: of a CA's bundle or signer, and the start of the operator.
	Mass

	classes
)

// priorities are what controller-runtime's handlers and requeues know of classes: an event without a priority is urgent, and
// what they give a low one is mass.
var priorities = [classes]int{Urgent: 0, Repair: handler.LowPriority / 2, Mass: handler.LowPriority}

// Priority is a class as a priority of controller-runtime.
func (c Class) Priority() *int { return &[]int{priorities[c]}[0] }

// classOf is the class of a priority; nil is none given.
func classOf(priority *int) Class {
	if priority == nil {
		return Urgent
	}
	for c := range classes {
		if *priority >= priorities[c] {
			return c
		}
	}
	return Mass
}
