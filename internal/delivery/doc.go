// Package delivery is what the operator says, under its signature, of one object's Secrets to the agent of a host. Whoever may
// write a Secret of a user's namespace edits it in a second, and a component reloads it before the operator repairs it: so an agent
// installs nothing that is not signed for exactly that object, and takes nothing from a Secret that the document does not name.
package delivery
