// Package consumers says who depends on a CA, and what is known of what each of them uses: one reading of what Secrets
// hold, of what agents report and of what API servers show, for controllers, commands and displays alike.
//
// It is pure: the clock and all that was observed are arguments. What a Secret holds is read from its bytes.
package consumers
