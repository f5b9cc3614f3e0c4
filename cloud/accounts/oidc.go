package accounts

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// Provider is an OpenID Connect provider.
type Provider struct {
	Name     string // in /auth/oidc/NAME/start
	Issuer   string // its URL
	ClientID string
	Secret   string   // empty for public clients
	Scopes   []string // openid, email, profile when empty
	Grants   []Grant  // roles that go with an address that it vouches for
}

// oidcCookie remembers, in the browser that begins a login at a provider, what its answer must
// match. Lax, because the provider's answer comes from a foreign page.
const (
	oidcCookie = "headcount_oidc"
	oidcLife   = 10 * time.Minute
)

// errProvider is the answer when a login at a provider comes to nothing; the log says why.
var errProvider = route.Problem(http.StatusBadGateway, "the login provider did not answer as it should; try again, or tell an admin")

func (a *Accounts) oidcRoutes() []route.Route {
	var routes []route.Route
	for _, p := range a.opts.Providers {
		c := &oidcClient{Provider: p, http: &http.Client{Timeout: 15 * time.Second}, now: a.now}
		routes = append(routes,
			row("GET", "/auth/oidc/"+p.Name+"/start", public, "Log in at "+p.Name, func(r *route.Request) (any, error) { return a.startOIDC(r, c) }),
			row("GET", "/auth/oidc/"+p.Name+"/callback", public, "Where "+p.Name+" sends people back to", func(r *route.Request) (any, error) { return a.finishOIDC(r, c) }))
	}
	return append(routes, row("GET", "/auth/oidc", public, "The providers one can log in at", a.listProviders))
}

func (a *Accounts) listProviders(*route.Request) (any, error) {
	list := []map[string]string{}
	for _, p := range a.opts.Providers {
		list = append(list, map[string]string{"name": p.Name, "start": "/auth/oidc/" + p.Name + "/start"})
	}
	return map[string]any{"providers": list}, nil
}

func (a *Accounts) oauth(c *oidcClient, p *oidc.Provider) *oauth2.Config {
	scopes := c.Scopes
	if len(scopes) == 0 {
		scopes = []string{"openid", "email", "profile"}
	}
	return &oauth2.Config{ClientID: c.ClientID, ClientSecret: c.Secret, Scopes: scopes, RedirectURL: a.opts.PublicURL() + "/auth/oidc/" + c.Name + "/callback", Endpoint: p.Endpoint()}
}

// startOIDC sends a browser to the provider.
func (a *Accounts) startOIDC(r *route.Request, c *oidcClient) (any, error) {
	p, err := c.discover(r.Context())
	if err != nil {
		a.log.Error("login provider not reached", "provider", c.Name, "err", err)
		return nil, errProvider
	}
	enc := base64.RawURLEncoding
	state, nonce, verifier := enc.EncodeToString(random(18)), enc.EncodeToString(random(18)), oauth2.GenerateVerifier()
	text := strings.Join([]string{c.Name, state, nonce, verifier, strconv.FormatInt(a.now().Add(oidcLife).Unix(), 10)}, ".")
	cookie := http.Cookie{Name: oidcCookie, Value: text + "." + a.keys.mac("oidc", text), Path: "/auth/oidc/", MaxAge: int(oidcLife / time.Second), HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: a.secure(r)}
	to := a.oauth(c, p).AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", nonce))
	return &route.Response{Status: http.StatusFound, Header: http.Header{"Location": {to}, "Set-Cookie": {cookie.String()}, "Cache-Control": {"no-store"}}}, nil
}

// begun is what was remembered of a login that a browser began.
type begun struct{ state, nonce, verifier string }

func (a *Accounts) begunOIDC(r *route.Request, provider string) (begun, bool) {
	cookie, err := r.Cookie(oidcCookie)
	if err != nil {
		return begun{}, false
	}
	i := strings.LastIndexByte(cookie.Value, '.')
	if i < 0 || !a.keys.proves("oidc", cookie.Value[:i], cookie.Value[i+1:]) {
		return begun{}, false
	}
	f := strings.Split(cookie.Value[:i], ".")
	if len(f) != 5 || f[0] != provider {
		return begun{}, false
	}
	expires, err := strconv.ParseInt(f[4], 10, 64)
	return begun{f[1], f[2], f[3]}, err == nil && a.now().Unix() < expires
}

