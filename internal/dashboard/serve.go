package dashboard

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// What a client may take.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 15 * time.Second
	idleTimeout  = 2 * time.Minute
	maxHeader    = 32 << 10
	maxForm      = 16 << 10
	maxStreams   = 200
	// maxUnsure is how long a stream goes on while nobody can tell whether its viewer may still look.
	maxUnsure = 2 * time.Minute
)

// Handler answers the requests. Everything but the sign-in page and what it needs is for viewers.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /login", s.login)
	mux.HandleFunc("POST /login", s.signIn)
	mux.HandleFunc("POST /logout", s.signOut)
	for _, name := range []string{"assets/live.js", "assets/style.css", "assets/icon.svg"} { // and not the templates beside them
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, name) })
	}
	return guard(s.options.Hosts, mux)
}

// viewer is who asks; where that is nobody who may look, it has been answered, and ok is false.
func (s *Server) viewer(w http.ResponseWriter, r *http.Request) (v Viewer, ok bool) {
	v, err := s.admit(r)
	switch {
	case err == nil && !s.hub.ready():
		err = errors.New("the objects are being read: try again in a moment")
		fallthrough
	case err != nil:
		s.refuse(w, v, err)
		return v, false
	default:
		return v, true
	}
}

func (s *Server) admit(r *http.Request) (Viewer, error) {
	return s.options.Access.Admit(r.Context(), tokenOf(r), s.hub.namespaces())
}

// refuse says why somebody sees nothing.
func (s *Server) refuse(w http.ResponseWriter, v Viewer, err error) {
	switch {
	case errors.Is(err, ErrUnknown):
		w.Header().Set("WWW-Authenticate", `Bearer realm="clusterpki"`)
		s.write(w, http.StatusUnauthorized, "login", loginPage{Link: s.options.Link != nil})
	case errors.Is(err, ErrForbidden):
		s.write(w, http.StatusForbidden, "refused", refusedPage{"You may not see this", v.Name + ": " + err.Error() + "."})
	case errors.Is(err, ErrBusy):
		w.Header().Set("Retry-After", "5")
		s.write(w, http.StatusTooManyRequests, "refused", refusedPage{"One moment", err.Error() + "."})
	default:
		s.options.Log.Info("Could not tell who may see the dashboard", "error", err.Error())
		w.Header().Set("Retry-After", "5")
		s.write(w, http.StatusServiceUnavailable, "refused", refusedPage{
			"One moment", "It cannot be told now who you are and what you may see: try again in a moment.",
		})
	}
}

// write answers with a page.
func (s *Server) write(w http.ResponseWriter, code int, name string, data any) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		s.options.Log.Error(err, "Could not make a page", "page", name)
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	if _, err := w.Write(b.Bytes()); err != nil {
		s.options.Log.V(1).Info("Could not answer", "error", err.Error())
	}
}

// page is the whole page.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	v, ok := s.viewer(w, r)
	if !ok {
		return
	}
	live, _, err := s.hub.page(v)
	if err != nil {
		s.refuse(w, v, err)
		return
	}
	s.write(w, http.StatusOK, "page", pageOf(v, live, s.options.Link == nil))
}

// events sends the live part of the page whenever it has changed, as server-sent events, until the viewer leaves or may no
// longer look.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	v, ok := s.viewer(w, r)
	if !ok {
		return
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		http.Error(w, "too many look on at one time", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no") // for a proxy in between
	out := stream{w: w, control: http.NewResponseController(w), deadline: func() time.Time { return s.options.Clock.Now().Add(writeTimeout) }}
	if err := out.control.SetReadDeadline(time.Time{}); err != nil { // the request has been read; there comes no more
		s.options.Log.V(1).Info("Could not keep a connection open", "error", err.Error())
	}
	recheck := time.NewTicker(s.options.Recheck)
	defer recheck.Stop()
	sure := s.options.Clock.Now()
	var last []byte
	for {
		live, changed, err := s.hub.page(v)
		if err != nil {
			s.options.Log.Error(err, "Could not make a page", "page", "live")
			return
		}
		if !bytes.Equal(live, last) {
			last = live
			err = out.send("view", string(live))
		}
		if err != nil {
			return // whoever looked has left
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-recheck.C:
			now, err := s.admit(r)
			switch {
			case err == nil:
				v, sure = now, s.options.Clock.Now()
			case errors.Is(err, ErrUnknown), errors.Is(err, ErrForbidden), s.options.Clock.Since(sure) >= maxUnsure:
				_ = out.send("end", "-") //nolint:errcheck // it ends anyway
				return
			}
			if err := out.send("alive", "-"); err != nil {
				return
			}
		}
	}
}

// lineEnds are what ends a line of a stream of events (HTML Living Standard, 9.2.5): a text of others could begin an event of its own.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// stream writes server-sent events.
type stream struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	deadline func() time.Time
}

func (s stream) send(event, data string) error {
	if err := s.control.SetWriteDeadline(s.deadline()); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("limit the time to write: %w", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "event: %s\n", event)
	for line := range strings.SplitSeq(lineEnds.Replace(data), "\n") {
		fmt.Fprintf(&b, "data: %s\n", line)
	}
	b.WriteString("\n")
	if _, err := s.w.Write([]byte(b.String())); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := s.control.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	// Until the next event there is no hurry: HTTP/2 resets a stream at its deadline, whether something is written or not.
	if err := s.control.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("lift the limit of the time to write: %w", err)
	}
	return nil
}
