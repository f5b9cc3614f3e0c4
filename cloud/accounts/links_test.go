package accounts

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/sync/token"
)

func registering(o *Options) {
	o.Registration = ByDomain
	o.Grants = []Grant{{Mail: "acme.org", Domain: "acme", Role: token.Operator}}
}

func TestRegistrationProvesTheAddressAndBringsTheRoleOfIt(t *testing.T) {
	r := newRig(t, registering)
	r.org("acme")
	ann := obj{"email": "ann@acme.org", "password": good, "name": "Ann", "timezone": "Europe/Oslo"}
	r.want(403, "POST", "/auth/register", "", obj{"email": "ann@globex.org", "password": good, "name": "Ann"})
	first := r.want(202, "POST", "/auth/register", "", ann)
	r.want(403, "POST", "/auth/login", "", obj{"email": "ann@acme.org", "password": good}) // not proven yet; another link is sent
	link := r.link("ann@acme.org")
	page := r.want(200, "GET", "/auth/verify?token="+link, "", nil)
	if !strings.Contains(string(page.body), `<form method="post" action="/auth/verify">`) {
		t.Errorf("the page is %s", page.body)
	}
	r.want(200, "GET", "/auth/verify?token="+link, "", nil) // looking does not use it up
	done := r.want(200, "POST", "/auth/verify", "", url.Values{"token": {link}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if !strings.Contains(string(done.body), "confirmed") {
		t.Errorf("the page is %s", done.body)
	}
	r.want(410, "POST", "/auth/verify", "", obj{"token": link})
	u := r.login("ann@acme.org").User
	if len(u.Memberships) != 1 || u.Memberships[0] != (token.Membership{Domain: "acme", Role: token.Operator}) || u.Timezone != "Europe/Oslo" {
		t.Errorf("ann is %+v", u)
	}
	again := r.want(202, "POST", "/auth/register", "", ann)
	if string(again.body) != string(first.body) {
		t.Errorf("a known address is answered %s, an unknown one %s", again.body, first.body)
	}
	if m := r.mails[len(r.mails)-1]; m.Subject != "You have an account already" {
		t.Errorf("the newest mail is %+v", m)
	}
}

func TestAPasswordSetInAdvanceForSomebodyElseIsOfNoUse(t *testing.T) {
	r := newRig(t, registering)
	r.org("acme")
	r.want(202, "POST", "/auth/register", "", obj{"email": "ann@acme.org", "password": "the thief's password", "name": "Thief"})
	thief := r.link("ann@acme.org")
	r.want(202, "POST", "/auth/register", "", obj{"email": "ann@acme.org", "password": good, "name": "Ann"})
	r.want(410, "POST", "/auth/verify", "", obj{"token": thief})
	link := r.link("ann@acme.org")
	r.want(202, "POST", "/auth/register", "", obj{"email": "ann@acme.org", "password": "the thief's password", "name": "Thief"}) // the other way round
	r.want(410, "POST", "/auth/invitation", "", obj{"token": link, "password": good})                                            // the newest counts
	r.want(200, "POST", "/auth/invitation", "", obj{"token": r.link("ann@acme.org"), "password": good, "name": "Ann"})
	r.want(401, "POST", "/auth/login", "", obj{"email": "ann@acme.org", "password": "the thief's password"})
	r.login("ann@acme.org")
}

func TestRegistrationIsByInvitationUnlessConfigured(t *testing.T) {
	r := newRig(t)
	r.want(403, "POST", "/auth/register", "", obj{"email": "ann@acme.org", "password": good, "name": "Ann"})
	if r.mailCount() != 0 {
		t.Error("a mail was sent")
	}
}

func TestInvitationsMakeMembers(t *testing.T) {
	r := newRig(t)
	r.org("acme", "acme/north", "globex")
	r.user("boss@acme.org", "acme", "admin")
	r.user("boss@globex.org", "globex", "admin")
	boss := r.login("boss@acme.org").AccessToken
	invite := func(status int, domain string) {
		t.Helper()
		r.want(status, "POST", "/v1/orgs/acme/invitations", boss, obj{"email": "ann@acme.org", "name": "Ann", "domain": domain, "role": "operator"})
	}
	invite(201, "acme/north")
	old := r.link("ann@acme.org")
	invite(201, "acme/north") // again: another link
	invite(422, "globex")
	r.want(410, "POST", "/auth/invitation", "", obj{"token": old, "password": good})
	r.want(401, "POST", "/auth/login", "", obj{"email": "ann@acme.org", "password": ""})
	link := r.link("ann@acme.org")
	r.want(422, "POST", "/auth/invitation", "", obj{"token": link, "password": "short"})
	r.want(410, "POST", "/auth/reset", "", obj{"token": link, "password": good}) // a link is for one purpose
	r.want(200, "POST", "/auth/invitation", "", obj{"token": link, "password": good, "name": "Ann A."})
	if u := r.login("ann@acme.org").User; u.Name != "Ann A." || !u.Verified || u.Memberships[0].Domain != "acme/north" {
		t.Errorf("ann is %+v", u)
	}
	r.want(409, "POST", "/v1/orgs/acme/invitations", boss, obj{"email": "ANN@acme.org", "name": "Ann", "domain": "acme/north", "role": "admin"})
	r.want(201, "POST", "/v1/orgs/globex/invitations", r.login("boss@globex.org").AccessToken, obj{"email": "ann@acme.org", "name": "Ann", "role": "viewer"})
	if u := r.login("ann@acme.org").User; len(u.Memberships) != 2 {
		t.Errorf("ann is %+v", u)
	}
}

func TestInvitationsExpire(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.want(201, "POST", "/v1/orgs/acme/invitations", localToken, obj{"email": "ann@acme.org", "name": "Ann", "role": "viewer"})
	r.skip(InviteLife + time.Second)
	r.want(410, "POST", "/auth/invitation", "", obj{"token": r.link("ann@acme.org"), "password": good})
}

func TestResetSetsAPasswordOnceAndEndsAllLogins(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("ann@acme.org", "acme", "viewer")
	login := r.login("ann@acme.org")
	known := r.want(202, "POST", "/auth/reset/request", "", obj{"email": "ann@acme.org"})
	unknown := r.want(202, "POST", "/auth/reset/request", "", obj{"email": "bob@acme.org"})
	if string(known.body) != string(unknown.body) || r.mailCount() != 1 {
		t.Errorf("%s and %s, %d mails", known.body, unknown.body, r.mailCount())
	}
	link := r.link("ann@acme.org")
	for i := range link { // whatever is changed in it
		if b := []byte(link); b[i] != 'A' && i < len(link)-1 {
			b[i] = 'A'
			if a := r.do("POST", "/auth/reset", "", obj{"token": string(b), "password": good}); a.status != 410 {
				t.Fatalf("link with another character at %d: %d", i, a.status)
			}
		}
	}
	r.want(200, "POST", "/auth/reset", "", obj{"token": link, "password": "another long phrase"})
	r.want(410, "POST", "/auth/reset", "", obj{"token": link, "password": "another long phrase"})
	r.want(401, "GET", "/auth/me", login.AccessToken, nil)
	r.want(401, "POST", "/auth/refresh", "", obj{"refresh_token": login.RefreshToken})
	r.want(200, "POST", "/auth/login", "", obj{"email": "ann@acme.org", "password": "another long phrase"})
}

func TestStrangersCannotFloodAMailbox(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("ann@acme.org", "acme", "viewer")
	for range 8 {
		r.want(202, "POST", "/auth/reset/request", "", obj{"email": "ann@acme.org"})
	}
	if n := r.mailCount(); n != 3 {
		t.Errorf("%d mails were sent, want 3", n)
	}
}

func TestClaimMakesTheFirstAccountOnce(t *testing.T) {
	r := newRig(t)
	b, err := os.ReadFile(filepath.Join(r.dir, ClaimFile))
	must(t, err)
	if info, err := os.Stat(filepath.Join(r.dir, ClaimFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("claim file: %v %v", info.Mode(), err)
	}
	claim := func(status int, code string) answer {
		t.Helper()
		return r.want(status, "POST", "/auth/claim", "", obj{"code": code, "organisation": obj{"id": "acme", "name": "Acme"}, "email": "ann@acme.org", "password": good, "name": "Ann"})
	}
	for range 5 {
		claim(403, "AAAAA-BBBBB-CCCCC-DDDDD")
	}
	claim(429, strings.TrimSpace(string(b)))
	r.skip(2 * time.Minute)
	if r.a.Exist() {
		t.Error("there is an account already")
	}
	var tok tokens
	claim(200, strings.ToLower(strings.TrimSpace(string(b)))).into(t, &tok)
	if !r.a.Exist() {
		t.Error("there is no account yet")
	}
	r.want(200, "GET", "/v1/orgs/acme/audit", tok.AccessToken, nil)
	claim(410, strings.TrimSpace(string(b)))
	if _, err := os.Stat(filepath.Join(r.dir, ClaimFile)); !os.IsNotExist(err) {
		t.Errorf("the claim file is there yet: %v", err)
	}
}
