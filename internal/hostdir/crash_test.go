package hostdir_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"clusterpki.io/operator/internal/hostdir"
)

const childEnv = "HOSTDIR_TEST_CHILD"

// child is what this program does when a test has started it again: a directory, a scenario or "loop", and a step.
func child(job string) error {
	part := strings.Split(job, "\n")
	dir, what := part[0], part[1]
	if what == "loop" {
		return loop(dir)
	}
	step, err := strconv.Atoi(part[2])
	if err != nil {
		return err
	}
	return scenarios()[what].act(hostdir.New(dir, hostdir.Options{System: &faulty{System: hostdir.Real{}, at: step, then: die}}))
}

func die(string, string) error {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		return err
	}
	select {}
}

func childCommand(t *testing.T, job ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(job, "\n"))
	return cmd
}

// TestKilledAtEachStep: whatever a process was about to do when it was killed, the files are the old or the new ones,
// and another process finishes.
func TestKilledAtEachStep(t *testing.T) {
	eachStep(t, func(t *testing.T, _ scenario, name, dir string, step int) bool {
		out, err := childCommand(t, dir, name, fmt.Sprint(step)).CombinedOutput()
		if err == nil {
			return true
		}
		if exit := (&exec.ExitError{}); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("it was not killed: %v: %s", err, out)
		}
		return false
	})
}

// loop installs one version after another, and does all else in between.
func loop(dir string) error {
	d := hostdir.New(dir, hostdir.Options{})
	s, err := d.Current()
	if err != nil {
		return err
	}
	fmt.Println("ready")
	n, err := strconv.Atoi(string(s.Files[0].Data))
	for i := 0; err == nil; i++ {
		n++
		if err := installs(n)(d); err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
		switch i % 4 {
		case 0:
			err = d.SetNote(fmt.Appendf(nil, "%d again", n))
		case 1, 2:
			err = d.Settle()
		default:
			_, err = d.Rollback(note(n - 1))
		}
	}
	return err
}

// TestKilledAtAnyMoment: a reader sees whole files of one version at all times, while processes that change them are
// killed again and again.
func TestKilledAtAnyMoment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	install(t, hostdir.New(dir, hostdir.Options{}), 0)
	putForeign(t, dir)
	done, readers := make(chan struct{}), sync.WaitGroup{}
	reads := [2]int{}
	for i, read := range []func(*testing.T, string){readPaths, readPair} {
		readers.Go(func() {
			for !t.Failed() {
				select {
				case <-done:
					return
				default:
					read(t, dir)
					reads[i]++
					time.Sleep(50 * time.Microsecond) // the processes that are killed need the cores too
				}
			}
		})
	}
	const kills = 220
	last, within := 0, time.Microsecond // which grows where a machine gets nowhere in that time
	for i := 0; i < kills && !t.Failed(); i++ {
		killSoon(t, childCommand(t, dir, "loop"), time.Duration(i*977%30000)*within)
		n := seen(t, dir)
		if i%10 == 9 {
			if n == last {
				within *= 2
			}
			last = n
		}
		s, err := hostdir.New(dir, hostdir.Options{}).Current()
		if err != nil || !hostdir.Equal(s.Files, version(n)) || firstWord(s.Note) != fmt.Sprint(n) {
			t.Errorf("version %d is shown, and the current set is %+v (%v)", n, s, err)
		}
		if s, err = hostdir.New(dir, hostdir.Options{}).Previous(); err != nil || len(s.Files) > 0 && firstWord(s.Note) != string(s.Files[0].Data) {
			t.Errorf("the previous set is %+v (%v)", s, err)
		}
		wantForeign(t, dir)
		wantNoneReadable(t, dir)
	}
	close(done)
	readers.Wait()
	d := hostdir.New(dir, hostdir.Options{})
	n := seen(t, dir) + 1
	install(t, d, n)
	settle(t, d)
	wantWhole(t, dir, n, n-1)
	wantTidy(t, dir)
	t.Logf("%d kills, version %d, %v reads", kills, n, reads)
	if n < 10 || reads[0] < kills || reads[1] < kills {
		t.Errorf("that is too little to say anything")
	}
}

// killSoon starts a process, and kills it some time after it is ready.
func killSoon(t *testing.T, cmd *exec.Cmd, after time.Duration) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Errorf("it did not begin: %v", err)
	}
	time.Sleep(after)
	if err := cmd.Process.Kill(); err != nil {
		t.Errorf("it had ended: %v", err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != -1 {
		t.Errorf("it ended by itself: %v: %s", err, complaints.String())
	}
}

func firstWord(note []byte) string {
	word, _, _ := strings.Cut(string(note), " ")
	return word
}

// readPaths reads all files through their paths.
func readPaths(t *testing.T, dir string) {
	for _, f := range append(version(0), hostdir.File{Path: foreign, Mode: 0o640}) {
		file, err := os.Open(filepath.Join(dir, f.Path))
		if err != nil {
			t.Errorf("read through the path: %v", err)
			return
		}
		info, err := file.Stat()
		if err != nil || info.Size() == 0 || info.Mode().Perm() != f.Mode {
			t.Errorf("%s is %+v (%v)", f.Path, info, err)
		}
		file.Close()
	}
}

// readPair reads a certificate, its key and the note of the set that ..data leads to.
func readPair(t *testing.T, dir string) {
	set, err := os.Readlink(filepath.Join(dir, "..data"))
	if err != nil {
		t.Errorf("resolve: %v", err)
		return
	}
	crt, errC := os.ReadFile(filepath.Join(dir, set, "pki/a.crt"))
	key, errK := os.ReadFile(filepath.Join(dir, set, "pki/a.key"))
	text, errN := os.ReadFile(filepath.Join(dir, set, "..note"))
	err = errors.Join(errC, errK, errN)
	if now, e := os.Readlink(filepath.Join(dir, "..data")); errors.Is(err, fs.ErrNotExist) && e == nil && now != set {
		return // too slow: it was swapped and settled meanwhile
	}
	if err != nil || string(crt) != string(key) || firstWord(text) != string(crt) {
		t.Errorf("read %q, %q and note %q (%v)", crt, key, text, err)
	}
}
