package e2e_test

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/testenv"
)

// proxy stands in front of a server, and can be taken away or lead elsewhere.
type proxy struct {
	address string

	mu    sync.Mutex
	to    func() string // "" drops what comes
	conns []net.Conn
}

// newProxy leads to an address, as long as it is not set to another one.
func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: l.Addr().String()}
	p.leadTo(to)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		p.down()
	})
	return p
}

// set leads what comes from now on elsewhere, and ends what is there.
func (p *proxy) set(to func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *proxy) leadTo(address string) { p.set(func() string { return address }) }

func (p *proxy) down() { p.leadTo("") }

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	to := p.to()
	p.conns = append(p.conns, c)
	p.mu.Unlock()
	if to == "" {
		return
	}
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		defer c.Close()
		io.Copy(c, far)
	}()
	io.Copy(far, c)
}

// hostPort is the address of a server by its URL.
func hostPort(t *testing.T, server string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// through has a certificate's kubeconfig name a proxy.
func (i issued) through(p *proxy) issued {
	i.endpoint = "https://" + p.address
	return i
}

// logged waits until the agent has said something.
func (h *host) logged(words ...string) {
	h.t.Helper()
	testenv.Eventually(h.t, "the log", func() error {
		for _, w := range words {
			if !strings.Contains(h.logs.String(), w) {
				return fmt.Errorf("it does not hold %q", w)
			}
		}
		return nil
	})
}

// swaps is what changes with any swap, and with any write beside the files.
func (h *host) swaps() string {
	h.t.Helper()
	link, err := os.Lstat(h.at("..data"))
	if err != nil {
		h.t.Fatal(err)
	}
	set, err := os.Stat(h.at("..data"))
	if err != nil {
		h.t.Fatal(err)
	}
	return fmt.Sprint(link.ModTime(), link.Sys().(*syscall.Stat_t).Ino, set.ModTime(), set.Sys().(*syscall.Stat_t).Ino)
}

// TestAgentWithoutItsManagementCluster keeps the files while the cluster that holds its Secrets is away, also over a
// restart, and catches up.
func TestAgentWithoutItsManagementCluster(t *testing.T) {
	t.Parallel()
	h := byHand(t)
	cluster := hostPort(t, kubeconfigServer(t, h.config.ManagementClusters[0].Kubeconfig))
	way := newProxy(t, cluster)
	detour := rest.CopyConfig(shared.config)
	detour.Host = "https://" + way.address
	h.config.ManagementClusters = managed(kubeconfigOf(t, detour))
	first := good(t)
	h.put(first)
	stop := h.run(agent.Options{})
	h.has(first)

	way.down()
	second := good(t)
	h.put(second)
	h.logged("Could not report")
	h.shows(first)
	way.leadTo(cluster)
	h.has(second)

	stop()
	way.down()
	third := good(t)
	h.put(third)
	before, files := h.swaps(), h.tree()
	h.logs = &logs{}
	h.run(agent.Options{})
	h.logged("Started", "Could not read")
	if after := h.swaps(); after != before || !maps.Equal(files, h.tree()) {
		t.Errorf("the files were touched: %s, and before %s", after, before)
	}
	way.leadTo(cluster)
	h.has(third)
}

// TestAgentWithoutItsAPIServer keeps what works while nobody can say whether what is new does.
func TestAgentWithoutItsAPIServer(t *testing.T) {
	t.Parallel()
	h := byHand(t)
	server := hostPort(t, shared.endpoint)
	way := newProxy(t, server)
	first := good(t).through(way)
	h.put(first)
	h.run(agent.Options{})
	h.has(first)

	way.down()
	second := good(t).through(way)
	h.put(second)
	h.complains(handLease, "the API server cannot be reached")
	h.shows(first)
	way.leadTo(server)
	h.has(second)
}

// TestAgentWithoutItsAPIServerForLong takes what is new, though nobody can say whether it works, when what is there is of no use any
// more.
func TestAgentWithoutItsAPIServerForLong(t *testing.T) {
	t.Parallel()
	h := byHand(t)
	server := hostPort(t, shared.endpoint)
	way := newProxy(t, server)
	r := kubeletRequest()
	r.Validity = pki.MinValidity
	short := issueBy(t, longLived(t), time.Now().Add(40*time.Second-r.Validity), r).through(way)
	h.put(short)
	h.run(agent.Options{})
	h.has(short)
	way.down()
	last := good(t).through(way)
	h.put(last)
	testenv.Eventually(t, "the last one is installed, though nobody can be asked", func() error {
		if got := h.report(handLease).Installed; got == nil || got.SerialNumber != last.serial {
			return fmt.Errorf("installed is %+v", got)
		}
		return nil
	})
	if time.Now().Before(short.pair.Cert.NotAfter) {
		t.Error("it was installed while the one of before was of use")
	}
	h.shows(last)
	way.leadTo(server)
	h.has(last)
}

// TestAgentIsRefused: an agent whose identity the management cluster does not accept says what to do, and goes on as soon
// as it has a kubeconfig that is accepted, or another management cluster accepts it.
func TestAgentIsRefused(t *testing.T) {
	t.Parallel()
	refused := rest.AnonymousClientConfig(shared.config)
	refused.BearerToken = "expired"
	h := byHand(t)
	accepted, own := h.config.ManagementClusters[0].Kubeconfig, kubeconfigOf(t, refused)
	h.config.ManagementClusters = managed(own)
	first := good(t)
	h.put(first)
	stop := h.run(agent.Options{})
	h.logged("does not accept this host's identity any more (401)", "Put a new kubeconfig at "+own, "docs/agent.md")
	text, err := os.ReadFile(accepted)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, text, 0o600); err != nil {
		t.Fatal(err)
	}
	h.has(first)
	stop()

	h.config.ManagementClusters = managed(kubeconfigOf(t, refused), accepted)
	second := good(t)
	h.put(second)
	h.run(agent.Options{})
	h.has(second)
}

// kubeconfigServer is the URL that a kubeconfig leads to.
func kubeconfigServer(t *testing.T, name string) string {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", name)
	if err != nil {
		t.Fatal(err)
	}
	server, _, err := rest.DefaultServerURL(c.Host, "", schema.GroupVersion{}, true)
	if err != nil {
		t.Fatal(err)
	}
	return server.String()
}
