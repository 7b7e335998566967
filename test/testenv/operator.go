package testenv

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/visits"
)

// Operator is the operator, running in this process.
type Operator struct {
	manager.Manager
	Progress *visits.Progress // of its reconciliations
	Requests *Requests
	cancel   context.CancelFunc
	ended    chan struct{}
	err      error // how it ended, once ended is closed
}

// Loopback is where the API servers of tests are.
var Loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// StartOperator runs the operator until it is stopped, with the rights of a connection: those that manifests give it, where it is an
// Installation's. Before it starts, more may be added to it.
func StartOperator(cfg *rest.Config, o controller.Options, more ...func(manager.Manager) error) (*Operator, error) {
	op := &Operator{Progress: &visits.Progress{}, Requests: &Requests{}, ended: make(chan struct{})}
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return counted{op.Requests, next} })
	o.Progress, o.ProbeAllow = op.Progress, Loopback
	ctx, cancel := context.WithCancel(context.Background())
	mgr, err := controller.New(ctx, cfg, o)
	for i := 0; err == nil && i < len(more); i++ {
		err = more[i](mgr)
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("set the operator up: %w", err)
	}
	op.Manager, op.cancel = mgr, cancel
	go func() {
		defer close(op.ended)
		op.err = mgr.Start(ctx)
	}()
	return op, nil
}

// Ended is closed when it has ended, by itself or by Stop.
func (o *Operator) Ended() <-chan struct{} { return o.ended }

// Stop ends it, and says how it ended; it may be called again.
func (o *Operator) Stop() error {
	o.cancel()
	<-o.ended
	if o.err != nil {
		return fmt.Errorf("the operator ended: %w", o.err)
	}
	return nil
}

// RunOperator runs the operator until the function that it returns is called, or the test ends.
func RunOperator(t testing.TB, cfg *rest.Config, o controller.Options) (op *Operator, stop func()) {
	t.Helper()
	op, err := StartOperator(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	stop = func() {
		t.Helper()
		if err := op.Stop(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return op, stop
}

// Client is a connection that reads no cache.
func Client(cfg *rest.Config) (client.WithWatch, error) {
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: controller.Scheme()})
	if err != nil {
		return nil, fmt.Errorf("connect to the control plane: %w", err)
	}
	return c, nil
}

// As is somebody's connection as a ServiceAccount, with its permissions and no more.
func As(cfg *rest.Config, namespace, account string) *rest.Config {
	return AsUser(cfg, "system:serviceaccount:"+namespace+":"+account, "system:serviceaccounts", "system:serviceaccounts:"+namespace)
}

// AsUser is somebody's connection as another user, with what is allowed to that one and its groups.
func AsUser(cfg *rest.Config, user string, groups ...string) *rest.Config {
	out := rest.CopyConfig(cfg)
	out.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
	return out
}
