// Package keyring decides about the keys that sign service account tokens: which of them are trusted, which one signs, and
// when an old one leaves. It is pure: it knows no object, no store and no clock.
//
// An API server is given two files: sa.key, which signs, and sa.pub, all keys that are trusted. The key that signs stands first in
// sa.pub, so that the digest of sa.pub alone tells one publication from another. A step is taken only when the present publication
// has arrived at every API server, so no two of them are ever further apart than one step, and each step is such that both sides of
// it accept each other's tokens.
package keyring
