// Browser starts a real API server and `clusterpki manager` with its dashboard, fills it with two clusters, and lets
// dashboard.test.mjs look at it in headless Chromium, which tells it what to change meanwhile. Run it with `make test-browser`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"clusterpki.io/operator/internal/cli"
	"clusterpki.io/operator/test/testenv"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "test/browser:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	env, err := testenv.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Stop()) }()
	dir, err := os.MkdirTemp("", "clusterpki-browser-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	said, err := quiet(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer func() { said(err) }()
	kubeconfig, err := env.KubeconfigFile()
	if err != nil {
		return err
	}
	if err := os.Setenv("KUBECONFIG", kubeconfig); err != nil {
		return err
	}
	api, err := testenv.Client(env.Config)
	if err != nil {
		return err
	}
	return look(ctx, fixture{api: api})
}

// look starts the two dashboards, and lets the browser look at them.
func look(ctx context.Context, w fixture) error {
	address, err := testenv.FreeAddress()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var commands sync.WaitGroup
	defer commands.Wait()
	defer cancel()
	start := func(out io.Writer, args ...string) {
		c := cli.New()
		c.SetOut(out)
		c.SetErr(out)
		c.SetArgs(args)
		commands.Go(func() {
			if err := c.ExecuteContext(ctx); err != nil && ctx.Err() == nil {
				fmt.Fprintln(out, args[0]+":", err)
				cancel()
			}
		})
	}
	start(os.Stderr, "manager", "--health-probe-bind-address=0", "--dashboard-bind-address="+address)
	if err := w.fill(ctx); err != nil {
		return err
	}
	prints := &lines{}
	start(prints, "dashboard", "--namespace=prod", "--bind-address=127.0.0.1:0")
	control, err := w.control(ctx, prints)
	if err != nil {
		return err
	}
	node := exec.CommandContext(ctx, "node", "--test", "--test-reporter=spec", "dashboard.test.mjs")
	node.Dir = filepath.Join(testenv.Root(), "test", "browser")
	node.Env = append(os.Environ(), "DASHBOARD=https://"+address, "CONTROL=http://"+control)
	node.Stdout, node.Stderr = os.Stdout, os.Stdout
	return node.Run()
}

// quiet lets the operator log into a file; the function that it returns shows that if there was an error.
func quiet(file string) (func(error), error) {
	log, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	terminal := os.Stderr
	os.Stderr = log
	return func(err error) {
		os.Stderr = terminal
		if text, readErr := os.ReadFile(file); err != nil && readErr == nil {
			fmt.Fprintf(terminal, "The operator has logged:\n%s", text)
		}
	}, nil
}

// lines are what a command has printed so far.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// last is the last whole line that begins with a word, without the word; "" for none yet.
func (l *lines) last(word string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := strings.Split(l.text.String(), "\n")
	for i := len(all) - 2; i >= 0; i-- {
		if rest, ok := strings.CutPrefix(all[i], word+" "); ok {
			return rest
		}
	}
	return ""
}

// control serves what the browser's script asks for: tokens, the link of `clusterpki dashboard`, and changes to the cluster.
func (w fixture) control(ctx context.Context, prints *lines) (string, error) {
	mux := http.NewServeMux()
	handle := func(pattern string, do func(*http.Request) (string, error)) {
		mux.HandleFunc(pattern, func(out http.ResponseWriter, r *http.Request) {
			text, err := do(r)
			if err != nil {
				http.Error(out, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprint(out, text)
		})
	}
	handle("POST /user", func(r *http.Request) (string, error) {
		return w.user(r.Context(), r.FormValue("name"), r.FormValue("namespace"))
	})
	handle("POST /revoke", func(r *http.Request) (string, error) { return "", w.revoke(r.Context(), r.FormValue("name")) })
	handle("POST /edit", func(r *http.Request) (string, error) { return "", w.edit(r.Context(), r.FormValue("validity")) })
	handle("GET /link", func(r *http.Request) (string, error) {
		var link string
		return link, testenv.Wait(r.Context(), func() error {
			if link = prints.last("Open"); link == "" {
				return errors.New("clusterpki dashboard has not printed a link")
			}
			return nil
		})
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	context.AfterFunc(ctx, func() { server.Close() })
	return l.Addr().String(), nil
}
