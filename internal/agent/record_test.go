package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/hostdir"
)

func state(serial, bundle string) ack.State {
	return ack.State{SerialNumber: serial, Contents: map[string]string{"a/ca.crt": bundle}}
}

// TestRecord reads what was written, and damage as nothing.
func TestRecord(t *testing.T) {
	r := record{
		Installed: at(), Reload: []string{"etcd"}, NeedsRestart: []string{"kubelet"}, Due: at(), States: map[string]ack.State{"a": state("01", "aa")}, Worked: []string{"a"},
		Failed: &failure{Digest: "d", Reason: "r", Attempts: 2, Until: at()},
	}
	note, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, recordOf(hostdir.Set{Note: note})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, damage := range []string{"", "{", "null garbage", string(note[:len(note)-1])} {
		if diff := cmp.Diff(record{}, recordOf(hostdir.Set{Note: []byte(damage)})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", damage, diff)
		}
	}
}

// TestRestated: when Secrets say something else of the same files, what was in use still is, and no more.
func TestRestated(t *testing.T) {
	old, next := state("01", "aa"), state("01", "bb")
	for name, c := range map[string]struct {
		was      record
		verified map[string]ack.State
	}{
		"in use": {record{Checked: true, States: map[string]ack.State{"a": old}, Verified: map[string]ack.State{"a": old}}, map[string]ack.State{"a": next}},
		"not checked yet": {
			record{States: map[string]ack.State{"a": old}, Verified: map[string]ack.State{"a": old}}, map[string]ack.State{"a": old},
		},
		"another one was in use": {
			record{Checked: true, States: map[string]ack.State{"a": old}, Verified: map[string]ack.State{"a": state("00", "aa")}},
			map[string]ack.State{"a": state("00", "aa")},
		},
		"never in use":       {record{Checked: true, States: map[string]ack.State{"a": old}}, map[string]ack.State{}},
		"it was not there":   {record{Checked: true}, map[string]ack.State{}},
		"one more was there": {record{Checked: true, Verified: map[string]ack.State{"gone": old}}, map[string]ack.State{}},
	} {
		t.Run(name, func(t *testing.T) {
			documents := map[string]signedAt{"a": {Time: at(), Statement: "x"}}
			got := c.was.restated(map[string]ack.State{"a": next}, documents)
			if diff := cmp.Diff(documents, got.Delivered); diff != "" {
				t.Errorf("documents (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.verified, got.Verified); diff != "" {
				t.Errorf("verified (-want +got):\n%s", diff)
			}
			if want := same(got.Verified["a"], next); got.inUse() != want {
				t.Errorf("in use: %v", got.inUse())
			}
		})
	}
}

// TestFailed waits twice as long each time the same files fail, and begins anew with others.
func TestFailed(t *testing.T) {
	now, why := at(), errors.New("why")
	first, second := []hostdir.File{{Path: "a", Data: []byte("1")}}, []hostdir.File{{Path: "a", Data: []byte("2")}}
	r := record{}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		r.Failed = r.failed(now, first, why)
		if got := r.Failed.Until.Sub(now); got != want*time.Minute || r.Failed.Attempts != i+1 || r.Failed.Reason != "why" {
			t.Errorf("failure %d: %+v, and not again in %v minutes", i+1, r.Failed, int(want))
		}
	}
	if f := r.failed(now, second, why); f.Until.Sub(now) != time.Minute || f.Attempts != 1 {
		t.Errorf("other files: %+v", f)
	}
}

// TestDigest: files differ by path, mode and contents.
func TestDigest(t *testing.T) {
	base := []hostdir.File{{Path: "a", Mode: 0o600, Data: []byte("bc")}, {Path: "d", Mode: 0o600, Data: []byte("e")}}
	seen := map[string]bool{digest(base): true}
	for _, other := range [][]hostdir.File{
		nil, base[:1],
		{{Path: "ab", Mode: 0o600, Data: []byte("c")}, base[1]},
		{{Path: "a", Mode: 0o644, Data: []byte("bc")}, base[1]},
		{{Path: "a", Mode: 0o600, Data: []byte("bd")}, base[1]},
	} {
		if d := digest(other); seen[d] {
			t.Errorf("%v has the digest of another", other)
		} else {
			seen[d] = true
		}
	}
}
