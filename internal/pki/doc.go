// Package pki makes and reads the keys, certificates and trust bundles of a Kubernetes cluster.
//
// It knows neither Kubernetes' API nor the clock: what it needs of the time is an argument.
// It uses the standard library alone.
package pki
