// Package metrics tells Prometheus of clusterpki's objects: when each certificate ends and is renewed, how far the
// rotation of a CA is, what an API server was seen to serve, and what was issued.
//
// What describes objects is gathered when it is asked for, from the manager's cache: it is never older than the cache,
// and nothing stays behind when an object goes. Only what happens is counted. No value is derived from a Secret.
package metrics