// finishOIDC takes what the provider says, and logs in whom it vouches for.
func (a *Accounts) finishOIDC(r *route.Request, c *oidcClient) (any, error) {
	b, good := a.begunOIDC(r, c.Name)
	q := r.URL.Query()
	if !good || q.Get("state") != b.state {
		return nil, route.Problem(http.StatusBadRequest, "this login was not begun in this browser, or too long ago; begin again at /auth/oidc/%s/start", c.Name)
	}
	if q.Get("error") != "" {
		return nil, route.Problem(http.StatusForbidden, "%s has refused the login: %s", c.Name, clip(q.Get("error"), 100))
	}
	who, err := a.exchange(r.Context(), c, q.Get("code"), b)
	if err != nil {
		a.log.Error("login at provider", "provider", c.Name, "err", err)
		return nil, errors.Join(errProvider, a.noteOne(r, User{}, "oidc."+c.Name, refused))
	}
	if !who.Verified || who.Email == "" {
		return nil, route.Problem(http.StatusForbidden, "%s does not vouch for your mail address; confirm it there first", c.Name)
	}
	var u User
	err = a.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		u, err = a.knownAs(tx, c, who)
		return err
	})
	if err != nil {
		return nil, err
	}
	a.accountExists()
	answer, err := a.enter(&route.Request{Request: withQuery(r, "cookie=1"), Who: r.Who}, u.ID, "oidc:"+u.ID, u.password)
	if err != nil {
		return nil, err
	}
	header := answer.(*route.Response).Header
	header.Set("Location", "/")
	forget := http.Cookie{Name: oidcCookie, Path: "/auth/oidc/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: a.secure(r)}
	header.Add("Set-Cookie", forget.String())
	return &route.Response{Status: http.StatusSeeOther, Header: header}, nil
}

func withQuery(r *route.Request, query string) *http.Request {
	c := r.Request.Clone(r.Context())
	c.URL = &url.URL{Path: r.URL.Path, RawQuery: query}
	return c
}

// exchange takes the code for the provider's word on who somebody is.
func (a *Accounts) exchange(ctx context.Context, c *oidcClient, code string, b begun) (idToken, error) {
	p, err := c.discover(ctx)
	if err != nil {
		return idToken{}, err
	}
	t, err := a.oauth(c, p).Exchange(context.WithValue(ctx, oauth2.HTTPClient, c.http), code, oauth2.VerifierOption(b.verifier))
	if err != nil {
		return idToken{}, err
	}
	raw, _ := t.Extra("id_token").(string)
	return c.verify(ctx, p, raw, b.nonce)
}

// knownAs finds or makes the user that the provider vouches for. By mail address it finds one
// the first time only; a password that somebody set without proving the address is dropped.
func (a *Accounts) knownAs(tx *store.Tx, c *oidcClient, who idToken) (User, error) {
	u, err := findUser(tx.Query, `WHERE id = (SELECT user_id FROM accounts_identities WHERE issuer = ? AND subject = ?)`, c.Issuer, who.Subject)
	if !errors.Is(err, ErrNoUser) {
		return u, err
	}
	u, err = findUser(tx.Query, `WHERE email_key = ?`, emailKey(who.Email))
	switch {
	case errors.Is(err, ErrNoUser):
		if u, err = a.newcomerOf(tx, c, who); err != nil {
			return u, err
		}
	case err != nil:
		return u, err
	case !u.Verified:
		u.password = ""
		if err := a.savePassword(tx, u.ID, ""); err != nil {
			return u, err
		}
	}
	if u, err = a.prove(tx, u); err != nil {
		return u, err
	}
	for _, m := range grantsOf(c.Grants, who.Email) {
		there, err := domainExists(tx, m.Domain)
		if err != nil {
			return u, err
		}
		if !there || u.identity().Role(m.Domain) >= m.Role {
			continue
		}
		if u, _, err = a.applyMembership(tx, u, m); err != nil {
			return u, err
		}
	}
	return u, errors.Join(
		tx.Exec(`INSERT INTO accounts_identities (issuer, subject, user_id) VALUES (?, ?, ?)`, c.Issuer, who.Subject, u.ID),
		a.note(tx, u.orgs(), Entry{Actor: "user:" + u.Name, Action: "oidc." + c.Name, Subject: u.ID, Outcome: ok, Detail: "known there as " + clip(who.Subject, 100)}))
}

// newcomerOf makes a user for whom there is none, if that is wanted: registration must be open
// to the address, or the provider's grants have it.
func (a *Accounts) newcomerOf(tx *store.Tx, c *oidcClient, who idToken) (User, error) {
	if !a.mayRegister(who.Email) && len(grantsOf(c.Grants, who.Email)) == 0 {
		return User{}, route.Problem(http.StatusForbidden, "you have no account here; ask an admin of your organisation for an invitation")
	}
	name := who.Name
	if name == "" {
		name, _, _ = strings.Cut(who.Email, "@")
	}
	u, err := newcomer{Email: who.Email, Name: name}.user()
	if err != nil {
		return u, err
	}
	return a.addUser(tx, u)
}

// grantsOf lists the roles of a list that go with a mail address.
func grantsOf(list []Grant, email string) []token.Membership {
	_, host, _ := strings.Cut(emailKey(email), "@")
	var out []token.Membership
	for _, g := range list {
		if g.Mail == "*" || strings.EqualFold(g.Mail, host) {
			out = append(out, token.Membership{Domain: g.Domain, Role: g.Role})
		}
	}
	return out
}
