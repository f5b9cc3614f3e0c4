// Package route is the table of the cloud's HTTP API: each route stands there with the policy
// that says who may call it. A route without one is refused when the table is built.
//
// It guarantees that the policy is decided before a handler runs, by the caller's role in the
// domains that own what the route is about, and that whoever may not even see a thing is
// answered as if it were not there.
package route

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// Route is one operation of the API.
type Route struct {
	Method  string // GET, POST, …
	Path    string // of http.ServeMux, such as /v1/sites/{site}/spaces
	Summary string // one line for the API's description
	Tag     string // the module, for the API's description
	Need    Need
	MaxBody int64 // in bytes; 0 = DefaultMaxBody

	Handle func(*Request) (any, error) // answers; what it may return is told at Router
	Serve  http.Handler                // instead of Handle: answers by itself (streams, files)

	In, Out any // zero values of the body's and the answer's types, for the API's description; may be nil
}

// Need is a route's policy. Exactly one of Public, SignedIn and Of is set.
type Need struct {
	Public   bool // everybody, without a token
	SignedIn bool // everybody who has proved who it is; the handler answers about the caller's own things, or filters by Request.Who

	// Of returns the domains that own what the request is about; the caller needs Role in one of
	// them. It may keep what it found in Request.Found. store.ErrNotFound-like errors are
	// answered 404 by wrapping ErrNotFound. It must not change anything.
	Of   func(*Request) (domains []string, err error)
	Role token.Role

	// Permission is what a service token must carry besides; empty means "read" for GET and HEAD
	// and "write" for all other methods.
	Permission string
}

// ErrNotFound is wrapped by errors of Need.Of and Handle that mean 404.
var ErrNotFound = errors.New("there is no such thing")

// DefaultMaxBody bounds request bodies in bytes.
const DefaultMaxBody = 256 << 10

// Request is a request whose policy was decided.
type Request struct {
	*http.Request
	Who   *token.Identity // the caller; nil on public routes without a token
	Found any             // what Need.Of left
}

// Decode reads the JSON body strictly into v; a mistake is a problem of status 400.
func (r *Request) Decode(v any) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return gateway.NewProblem(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", big.Limit)
		}
		return gateway.NewProblem(http.StatusBadRequest, "the body could not be read")
	}
	if err := gateway.DecodeStrict(b, v); err != nil {
		return gateway.NewProblem(http.StatusBadRequest, "body: %v", err)
	}
	return nil
}

// IfMatch holds a change to the version that the caller has seen: 428 without If-Match, 412
// when it names another version than etag. "*" matches every version.
func (r *Request) IfMatch(etag string) error {
	want := r.Header.Get("If-Match")
	if want == "" {
		return gateway.NewProblem(http.StatusPreconditionRequired, "send the ETag of the version you have seen as If-Match")
	}
	for tag := range strings.SplitSeq(want, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || tag == etag {
			return nil
		}
	}
	return gateway.NewProblem(http.StatusPreconditionFailed, "it was changed in the meantime; read it again")
}

// ETag is a strong validator made from the JSON form of v.
func ETag(v any) string {
	b, _ := json.Marshal(v) // what cannot be encoded cannot be answered either
	h := sha256.Sum256(b)
	return `"` + hex.EncodeToString(h[:12]) + `"`
}

// Response is an answer that is more than 200 with a JSON body.
type Response struct {
	Status      int // 0 = 200
	Header      http.Header
	ContentType string // of Raw
	Raw         []byte // body as it is; nil = Body as JSON
	Body        any    // nil and no Raw = no body
}

// Created is the answer 201 with a Location.
func Created(location string, body any) *Response {
	return &Response{Status: http.StatusCreated, Header: http.Header{"Location": {location}}, Body: body}
}

// WithETag is the answer 200 with the validator of body.
func WithETag(body any) *Response {
	return &Response{Header: http.Header{"Etag": {ETag(body)}}, Body: body}
}

// Problem makes an error that the caller is told about.
func Problem(status int, format string, args ...any) error {
	return gateway.NewProblem(status, format, args...)
}

// Router serves a table of routes. A handler may return a *Response, nil for 204, or any other
// value for 200 with that value as JSON; errors that are *gateway.Problem are answered as they
// are, those that wrap ErrNotFound with 404, and all others with 500 and a line in the log.
type Router struct {
	mux    *http.ServeMux
	routes []Route
	log    *slog.Logger
}

// NewRouter makes an empty router. Paths that no route has are for fallback.
func NewRouter(log *slog.Logger, fallback http.Handler) *Router {
	rt := &Router{mux: http.NewServeMux(), log: log}
	rt.mux.Handle("/", fallback)
	return rt
}

// Routes lists the table.
func (rt *Router) Routes() []Route { return rt.routes }

