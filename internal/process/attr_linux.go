package process

import (
	"os/exec"
	"syscall"
)

// attributes put the child in a group of its own, so that an interrupt at the terminal reaches it only
// through Stop, and have the kernel end it if its parent is killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// interrupt and kill address the whole group.
func interrupt(cmd *exec.Cmd) { signalGroup(cmd, syscall.SIGTERM) }

func kill(cmd *exec.Cmd) { signalGroup(cmd, syscall.SIGKILL) }

func signalGroup(cmd *exec.Cmd, s syscall.Signal) {
	_ = syscall.Kill(-cmd.Process.Pid, s) //nolint:errcheck // it fails only where nobody is left in the group
}
