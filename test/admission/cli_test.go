package admission_test

import (
	"bytes"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/cli"
)

// TestCommand has `clusterpki rotate` denied: what the policy says is all that it says, and no advice that does not help follows.
func TestCommand(t *testing.T) {
	somebody(t, prod, "rotator")
	kubeconfig, err := plane.KubeconfigFile()
	if err != nil {
		t.Fatal(err)
	}
	const want = "you need the verb rotate on clustercas named k8s, in namespace prod: ClusterRole clusterpki-pki-admin has it"
	eventually(t, "it is denied", func() error {
		c := cli.New()
		c.SetArgs([]string{"rotate", "k8s", "--apply", "-n", prod, "--kubeconfig", kubeconfig, "--as", "rotator@" + prod})
		var out bytes.Buffer
		c.SetOut(&out)
		c.SetErr(&out)
		return c.ExecuteContext(t.Context())
	}, func(err error) bool { return err != nil && strings.HasSuffix(err.Error(), want) })
}
