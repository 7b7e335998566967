package load

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
)

// heldAlone puts a server under the load of one client that keeps its connection.
func (s *server) heldAlone(t *testing.T, kubeconfig string, restarts bool) *Load {
	t.Helper()
	l, err := Start(t.Context(), []Identity{{Name: "u", Kubeconfig: kubeconfig, Get: "/things/a", Watch: "/things"}}, Options{
		Every: time.Hour, HeldEvery: 20 * time.Millisecond, Timeout: time.Minute, Silence: time.Minute, ServersRestart: restarts, Clock: clock.RealClock{},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Stop)
	eventually(t, l, "the client is answered", func(_, held Row) bool { return held.Requests > 5 })
	return l
}

// TestServersRestart: what a client loses with its connection when a server ends is asked again where that is said, counted apart, and else a failure.
func TestServersRestart(t *testing.T) {
	s := newServer(t)
	kubeconfig := filepath.Join(s.dir, "u.conf")
	l := s.heldAlone(t, kubeconfig, true)
	s.closes()
	eventually(t, l, "the watch is opened again", func(_, held Row) bool { return held.CutOff > 0 })
	before := l.Rows()[1].Requests
	eventually(t, l, "the client goes on", func(_, held Row) bool { return held.Requests > before+20 })
	if n := l.Total().Failures(); n > 0 {
		t.Errorf("%d requests failed:%s", n, few(l))
	}
	l.Stop()
	l = s.heldAlone(t, kubeconfig, false)
	s.closes()
	eventually(t, l, "it is a failure where no server is to restart", func(_, held Row) bool { return held.Failed > 0 && held.CutOff == 0 })
}

// TestToken: a kubeconfig may name the file of a token, which is read again.
func TestToken(t *testing.T) {
	s := newServer(t)
	c, err := clientcmd.LoadFromFile(filepath.Join(s.dir, "u.conf"))
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(token, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	s.token.Store("one")
	for _, u := range c.AuthInfos {
		u.ClientCertificate, u.ClientKey, u.TokenFile = "", "", token
	}
	for _, cluster := range c.Clusters {
		cluster.CertificateAuthority = filepath.Join(s.dir, "pki/ca.crt")
	}
	kubeconfig := filepath.Join(t.TempDir(), "token.conf")
	if err := clientcmd.WriteToFile(*c, kubeconfig); err != nil {
		t.Fatal(err)
	}
	l := s.heldAlone(t, kubeconfig, false)
	if n := l.Total().Failures(); n > 0 {
		t.Errorf("%d requests failed:%s", n, few(l))
	}
	f := &fresh{Identity: Identity{Kubeconfig: kubeconfig, Get: "/things/a"}, Options: Options{Timeout: time.Minute}}
	if err := f.get(t.Context()); err != nil {
		t.Errorf("with a token: %v", err)
	}
	s.token.Store("two")
	if err := f.get(t.Context()); classify(err) != Refused {
		t.Errorf("with a token that ended: %v", err)
	}
	write("two")
	if err := f.get(t.Context()); err != nil {
		t.Errorf("with another token: %v", err)
	}
}

func TestClosedByServer(t *testing.T) {
	for err, want := range map[error]bool{
		fmt.Errorf("ask: %w", io.EOF): true, io.ErrUnexpectedEOF: true, syscall.ECONNRESET: true,
		errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=1"): true,
		errors.New("connect: connection refused"):                                         false,
		errors.New("remote error: tls: bad certificate"):                                  false,
		&statusError{500, "server sent GOAWAY"}:                                           false,
	} {
		if got := closedByServer(err); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
	if closedByServer(nil) {
		t.Error("an answer is no closed connection")
	}
}
