package demo

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// kubectl runs the real one, and prints the command and what it says.
func (d *demo) kubectl(ctx context.Context, kubeconfig string, args ...string) error {
	path, err := d.cluster.Binaries.Find("kubectl")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the arguments are below
	// Nothing of the user's own environment: neither a kubeconfig, nor a cache to litter.
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + d.work}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err = cmd.Run()
	d.say("$ kubectl %s\n%s", strings.Join(args, " "), output.String())
	if err != nil {
		return fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
