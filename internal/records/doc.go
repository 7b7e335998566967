// Package records keeps, in the authority namespace, which certificate was issued for which object, and for which key: before the
// certificate is published. By that key the operator verifies what the agent of a host says, and never by one that stands in a
// user's namespace.
//
// The records of a user's namespace stand in Secrets 'issued.<namespace>.<number>', from 0 on without a gap. Many are written at
// once. They hold public keys alone.
package records
