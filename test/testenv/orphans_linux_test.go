package testenv

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNoOrphans kills a program that has started a control plane: etcd and kube-apiserver end too. Only Linux tells children of the
// end of their parent.
func TestNoOrphans(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	parent := exec.CommandContext(t.Context(), self)
	parent.Env, parent.Stderr = append(os.Environ(), startOnly+"=1"), os.Stderr
	out, err := parent.StdoutPipe()
	must(t, err)
	must(t, parent.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Errorf("it says %q: %v", line, err)
	}
	children := childrenOf(t, parent.Process.Pid)
	if len(children) != 2 {
		t.Errorf("it runs %q instead of etcd and kube-apiserver", children)
	}
	must(t, parent.Process.Kill())
	_, err = io.Copy(io.Discard, out)
	must(t, err)
	_ = parent.Wait() // it was killed
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		left := alive(children)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("these outlive their parent: %q", left)
		}
	}
}

// child is what /proc says of one: its id, and its program.
type child struct{ id, program string }

// childrenOf are the processes that another one has started.
func childrenOf(t *testing.T, parent int) []child {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	must(t, err)
	var out []child
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil { // it has ended meanwhile
			continue
		}
		id, rest, _ := strings.Cut(string(text), " (")
		program, rest, _ := strings.Cut(rest, ") ")
		if fields := strings.Fields(rest); fields[1] == fmt.Sprint(parent) {
			out = append(out, child{id, program})
		}
	}
	return out
}

// alive are those of some processes that have not ended.
func alive(all []child) []child {
	var out []child
	for _, p := range all {
		text, err := os.ReadFile("/proc/" + p.id + "/stat")
		if _, state, _ := strings.Cut(string(text), ") "); err == nil && !strings.HasPrefix(state, "Z") {
			out = append(out, p)
		}
	}
	return out
}
