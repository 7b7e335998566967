package cli

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/dashboard"
)

const dashboardLong = `Serves a page on this machine that shows ClusterCAs on a timeline, what they issued, what expires next,
and the rotation of a CA as it happens, with who has acknowledged. It changes by itself.

It reads as you: what your kubeconfig may read is what the page shows. It reads ClusterCAs,
APIServerCertificates and NodeCredentials, and no Secret, and it writes nothing.

It prints a link that is good once, and, when that was opened, the next one. To let several people look, each
with rights of their own, let the operator serve it: flag --dashboard-bind-address of its manager.

`

const dashboardExample = `  clusterpki dashboard -n prod       # one namespace
  clusterpki dashboard -A            # all`

type dashboardCommand struct {
	connection
	everywhere bool
	address    string
	secure     bool
}

func newDashboard() *cobra.Command {
	var f dashboardCommand
	c := &cobra.Command{
		Use:     "dashboard",
		Short:   "Serve a page on this machine that shows CAs and their rotation, live",
		Long:    dashboardLong + exits(untilStopped),
		Example: dashboardExample,
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	f.addFlags(c)
	c.Flags().BoolVarP(&f.everywhere, "all-namespaces", "A", false, "show all namespaces")
	c.Flags().StringVar(&f.address, "bind-address", dashboard.DefaultAddress, "`address` to serve the page on")
	c.Flags().BoolVar(&f.secure, "secure", false, "serve HTTPS with a self-signed certificate; needed for any address that is not of this machine alone")
	return c
}

func (f *dashboardCommand) run(c *cobra.Command) error {
	if f.everywhere && f.overrides.Context.Namespace != "" {
		return errBoth
	}
	config, namespace, err := f.config()
	if err != nil {
		return err
	}
	reader, err := client.New(config, client.Options{Scheme: controller.Scheme()})
	if err != nil {
		return fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	viewer := dashboard.Viewer{Name: "Your kubeconfig", Everything: true, Namespaces: []string{namespace}}
	if f.everywhere {
		namespace, viewer.Namespaces = "", nil
	}
	// Whoever may not read is told so now: a cache would try for ever.
	if _, err := readObjects(c.Context(), reader, namespace); err != nil {
		return fmt.Errorf("dashboard: %w", err)
	}
	objects, err := kindsOf(config, namespace)
	if err != nil {
		return err
	}
	return f.serve(c, objects, viewer)
}

// serve serves the page until it is interrupted.
func (f *dashboardCommand) serve(c *cobra.Command, objects cache.Cache, viewer dashboard.Viewer) error {
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	var base string
	link := dashboard.NewLink(viewer, func(code string) {
		fmt.Fprintf(c.OutOrStdout(), "Open %s/login?code=%s\n", base, code)
	})
	server, err := dashboard.New(objects, dashboard.Options{
		Address: f.address, Secure: f.secure, Access: link, Link: link, Clock: clock.RealClock{}, Log: logr.Discard(),
		Listening: func(at net.Addr) {
			base = f.url(at)
			link.Show()
		},
	})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- objects.Start(ctx) }()
	err = server.Start(ctx)
	cancel()
	return errors.Join(err, <-ended)
}

// url is how a browser on this machine asks for the page.
func (f *dashboardCommand) url(at net.Addr) string {
	scheme, host := "http", at.String()
	if f.secure {
		scheme = "https"
	}
	if ip, port, err := net.SplitHostPort(host); err == nil && net.ParseIP(ip).IsUnspecified() {
		host = net.JoinHostPort("localhost", port)
	}
	return scheme + "://" + host
}

// kindsOf reads all kinds of a namespace, or with "" of all, and cannot read anything else.
func kindsOf(config *rest.Config, namespace string) (cache.Cache, error) {
	o := cache.Options{
		Scheme: controller.Scheme(), ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{},
	}
	for _, k := range v1alpha1.Kinds() {
		o.ByObject[k.New()] = cache.ByObject{}
	}
	if namespace != "" {
		o.DefaultNamespaces = map[string]cache.Config{namespace: {}}
	}
	c, err := cache.New(config, o)
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	return c, nil
}

// dashboardFlags are the manager's switch for the dashboard.
type dashboardFlags struct {
	address string
	secure  bool
	hosts   []string
}

func (d *dashboardFlags) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&d.address, "dashboard-bind-address", "0", "`address` to serve the dashboard on, such as :8444; 0 serves none")
	f.BoolVar(&d.secure, "dashboard-secure", true, "serve the dashboard over HTTPS with a self-signed certificate; "+
		"without, only a loopback address is allowed")
	f.StringSliceVar(&d.hosts, "dashboard-host", nil, "`name` by which browsers ask for the dashboard, such as that of an Ingress; "+
		"localhost, addresses and names in .svc are known")
}

func (d *dashboardFlags) off() bool { return d.address == "" || d.address == "0" }

// check refuses what cannot be served, before anything is asked or started.
func (d *dashboardFlags) check() error {
	if d.off() {
		return nil
	}
	return dashboard.Check(d.address, d.secure)
}

// addTo lets a manager serve the dashboard, for whom the API server says that they may read what it shows.
func (d *dashboardFlags) addTo(mgr ctrl.Manager) error {
	if d.off() {
		return nil
	}
	access, err := dashboard.NewReviews(mgr.GetConfig(), mgr.GetHTTPClient(), clock.RealClock{}, 0)
	if err != nil {
		return err
	}
	server, err := dashboard.New(mgr.GetCache(), dashboard.Options{
		Address: d.address, Secure: d.secure, Hosts: d.hosts, Access: access, Clock: clock.RealClock{}, Log: ctrl.Log.WithName("dashboard"),
	})
	if err != nil {
		return err
	}
	if err := mgr.Add(server); err != nil {
		return fmt.Errorf("add the dashboard: %w", err)
	}
	return nil
}
