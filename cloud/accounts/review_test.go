package accounts

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// Whoever registers an invited person's address must not choose the password that comes into
// force when that person follows a link.
func TestRegistrationDoesNotTouchWhoIsInvited(t *testing.T) {
	for name, thiefFirst := range map[string]bool{"registered, then invited": true, "invited, then registered": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Registration = ByAnybody })
			r.org("acme")
			steal := func() {
				r.want(202, "POST", "/auth/register", "", obj{"email": "ann@acme.org", "password": "the thief's password", "name": "Thief"})
			}
			invite := func() {
				r.want(201, "POST", "/v1/orgs/acme/invitations", localToken, obj{"email": "ann@acme.org", "name": "Ann", "role": "admin"})
			}
			if thiefFirst {
				steal()
				link := r.link("ann@acme.org")
				invite()
				r.want(410, "POST", "/auth/verify", "", obj{"token": link})
			} else {
				invite()
				steal()
			}
			link := r.link("ann@acme.org")
			r.do("POST", "/auth/verify", "", obj{"token": link})
			r.want(401, "POST", "/auth/login", "", obj{"email": "ann@acme.org", "password": "the thief's password"})
			r.want(200, "POST", "/auth/invitation", "", obj{"token": link, "password": good, "name": "Ann"})
			r.want(401, "POST", "/auth/login", "", obj{"email": "ann@acme.org", "password": "the thief's password"})
			if u := r.login("ann@acme.org").User; u.Name != "Ann" || u.Memberships[0].Role != token.Admin {
				t.Errorf("ann is %+v", u)
			}
		})
	}
}

func TestOthersSubjectsAreNobodyHere(t *testing.T) {
	secret := []byte(strings.Repeat("s", 32))
	r := newRig(t, func(o *Options) {
		o.Trusted = []token.Issuer{{Name: "https://old.example.org", Secret: secret, Domains: []string{"acme"}}}
	})
	r.org("acme", "globex")
	boss := r.user("boss@globex.org", "globex", "admin")
	forged := foreignToken(t, secret, boss)
	r.want(404, "PATCH", "/auth/me", forged, obj{"name": "Owned"})
	r.want(404, "GET", "/auth/sessions", forged, nil)
	if u, err := r.a.User(t.Context(), boss); err != nil || u.Name != "boss@globex.org" {
		t.Errorf("the boss is %+v, %v", u, err)
	}
	if a := r.want(404, "GET", "/auth/users/"+boss+"/roles", forged, nil); strings.Contains(string(a.body), "globex") {
		t.Errorf("answered %s", a.body)
	}
}

func foreignToken(t *testing.T, secret []byte, subject string) string {
	t.Helper()
	now := time.Now().Unix()
	part := func(v any) string {
		b, err := json.Marshal(v)
		must(t, err)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(obj{"alg": "HS256"}) + "." + part(obj{"iss": "https://old.example.org", "aud": Audience, "sub": subject, "iat": now, "nbf": now, "exp": now + 600,
		"memberships": []obj{{"domain": "acme", "role": "viewer"}}})
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))

}

func newRequest(t *testing.T) *http.Request {
	t.Helper()
	return httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/auth/login", nil)
}

func TestAServiceIsNotNamedLikeAPerson(t *testing.T) {
	r := newRig(t)
	r.org("acme", "globex")
	boss := r.user("boss@globex.org", "globex", "admin")
	r.want(422, "POST", "/v1/orgs/acme/services", localToken, obj{"name": boss, "role": "viewer"})
	r.want(422, "POST", "/v1/orgs/acme/services", localToken, obj{"name": strings.ReplaceAll(boss, "-", ""), "role": "viewer"})
	r.want(201, "POST", "/v1/orgs/acme/services", localToken, obj{"name": "wallboard", "role": "viewer"})
}

func TestDeviceTokensAreTheOwnersToMake(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.OfSite = func(q *route.Request) ([]string, error) {
			s := store.Site{Org: "acme", Site: "hq", Domains: []string{"acme", "globex"}}
			q.Found = s
			return s.Domains, nil
		}
	})
	r.org("acme", "globex")
	r.user("m@acme.org", "acme", "manager")
	r.user("m@globex.org", "globex", "manager")
	ours, theirs := r.login("m@acme.org").AccessToken, r.login("m@globex.org").AccessToken
	r.want(403, "POST", "/v1/sites/hq/device-tokens", theirs, obj{"device": "door-7"})
	r.want(403, "GET", "/v1/sites/hq/device-tokens", theirs, nil)
	r.want(201, "POST", "/v1/sites/hq/device-tokens", ours, obj{"device": "door-7"})
}

