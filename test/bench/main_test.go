// Package bench_test measures the operator, as a process of its own, on a real etcd and kube-apiserver, and beside it the
// floor: a bare loop that writes the same objects.
package bench_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

var (
	sizes   = flag.String("credentials", "500,10000", "how many NodeCredentials to issue: numbers with commas between them")
	rounds  = flag.Int("rounds", 3, "how often to measure issuing; the medians count")
	mass    = flag.Int("mass", 2000, "how many NodeCredentials are rotated, or edited at once, while others wait")
	rsa     = flag.Int("rsa", 150, "how many objects ask for RSA 4096 while others wait")
	profile = flag.String("profile", "", "file for a CPU profile of the operator while it issues")
)

// workers is how many objects the operator, and the floor, work on side by side.
const workers = 4

// childEnv tells this program, started anew, what to be.
const childEnv = "CLUSTERPKI_BENCH_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case operatorChild:
		os.Exit(runOperator())
	case floorChild:
		os.Exit(runFloor())
	}
	ctrl.SetLogger(logr.Discard()) // the operator has its own
	code := m.Run()
	fmt.Print(tables.String())
	os.Exit(code)
}

// numbers reads a flag of several numbers.
func numbers(b *testing.B, text string) []int {
	b.Helper()
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 {
			b.Fatalf("%q is no number of objects", part)
		}
		out = append(out, n)
	}
	return out
}
