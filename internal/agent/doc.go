// Package agent keeps the PKI files of one host current: `clusterpki agent`.
//
// It watches the host's own Secrets (session.go, store.go), lays them out as `clusterpki export` does (desired.go), checks them
// alone (inspect.go) and against the API server (probe.go, check.go) before they replace what is there (step.go, package
// hostdir), reloads what does not notice by itself (reload.go), checks again, and reports each step in a Lease (report.go). All
// that it must remember lies beside the files (record.go), so that it may be killed at any moment.
package agent