// What a request has read before its transaction may be old: the organisation keeps an admin all
// the same, and a role that became less is revoked.
func TestMembershipsChangeByWhatIsThereThen(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	id := r.user("ann@acme.org", "acme", "viewer")
	old, err := r.a.User(t.Context(), id)
	must(t, err)
	r.want(200, "POST", "/v1/users/"+id+"/memberships", localToken, obj{"domain": "acme", "role": "admin"})
	err = r.db.Update(t.Context(), func(tx *store.Tx) error {
		_, _, err := r.a.applyMembership(tx, old, token.Membership{Domain: "acme"})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "no admin left") {
		t.Errorf("the last admin was removed: %v", err)
	}
	err = r.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := r.a.setActive(tx, old, false)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "no admin left") {
		t.Errorf("the last admin was deactivated: %v", err)
	}
}

func TestSomebodyInvitedDoesNotCountAsAdminYet(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	boss := r.user("boss@acme.org", "acme", "admin")
	r.want(201, "POST", "/v1/orgs/acme/invitations", localToken, obj{"email": "ann@acme.org", "name": "Ann", "role": "admin"})
	r.want(409, "DELETE", "/v1/users/"+boss+"/memberships?domain=acme", localToken, nil)
	r.want(200, "POST", "/auth/invitation", "", obj{"token": r.link("ann@acme.org"), "password": good})
	r.want(200, "DELETE", "/v1/users/"+boss+"/memberships?domain=acme", localToken, nil)
}

func TestWhatHasNoMeaningIsForgotten(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Registration = ByAnybody })
	r.org("acme")
	r.want(202, "POST", "/auth/register", "", obj{"email": "nobody@example.org", "password": good, "name": "Nobody"})
	r.want(201, "POST", "/v1/orgs/acme/invitations", localToken, obj{"email": "ann@acme.org", "name": "Ann", "role": "viewer"})
	r.want(201, "POST", "/v1/orgs/acme/services", localToken, obj{"name": "wallboard", "role": "viewer", "life": "1h"})
	count := func(table string) (n int) {
		must(t, r.db.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n))
		return n
	}
	r.skip(InviteLife - time.Hour)
	must(t, r.a.sweep(t.Context()))
	if n := count("accounts_users"); n != 2 {
		t.Errorf("%d users within a week, want 2", n)
	}
	r.skip(2 * time.Hour)
	must(t, r.a.sweep(t.Context()))
	if n := count("accounts_users"); n != 1 {
		t.Errorf("%d users after a week, want the invited one only", n)
	}
	if n := count("accounts_tokens"); n != 1 {
		t.Errorf("%d tokens, want 1: it is listed yet", n)
	}
	r.skip(auditLife)
	must(t, r.a.sweep(t.Context()))
	if n := count("accounts_tokens"); n != 0 {
		t.Errorf("%d tokens after %v, want 0", n, auditLife)
	}
}

func TestLoginsOfOnePersonAreBounded(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	id := r.user("ann@acme.org", "acme", "viewer")
	u, err := r.a.User(t.Context(), id)
	must(t, err)
	first := r.login("ann@acme.org")
	q := &route.Request{Request: newRequest(t)}
	for range maxSessions {
		r.skip(time.Second)
		must(t, r.db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := r.a.openSession(tx, u, q)
			return err
		}))
	}
	list, err := r.a.readSessions(r.a.reading(t.Context()), id)
	if err != nil || len(list) != maxSessions {
		t.Errorf("%d logins, %v; want %d", len(list), err, maxSessions)
	}
	r.want(401, "POST", "/auth/refresh", "", obj{"refresh_token": first.RefreshToken})
}

func TestAttemptsFromOneNetworkCountTogether(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[2001:db8:1:2:ffff::1]:9": "2001:db8:1:2::/64", "odd": "odd",
	} {
		q := newRequest(t)
		q.RemoteAddr = address
		if got := network(&route.Request{Request: q}); got != want {
			t.Errorf("%s counts as %s, want %s", address, got, want)
		}
	}
}
