package accounts

import (
	"net/http"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/edge/gateway"
)

// The cookies of a login by the page: the access token for pages and sockets, and the refresh
// token for /auth alone. Scripts cannot read them, and foreign pages cannot send them.
const (
	SessionCookie = "headcount_session"
	refreshCookie = "headcount_refresh"
)

// maxCookie is how many bytes of a cookie browsers keep.
const maxCookie = 4000

// Raw is the token that a request carries, in its header or else as cookie; empty = none.
func Raw(r *http.Request) string {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(secret)
	}
	if c, err := r.Cookie(SessionCookie); err == nil {
		return c.Value
	}
	return ""
}

func (a *Accounts) cookies(r *route.Request, t tokens) (http.Header, error) {
	if len(t.AccessToken) > maxCookie {
		return nil, route.Problem(http.StatusConflict, "the memberships of this account are too many for a cookie; log in without ?cookie=1")
	}
	h := http.Header{}
	a.setCookie(h, r, SessionCookie, "/", t.AccessToken, AccessLife)
	a.setCookie(h, r, refreshCookie, "/auth", t.RefreshToken, SessionLife)
	return h, nil
}

func (a *Accounts) noCookies(r *route.Request) http.Header {
	h := http.Header{}
	a.setCookie(h, r, SessionCookie, "/", "", -time.Second)
	a.setCookie(h, r, refreshCookie, "/auth", "", -time.Second)
	return h
}

func (a *Accounts) setCookie(h http.Header, r *route.Request, name, path, value string, life time.Duration) {
	c := http.Cookie{Name: name, Value: value, Path: path, MaxAge: int(life / time.Second), HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: a.secure(r)}
	h.Add("Set-Cookie", c.String())
}

// refreshFrom is the refresh token of a request, from its body or else its cookie.
func refreshFrom(r *route.Request) (raw string, cookie bool, err error) {
	if r.ContentLength != 0 {
		var body struct {
			RefreshToken string `json:"refresh_token"`
		}
		if err := r.Decode(&body); err != nil {
			return "", false, err
		}
		if body.RefreshToken != "" {
			return body.RefreshToken, false, nil
		}
	}
	if c, err := r.Cookie(refreshCookie); err == nil {
		return c.Value, true, nil
	}
	return "", false, nil
}

// secure tells whether cookies are for HTTPS only.
func (a *Accounts) secure(r *route.Request) bool {
	return a.opts.Secure || r.TLS != nil || gateway.CallOf(r.Context()).Scheme == "https"
}
