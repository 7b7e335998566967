// Package plan decides what to do about certificates: when to issue, to keep and to wait.
//
// Every function here is pure. The clock and all that was observed are arguments, so that a decision
// can be repeated, tested at any moment, and never depends on what the operator remembers.
package plan
