// Package leaks_test lets the operator, an agent and every command live through all that a private key meets, from its making to
// the withdrawal of its CA, with the mistakes that people make; and then looks for each key in all that was said.
package leaks_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/cli"
	"clusterpki.io/operator/test/testenv"
)

// programEnv has this test program be clusterpki.
const programEnv = "LEAKS_RUN_CLUSTERPKI"

// shared is the control plane, which writes down all that is asked of it and answered.
var shared struct {
	*testenv.ControlPlane
	api   client.WithWatch
	audit string
}

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		os.Exit(clusterpki())
	}
	os.Exit(testenv.Main(m, startAudited, func(_ context.Context, c *testenv.ControlPlane) (err error) {
		shared.ControlPlane = c
		shared.api, err = testenv.Client(c.Config)
		return err
	}))
}

// clusterpki is what cmd does.
func clusterpki() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := cli.Named("clusterpki").ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "clusterpki:", err)
		return cli.ExitCode(err)
	}
	return 0
}

// auditPolicy has whole requests and answers logged, but of what holds keys and tokens by its nature.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, resources: [{group: "", resources: [secrets, serviceaccounts/token]}, {group: authentication.k8s.io}]}
- {level: None, resources: [{group: apiextensions.k8s.io}]} # large, and installed by kubectl
- {level: RequestResponse}
`

func startAudited() (*testenv.ControlPlane, error) {
	dir, err := os.MkdirTemp("", "clusterpki-leaks-")
	if err != nil {
		return nil, err
	}
	policy := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	shared.audit = filepath.Join(dir, "audit.log")
	c, err := testenv.StartWith(map[string]string{"audit-policy-file": policy, "audit-log-path": shared.audit})
	if err != nil {
		return nil, err
	}
	c.Finally(func() error { return os.RemoveAll(dir) })
	return c, nil
}
