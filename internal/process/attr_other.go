//go:build !linux

package process

import (
	"os"
	"os/exec"
	"syscall"
)

func attributes() *syscall.SysProcAttr { return nil }

// interrupt and kill address the child alone. Their only error is that it has ended.
func interrupt(cmd *exec.Cmd) { _ = cmd.Process.Signal(os.Interrupt) } //nolint:errcheck // see above

func kill(cmd *exec.Cmd) { _ = cmd.Process.Kill() } //nolint:errcheck // see above
