package agent

import (
	"context"
	"io"
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// RunFile keeps the files of this host current, as a configuration file says, until the context ends. It logs text: people read it in the journal of
// the host.
func RunFile(ctx context.Context, file string, log io.Writer) error {
	cfg, err := ReadConfig(file)
	if err != nil {
		return err
	}
	unlock, err := Lock(cfg)
	if err != nil {
		return err
	}
	defer unlock()
	a, err := New(cfg, Options{Clock: clock.RealClock{}, Log: Log(log)})
	if err != nil {
		return err
	}
	a.Run(ctx)
	return nil
}

// Log is a logger that writes text.
func Log(to io.Writer) logr.Logger { return logr.FromSlogHandler(slog.NewTextHandler(to, nil)) }

// LogLibraries has client-go log to a logger: it has one for the process.
func LogLibraries(log logr.Logger) { klog.SetLogger(log) }
