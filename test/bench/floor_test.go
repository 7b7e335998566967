package bench_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

const floorChild = "floor"

// job is what the floor does: make n copies of what the operator made for one NodeCredential.
type job struct {
	Kubeconfig string
	N          int
	Credential v1alpha1.NodeCredential
	Secrets    []corev1.Secret
}

// jobOf takes the objects of the first credential as the pattern.
func (p *plane) jobOf(namespace string, n int) job {
	p.t.Helper()
	j := job{Kubeconfig: p.kubeconfig, N: n, Secrets: make([]corev1.Secret, 2)}
	p.get(namespace, nodeName(0), &j.Credential)
	for i, name := range []string{nodeName(0) + "-tls", nodeName(0) + "-kubeconfig"} {
		p.get(namespace, name, &j.Secrets[i])
		s := &j.Secrets[i]
		s.ObjectMeta = metav1.ObjectMeta{
			Namespace: s.Namespace, Name: s.Name, Labels: s.Labels, Annotations: s.Annotations, OwnerReferences: s.OwnerReferences,
		}
	}
	return j
}

// floor is the process of the floor, which waits for a word.
type floor struct {
	process
	run func()
}

// startFloor starts it; run lets it work, and returns when it is done.
func (p *plane) startFloor(j job) (f *floor, stop func()) {
	p.t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		p.t.Fatal(err)
	}
	file := filepath.Join(p.t.TempDir(), "job.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], file)
	cmd.Env, cmd.Stderr = append(os.Environ(), childEnv+"="+floorChild), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	expect := func(word string) {
		if line, err := lines.ReadString('\n'); err != nil || strings.TrimSpace(line) != word {
			p.t.Fatalf("the floor says %q, %v", line, err)
		}
	}
	expect("ready")
	f = &floor{process: process{p.t, cmd.Process.Pid}}
	f.run = func() { fmt.Fprintln(in, "go"); expect("done") }
	return f, func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			p.t.Errorf("the floor ended: %v", err)
		}
	}
}

// runFloor is the process.
func runFloor() int {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		return fail(err)
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return fail(err)
	}
	l, err := newLoop(j)
	if err != nil {
		return fail(err)
	}
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return fail(err)
	}
	errs := make([]error, j.N)
	each(j.N, func(i int) { errs[i] = l.one(nodeName(i + 1)) })
	for _, err := range errs {
		if err != nil {
			return fail(err)
		}
	}
	fmt.Println("done")
	_, _ = in.ReadString('\n') // its CPU time is read while it waits
	return 0
}

// TestFloorIsTheSame compares what the floor writes with what the operator writes.
func TestFloorIsTheSame(t *testing.T) {
	p, _ := newPlane(t)
	o := p.startOperator()
	p.cluster("bench", ecdsa)
	o.stop()
	f, stop := p.startFloor(p.jobOf("bench", 1))
	f.run()
	stop()
	var made, pattern v1alpha1.NodeCredential
	p.get("bench", nodeName(1), &made)
	p.get("bench", nodeName(0), &pattern)
	if got, want := size(t, made.Status), size(t, pattern.Status); !near(got, want) {
		t.Errorf("the status has %d bytes, want %d", got, want)
	}
	for _, suffix := range []string{"-tls", "-kubeconfig"} {
		var got, want corev1.Secret
		p.get("bench", nodeName(1)+suffix, &got)
		p.get("bench", nodeName(0)+suffix, &want)
		for key := range want.Data {
			if !near(len(got.Data[key]), len(want.Data[key])) {
				t.Errorf("%s of %s has %d bytes, want %d", key, got.Name, len(got.Data[key]), len(want.Data[key]))
			}
		}
		got.CreationTimestamp, got.ManagedFields, want.ManagedFields = want.CreationTimestamp, nil, nil
		if a, b := size(t, got.ObjectMeta), size(t, want.ObjectMeta); !near(a, b) {
			t.Errorf("the metadata of %s has %d bytes, want %d", got.Name, a, b)
		}
		if string(got.Data[corev1.TLSPrivateKeyKey]) == string(want.Data[corev1.TLSPrivateKeyKey]) {
			t.Errorf("the key of %s is the pattern's", got.Name)
		}
	}
	if made.Status.Certificate.NotAfter.Before(&metav1.Time{Time: time.Now()}) {
		t.Error("the status tells of no certificate")
	}
}

func size(t *testing.T, v any) int {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return len(text)
}

// near allows for what differs between two signatures, and between two resourceVersions.
func near(a, b int) bool { return a-b <= 16 && b-a <= 16 }