// Add adds routes. An error is a mistake of the program: a route without a policy, or one that
// collides with another.
func (rt *Router) Add(routes ...Route) (err error) {
	defer func() { // ServeMux panics on patterns that collide
		if p := recover(); p != nil {
			err = fmt.Errorf("routes: %v", p)
		}
	}()
	for _, r := range routes {
		if err := r.check(); err != nil {
			return fmt.Errorf("route %s %s: %w", r.Method, r.Path, err)
		}
		rt.mux.Handle(r.Method+" "+r.Path, rt.handler(r))
		rt.routes = append(rt.routes, r)
	}
	return nil
}

func (r *Route) check() error {
	policies := 0
	for _, set := range []bool{r.Need.Public, r.Need.SignedIn, r.Need.Of != nil} {
		if set {
			policies++
		}
	}
	switch {
	case policies != 1:
		return errors.New("has no policy, or more than one: set one of Public, SignedIn and Of")
	case r.Need.Of != nil && r.Need.Role == token.None:
		return errors.New("its policy names no role")
	case (r.Handle == nil) == (r.Serve == nil):
		return errors.New("set one of Handle and Serve")
	}
	return nil
}

// ServeHTTP answers one request; its context carries the caller (token.Into).
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) { rt.mux.ServeHTTP(w, r) }

func (rt *Router) handler(route Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		limit := route.MaxBody
		if limit == 0 {
			limit = DefaultMaxBody
		}
		if hr.Body != nil && hr.Body != http.NoBody {
			hr.Body = http.MaxBytesReader(w, hr.Body, limit)
		}
		r := &Request{Request: hr, Who: token.From(hr.Context())}
		if err := route.Need.admit(r); err != nil {
			rt.fail(w, r, err)
			return
		}
		if route.Serve != nil {
			route.Serve.ServeHTTP(w, hr.WithContext(context.WithValue(hr.Context(), foundKey{}, r.Found)))
			return
		}
		answer, err := route.Handle(r)
		if err != nil {
			rt.fail(w, r, err)
			return
		}
		write(w, answer)
	})
}

type foundKey struct{}

// Found is what Need.Of left, for handlers given as Serve.
func Found(ctx context.Context) any { return ctx.Value(foundKey{}) }

// admit decides the policy.
func (n *Need) admit(r *Request) error {
	if n.Public {
		return nil
	}
	if r.Who == nil {
		return Unauthorized()
	}
	if r.Who.Kind == token.Device {
		return Problem(http.StatusForbidden, "a device's token is for sending readings to its hub")
	}
	permission := n.Permission
	if permission == "" {
		permission = "write"
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			permission = "read"
		}
	}
	if !r.Who.Allows(permission) {
		return Problem(http.StatusForbidden, "the service's token lacks the permission %q", permission)
	}
	if n.SignedIn {
		return nil
	}
	domains, err := n.Of(r)
	if err != nil {
		return err
	}
	switch have := r.Who.RoleIn(domains); {
	case have == token.None:
		return ErrNotFound // whoever may not see it does not learn that it is there
	case have < n.Role:
		return Problem(http.StatusForbidden, "this needs the role %s; yours is %s", n.Role, have)
	}
	return nil
}

// Unauthorized is the answer to callers who have not proved who they are.
func Unauthorized() *gateway.Problem {
	p := gateway.NewProblem(http.StatusUnauthorized, "log in, or send a token: Authorization: Bearer TOKEN")
	p.Header = http.Header{"Www-Authenticate": {`Bearer realm="headcount"`}}
	return p
}

func (rt *Router) fail(w http.ResponseWriter, r *Request, err error) {
	var p *gateway.Problem
	switch {
	case errors.As(err, &p):
	case errors.Is(err, ErrNotFound):
		p = gateway.NewProblem(http.StatusNotFound, "there is nothing here that you may see")
	default:
		if r.Context().Err() == nil {
			rt.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		}
		p = gateway.NewProblem(http.StatusInternalServerError, "the cloud could not do this; its log says why")
	}
	gateway.WriteProblem(w, p)
}

func write(w http.ResponseWriter, answer any) {
	resp, ok := answer.(*Response)
	if !ok {
		resp = &Response{Body: answer}
	}
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	status := resp.Status
	switch {
	case resp.Raw != nil:
		if status == 0 {
			status = http.StatusOK
		}
		w.Header().Set("Content-Type", resp.ContentType)
		w.WriteHeader(status)
		_, _ = w.Write(resp.Raw) // a failing write: the client is gone
	case resp.Body == nil:
		if status == 0 {
			status = http.StatusNoContent
		}
		w.WriteHeader(status)
	default:
		if status == 0 {
			status = http.StatusOK
		}
		gateway.WriteJSON(w, "application/json", status, resp.Body)
	}
}
