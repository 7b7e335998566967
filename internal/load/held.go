package load

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// held is a client that runs for long: client-go's transport, with its own reload of certificate and CA.
type held struct {
	Identity
	Options
	row    *row
	client *http.Client
	host   string
	reload *reload
}

func newHeld(id Identity, o Options, r *row) (*held, error) {
	config, err := clientcmd.BuildConfigFromFlags("", id.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of %s: %w", id.Name, err)
	}
	h := &held{Identity: id, Options: o, row: r, host: config.Host}
	if h.reload, err = newReload(cmp.Or(config.CertFile, config.CAFile), o.Clock); err != nil {
		return nil, fmt.Errorf("identity %s: %w", id.Name, err)
	}
	// A dialer of its own also keeps client-go from sharing the pool with another client of these files.
	config.Dial = h.reload.dial
	if h.client, err = rest.HTTPClientFor(config); err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", id.Name, err)
	}
	return h, nil
}

func (h *held) run(ctx context.Context) {
	tick := time.NewTicker(h.HeldEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.ask(ctx)
		}
	}
}

// ask makes one request, and once more where client-go cut it off.
func (h *held) ask(ctx context.Context) {
	began := h.Clock.Now()
	err := h.get(ctx)
	if h.cutOff(ctx, err) {
		err = h.get(ctx)
	}
	h.count(ctx, began, err)
}

func (h *held) get(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	return get(ctx, h.client, h.host+h.Get)
}

// cutOff says whether an error is client-go's doing, when it reloads its certificate, or that of a server that ends, and counts it.
func (h *held) cutOff(ctx context.Context, err error) bool {
	reloaded := classify(err) == CutOff && h.reload.recent()
	if ctx.Err() != nil || !reloaded && (!h.ServersRestart || !closedByServer(err)) {
		return false
	}
	h.row.cutOff(err)
	return true
}

func (h *held) count(ctx context.Context, began time.Time, err error) {
	switch outcome := classify(err); {
	case ctx.Err() != nil: // the load is over
	case outcome == Answered:
		h.row.answered(began)
	case outcome == CutOff: // without a reload, or again
		h.row.failed(began, Failed, err)
	default:
		h.row.failed(began, outcome, err)
	}
}

var errSilent = errors.New("the watch brought neither an event nor a bookmark for too long")

// watchAlways holds a watch open, and opens it again where it ends: at the end of its time, which the server
// sets, or cut off by a reload. Every other end is a failure.
func (h *held) watchAlways(ctx context.Context) {
	retry := false // the last one was cut off
	for ctx.Err() == nil {
		began := h.Clock.Now()
		opened, err := h.watch(ctx, began)
		if (opened || !retry) && h.cutOff(ctx, err) {
			retry = true
			continue
		}
		retry = false
		if err != nil {
			if opened {
				began = h.Clock.Now()
			}
			h.count(ctx, began, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(h.HeldEvery):
		}
	}
}

// watch opens a watch, which counts as a request, and reads until it ends. nil: the server ended it in order.
func (h *held) watch(ctx context.Context, began time.Time) (opened bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(h.Silence, func() { cancel(errSilent) })
	defer silence.Stop()
	response, err := h.open(ctx)
	if err != nil {
		return false, whyEnded(ctx, err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end, or cancelled
	h.row.answered(began)
	lines := bufio.NewReader(response.Body)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull): // an event is longer than what has to be looked at
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return true, whyEnded(ctx, fmt.Errorf("watch: %w", err))
		case bytes.HasPrefix(line, []byte(`{"type":"ERROR"`)):
			return true, fmt.Errorf("the watch brought an error: %.200s", line)
		}
		silence.Reset(h.Silence)
	}
}

func (h *held) open(ctx context.Context) (*http.Response, error) {
	separator := "?"
	if strings.Contains(h.Watch, "?") {
		separator = "&"
	}
	url := h.host + h.Watch + separator + "watch=true&allowWatchBookmarks=true"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("open a watch: %w", err)
	}
	response, err := h.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("open a watch: %w", err)
	}
	if err := refusal(response); err != nil {
		return nil, errors.Join(err, response.Body.Close())
	}
	return response, nil
}

// whyEnded replaces the error of a watch that was cancelled by the reason for it.
func whyEnded(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	return err
}
