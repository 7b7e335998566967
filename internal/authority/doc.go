// Package authority is the store of what decides about a CA: its ledger and its keys.
//
// Each ClusterCA has one Secret in the authority namespace, which only the operator and whoever administers the PKI can
// read or write. It holds the ledger, and each generation's certificate and key: what is trusted, what signs and which
// keys exist cannot disagree. Every transition is one write of it under the resourceVersion that was read, and the
// invariants are checked before. Nothing that a user of another namespace can write is ever read as truth.
package authority
