package api

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// call is what is known of one request. It is filled in by the middleware before the handler
// runs and not changed afterwards.
type call struct {
	id    string // correlation id
	by    string // who asks, as commands and the audit name it
	known bool   // by has proved who it is with a token
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{by: "local"}
}

// middleware wraps the routes: correlation id, metrics and panics outermost, then what is
// refused before a handler sees it.
func (a *API) middleware(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	checked := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch err := crossOrigin.Check(r); {
		case !a.rightHost(r):
			problem(w, r, http.StatusMisdirectedRequest, "this hub is not called "+r.Host+"; use its address, or add the name to http.hosts")
		case err != nil:
			problem(w, r, http.StatusForbidden, "requests that change something are taken from this hub's own pages only")
		case a.admit(w, r):
			next.ServeHTTP(w, r)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{id: requestID(r), by: "local"}
		r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
		rec := &recorder{ResponseWriter: w}
		protect(w.Header(), c.id)
		start := time.Now()
		defer func() {
			a.recovered(recover(), rec, r)
			a.metrics.observe(r, rec.status, time.Since(start))
		}()
		checked.ServeHTTP(rec, r)
	})
}

// protect sets the headers that every answer has.
func protect(h http.Header, id string) {
	h.Set("X-Request-Id", id)
	h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store") // handlers that may be cached say so themselves
}

// requestID takes over the caller's correlation id when it is a harmless one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	harmless := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.:", c)
	}
	if id == "" || len(id) > 64 || strings.ContainsFunc(id, func(c rune) bool { return !harmless(c) }) {
		return randomID()
	}
	return id
}

// rightHost refuses names that are not ours on an API without tokens: a page on a foreign name
// that resolves to this machine could otherwise read and change everything (DNS rebinding).
// Addresses are safe, as no page can have one as its name and ours as its target.
func (a *API) rightHost(r *http.Request) bool {
	if len(a.opts.Tokens) > 0 {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(a.opts.Hosts, host)
}

// recovered turns a panic of a handler into a problem that names the request.
func (a *API) recovered(p any, w *recorder, r *http.Request) {
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	id := callOf(r.Context()).id
	a.log.Error("request panicked", "request", id, "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	problem(w, r, http.StatusInternalServerError, "the hub failed to answer; its log tells more under this request id")
}

// fail turns an error of the site or its history into a problem.
func (a *API) fail(ctx context.Context, err error) error {
	c := callOf(ctx)
	switch {
	case errors.Is(err, ErrGone):
		return huma.Error410Gone("this is no longer kept; begin later, events without a cursor")
	case ctx.Err() != nil:
		return huma.Error503ServiceUnavailable("the request was given up before its answer was ready")
	}
	a.log.Error("request failed", "request", c.id, "err", err)
	return huma.Error500InternalServerError("the hub failed to answer; its log tells more under request id " + c.id)
}

// problem answers with an RFC 9457 problem.
func problem(w http.ResponseWriter, r *http.Request, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{
		"title": http.StatusText(status), "status": status, "detail": detail, "request_id": callOf(r.Context()).id,
	})
}

// recorder remembers the status of an answer. http.ResponseController and the WebSocket
// library reach the connection through Unwrap.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 || w.status < 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}
