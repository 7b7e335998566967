package dashboard

import (
	"errors"
	"net"
	"net/http"
	"strings"
)

const (
	bearer = "Bearer "
	// maxToken is what fits into a cookie.
	maxToken = 3900
	// secureCookie can be set by this host over HTTPS alone, and for no other.
	secureCookie = "__Host-clusterpki"
	plainCookie  = "clusterpki"
)

// cookieName differs by port, because cookies do not: two dashboards on one host would sign each other out.
func cookieName(r *http.Request) string {
	name := plainCookie
	if r.TLS != nil {
		name = secureCookie
	}
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		name += "-" + port
	}
	return name
}

// tokenOf is the token of a request: that of the Authorization header, else that of the cookie.
func tokenOf(r *http.Request) string {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), bearer); ok {
		return token
	}
	c, err := r.Cookie(cookieName(r))
	if err != nil {
		return ""
	}
	return c.Value
}

// remember lets the browser send a token along, until it is closed. There is no session here.
func remember(w http.ResponseWriter, r *http.Request, token string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // it is Secure over HTTPS; without, there is only this machine
		Name: cookieName(r), Value: token, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
}

// login shows the form, or takes the code of a link.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	code := r.URL.Query().Get("code")
	if s.options.Link == nil || code == "" {
		s.write(w, http.StatusOK, "login", loginPage{Link: s.options.Link != nil})
		return
	}
	token, ok := s.options.Link.Redeem(code)
	if !ok {
		s.write(w, http.StatusUnauthorized, "login", loginPage{Link: true, Problem: "This link was used already. The terminal shows the next one."})
		return
	}
	remember(w, r, token, 0)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// signIn takes the token of the form.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		s.write(w, http.StatusBadRequest, "login", loginPage{Problem: "The form could not be read."})
		return
	}
	token := strings.TrimSpace(r.PostForm.Get("token"))
	token = strings.TrimPrefix(token, bearer)
	if len(token) > maxToken {
		s.write(w, http.StatusBadRequest, "login", loginPage{Problem: "The token is too long for a cookie. Send it as an Authorization header."})
		return
	}
	v, err := s.options.Access.Admit(r.Context(), token, s.hub.namespaces())
	switch {
	case errors.Is(err, ErrUnknown):
		s.write(w, http.StatusUnauthorized, "login", loginPage{Link: s.options.Link != nil,
			Problem: "The API server does not know this token, or it has expired."})
	case err != nil:
		s.refuse(w, v, err)
	default:
		remember(w, r, token, 0)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// signOut lets the browser forget the token.
func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	remember(w, r, "", -1)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}
