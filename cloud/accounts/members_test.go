package accounts

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAdminsManageTheirOwnDomainAndWhatIsBelow(t *testing.T) {
	r := newRig(t)
	r.org("acme", "acme/north", "acme/north/lab", "acme/south", "globex")
	r.user("boss@acme.org", "acme", "admin")
	r.user("evil@globex.org", "globex", "admin")
	north := r.user("north@acme.org", "acme/north", "admin")
	_ = north
	member := r.user("m@acme.org", "acme/north/lab", "viewer")
	south := r.user("s@acme.org", "acme/south", "viewer")
	boss, evil, n := r.login("boss@acme.org").AccessToken, r.login("evil@globex.org").AccessToken, r.login("north@acme.org").AccessToken

	grant := func(status int, bearer, user, domain, role string) {
		t.Helper()
		r.want(status, "POST", "/v1/users/"+user+"/memberships", bearer, obj{"domain": domain, "role": role})
	}
	grant(200, n, member, "acme/north/lab", "operator")
	grant(200, n, member, "acme/north", "manager")
	grant(404, n, member, "acme/south", "viewer") // not theirs: as if it were not there
	grant(404, n, member, "acme", "viewer")
	grant(404, n, south, "acme/north", "viewer") // not theirs to see
	grant(404, evil, member, "acme", "admin")
	grant(404, evil, member, "globex", "admin")
	grant(422, boss, member, "acme/west", "viewer")
	grant(422, boss, member, "acme/../globex", "viewer")
	grant(200, boss, south, "acme", "viewer")
	r.want(400, "POST", "/v1/users/"+south+"/memberships", boss, obj{"domain": "acme", "role": "god"})

	r.want(200, "GET", "/v1/users/"+member, n, nil)
	r.want(404, "GET", "/v1/users/"+south, evil, nil)
	r.want(403, "POST", "/v1/users/"+member+"/deactivate", r.login("m@acme.org").AccessToken, nil)
	r.want(404, "POST", "/v1/users/"+south+"/deactivate", r.login("m@acme.org").AccessToken, nil)
	r.want(404, "DELETE", "/v1/users/"+member+"/memberships?domain=acme/south", n, nil)
	r.want(200, "DELETE", "/v1/users/"+member+"/memberships?domain=acme/north", n, nil)
}

func TestRoleMatrixOfTheRoutes(t *testing.T) {
	r := newRig(t)
	r.org("acme", "acme/north", "acme/spare", "globex")
	r.user("keeper@acme.org", "acme", "admin") // so that the organisation keeps an admin whatever is done
	subject := r.user("subject@acme.org", "acme", "viewer")
	bearer := map[string]string{"nobody": "", "local": localToken}
	for _, role := range []string{"viewer", "operator", "manager", "admin"} {
		r.user(role+"@acme.org", "acme", role)
		bearer[role] = r.login(role + "@acme.org").AccessToken
	}
	r.user("admin@globex.org", "globex", "admin")
	bearer["foreign"] = r.login("admin@globex.org").AccessToken
	order := []string{"nobody", "foreign", "viewer", "operator", "manager", "admin", "local"}
	for _, tc := range []struct {
		method, path, body string
		want               [7]int // in the order above
	}{
		{"GET", "/v1/orgs/acme/domains", "", [7]int{401, 404, 200, 200, 200, 200, 200}},
		{"GET", "/v1/orgs/acme/users", "", [7]int{401, 404, 403, 200, 200, 200, 200}},
		{"GET", "/v1/users/" + subject, "", [7]int{401, 404, 403, 200, 200, 200, 200}},
		{"GET", "/auth/users/" + subject + "/roles", "", [7]int{401, 404, 200, 200, 200, 200, 200}},
		{"GET", "/v1/orgs/acme/users.csv", "", [7]int{401, 404, 403, 403, 403, 200, 200}},
		{"GET", "/v1/orgs/acme/audit", "", [7]int{401, 404, 403, 403, 403, 200, 200}},
		{"GET", "/v1/orgs/acme/services", "", [7]int{401, 404, 403, 403, 403, 200, 200}},
		{"GET", "/v1/audit", "", [7]int{401, 404, 404, 404, 404, 404, 200}},
		{"GET", "/v1/users", "", [7]int{401, 404, 404, 404, 404, 404, 200}},
		{"PATCH", "/v1/orgs/acme", `{"name":"Acme"}`, [7]int{401, 404, 403, 403, 403, 204, 204}},
		{"PATCH", "/v1/users/" + subject, `{"name":"Sub"}`, [7]int{401, 404, 403, 403, 403, 200, 200}},
		{"POST", "/v1/orgs", `{"id":"acme"}`, [7]int{401, 404, 404, 404, 404, 404, 409}},
		{"POST", "/v1/orgs/acme/domains", `{"domain":"acme/north"}`, [7]int{401, 404, 403, 403, 403, 409, 409}},
		{"POST", "/v1/orgs/acme/services", `{"name":"x","role":"viewer","permissions":["read"]}`, [7]int{401, 404, 403, 403, 403, 201, 201}},
		{"POST", "/v1/orgs/acme/users/import?dry_run=1", "email,name,domain,role\n", [7]int{401, 404, 403, 403, 403, 200, 200}},
		{"POST", "/v1/orgs/acme/invitations", `{"email":"subject@acme.org","name":"S","domain":"acme","role":"viewer"}`, [7]int{401, 404, 403, 403, 403, 409, 409}},
		{"POST", "/v1/users/" + subject + "/reactivate", "", [7]int{401, 404, 403, 403, 403, 200, 200}},
		{"PUT", "/v1/users/" + subject + "/password", `{"password":"` + good + `"}`, [7]int{401, 404, 404, 404, 404, 404, 204}},
		{"POST", "/v1/keys/rotate", "", [7]int{401, 404, 404, 404, 404, 404, 200}},
		{"POST", "/v1/sites/hq/device-tokens", `{"device":"door-7"}`, [7]int{401, 404, 403, 403, 201, 201, 201}},
		{"GET", "/v1/sites/hq/device-tokens", "", [7]int{401, 404, 403, 403, 200, 200, 200}},
		{"DELETE", "/v1/orgs/acme/domains/spare", "", [7]int{401, 404, 403, 403, 403, 204, 404}},
	} {
		for i, who := range order {
			if got := r.do(tc.method, tc.path, bearer[who], tc.body); got.status != tc.want[i] {
				t.Errorf("%s %s by %s: %d %s, want %d", tc.method, tc.path, who, got.status, got.body, tc.want[i])
			}
		}
	}
}

func TestTheLastAdminOfAnOrganisationStays(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	ann := r.user("ann@acme.org", "acme", "admin")
	a := r.login("ann@acme.org").AccessToken
	r.want(409, "POST", "/v1/users/"+ann+"/memberships", a, obj{"domain": "acme", "role": "viewer"})
	r.want(409, "DELETE", "/v1/users/"+ann+"/memberships?domain=acme", a, nil)
	r.want(409, "POST", "/v1/users/"+ann+"/deactivate", a, nil)
	bob := r.user("bob@acme.org", "acme", "admin")
	r.want(200, "POST", "/v1/users/"+ann+"/deactivate", r.login("bob@acme.org").AccessToken, nil)
	r.want(409, "POST", "/v1/users/"+bob+"/deactivate", localToken, nil) // ann is admin but deactivated
}

func TestDeactivationRefusesTokensAtOnceAndInOtherProcesses(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("boss@acme.org", "acme", "admin")
	ann := r.user("ann@acme.org", "acme", "operator")
	login, boss := r.login("ann@acme.org"), r.login("boss@acme.org")
	other, err := Open(t.Context(), r.a.opts) // a second process on the same tables
	must(t, err)
	if _, err := other.Authenticate(t.Context(), login.AccessToken); err != nil {
		t.Fatal(err)
	}
	changed, elsewhere := r.a.Changed(), other.Changed()
	r.want(200, "POST", "/v1/users/"+ann+"/deactivate", boss.AccessToken, nil)
	<-changed
	r.want(401, "GET", "/auth/me", login.AccessToken, nil)
	r.want(401, "POST", "/auth/refresh", "", obj{"refresh_token": login.RefreshToken})
	r.want(403, "POST", "/auth/login", "", obj{"email": "ann@acme.org", "password": good})
	must(t, other.look(t.Context()))
	<-elsewhere
	if _, err := other.Authenticate(t.Context(), login.AccessToken); err == nil {
		t.Error("the other process takes the token yet")
	}
	if len(r.a.Revocations()) == 0 {
		t.Error("hubs are told nothing")
	}
	var types []string
	rows, err := r.db.Query(t.Context(), `SELECT type FROM events WHERE audience = 'role:admin' ORDER BY id`)
	must(t, err)
	for rows.Next() {
		var s string
		must(t, rows.Scan(&s))
		types = append(types, s)
	}
	rows.Close()
	if got := strings.Join(types, " "); !strings.HasSuffix(got, "user.deactivated") || !strings.Contains(got, "user.created") {
		t.Errorf("events %s", got)
	}
	r.want(200, "POST", "/v1/users/"+ann+"/reactivate", boss.AccessToken, nil)
	r.want(200, "GET", "/auth/me", r.login("ann@acme.org").AccessToken, nil)
}

func TestLessThanBeforeCountsAtOnceAndMoreAtTheNextRefresh(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("boss@acme.org", "acme", "admin")
	ann := r.user("ann@acme.org", "acme", "operator")
	boss, login := r.login("boss@acme.org").AccessToken, r.login("ann@acme.org")
	role := func(role string) {
		t.Helper()
		r.want(200, "POST", "/v1/users/"+ann+"/memberships", boss, obj{"domain": "acme", "role": role})
	}
	role("manager")
	r.want(403, "GET", "/v1/sites/hq/device-tokens", login.AccessToken, nil)
	r.want(200, "POST", "/auth/refresh", "", obj{"refresh_token": login.RefreshToken}).into(t, &login)
	r.want(200, "GET", "/v1/sites/hq/device-tokens", login.AccessToken, nil)
	role("viewer")
	r.want(401, "GET", "/auth/me", login.AccessToken, nil)
	r.want(200, "POST", "/auth/refresh", "", obj{"refresh_token": login.RefreshToken}).into(t, &login)
	r.want(403, "GET", "/v1/sites/hq/device-tokens", login.AccessToken, nil)
}

func TestServiceTokensAreShownOnceBoundToAnAudienceAndRevoked(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("boss@acme.org", "acme", "admin")
	boss := r.login("boss@acme.org").AccessToken
	service := func(body obj) Issued {
		t.Helper()
		var i Issued
		r.want(201, "POST", "/v1/orgs/acme/services", boss, body).into(t, &i)
		return i
	}
	reader := service(obj{"name": "wall", "role": "admin", "permissions": []string{"read"}, "life": "300d"})
	r.want(200, "GET", "/v1/orgs/acme/users", reader.Token, nil)
	r.want(403, "POST", "/v1/orgs/acme/services", reader.Token, obj{"name": "x", "role": "viewer"})
	r.want(401, "GET", "/v1/orgs/acme/users", service(obj{"name": "o", "role": "admin", "audience": "reports"}).Token, nil)
	r.want(403, "GET", "/v1/orgs/acme/users", service(obj{"name": "w", "role": "admin", "permissions": []string{"write"}}).Token, nil)
	keeper := service(obj{"name": "k", "role": "admin", "permissions": []string{"read", "accounts"}})
	r.want(403, "POST", "/v1/orgs/acme/services", keeper.Token, obj{"name": "x", "role": "viewer", "permissions": []string{"write"}}) // more than its own
	r.want(201, "POST", "/v1/orgs/acme/services", keeper.Token, obj{"name": "x", "role": "viewer", "permissions": []string{"read"}})
	for _, bad := range []obj{{"name": "A b", "role": "viewer"}, {"name": "x", "role": "viewer", "life": "10y"}, {"name": "x", "role": "viewer", "domain": "globex"}, {"name": "x", "role": "viewer", "domain": "acme/none"}} {
		r.want(422, "POST", "/v1/orgs/acme/services", boss, bad)
	}
	if a := r.want(200, "GET", "/v1/orgs/acme/services", boss, nil); strings.Contains(string(a.body), reader.Token) {
		t.Error("the list shows a token")
	}
	r.skip(200 * 24 * time.Hour)
	r.want(200, "GET", "/v1/orgs/acme/users", reader.Token, nil)
	r.want(204, "DELETE", "/v1/orgs/acme/services/"+reader.ID, r.login("boss@acme.org").AccessToken, nil)
	r.want(401, "GET", "/v1/orgs/acme/users", reader.Token, nil)
}

func TestDeviceTokensNameTheirDeviceAndSite(t *testing.T) {
	r := newRig(t)
	r.org("acme", "acme/north")
	r.user("m@acme.org", "acme/north", "manager")
	m := r.login("m@acme.org").AccessToken
	var i Issued
	r.want(201, "POST", "/v1/sites/hq/device-tokens", m, obj{"device": "zigbee2mqtt/pir_lobby"}).into(t, &i)
	id, err := r.a.Authenticate(t.Context(), i.Token)
	must(t, err)
	if id.Kind != "device" || id.Subject != "zigbee2mqtt/pir_lobby" || id.Memberships[0].Domain != "acme/north" || fmt.Sprint(id.Permissions) != "[ingest site:acme/hq]" {
		t.Errorf("the token says %+v", id)
	}
	r.want(403, "GET", "/auth/me", i.Token, nil)
	r.want(204, "DELETE", "/v1/sites/hq/device-tokens/"+i.ID, m, nil)
	if _, err := r.a.Authenticate(t.Context(), i.Token); err == nil {
		t.Error("a revoked token is taken")
	}
}

func TestOldTokensVerifyAfterARotationOfKeysUntilTheyAreOut(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("ann@acme.org", "acme", "viewer")
	old := r.login("ann@acme.org")
	changed := r.a.Changed()
	r.want(200, "POST", "/v1/keys/rotate", localToken, nil)
	<-changed
	r.want(200, "GET", "/auth/me", old.AccessToken, nil)
	r.want(200, "POST", "/auth/refresh", "", obj{"refresh_token": old.RefreshToken})
	count := func() int {
		var set struct{ Keys []json.RawMessage }
		r.want(200, "GET", "/.well-known/jwks.json", "", nil).into(t, &set)
		return len(set.Keys)
	}
	if n := count(); n != 2 {
		t.Errorf("%d keys are published, want 2", n)
	}
	r.skip(time.Hour)
	again, err := Open(t.Context(), r.a.opts)
	must(t, err)
	if n := strings.Count(string(again.JWKS()), `"kid"`); n != 1 {
		t.Errorf("%d keys are published after the last token is out, want 1", n)
	}
	r.want(200, "GET", "/auth/me", r.login("ann@acme.org").AccessToken, nil)
}

func TestTheAuditTellsOfEveryDecisionByPages(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("boss@acme.org", "acme", "admin")
	boss := r.login("boss@acme.org").AccessToken
	r.do("POST", "/auth/login", "", obj{"email": "boss@acme.org", "password": "not the password"})
	var all []Entry
	path := "/v1/orgs/acme/audit?limit=2"
	for cursor := ""; ; {
		var p struct {
			Entries []Entry
			Next    string
		}
		r.want(200, "GET", path+cursor, boss, nil).into(t, &p)
		all = append(all, p.Entries...)
		if p.Next == "" {
			break
		}
		cursor = "&cursor=" + p.Next
	}
	var got []string
	for _, e := range all {
		got = append(got, e.Action+" "+e.Outcome)
	}
	if s := strings.Join(got, ", "); s != "login refused, login ok, user.create ok, domain.create ok" {
		t.Errorf("audit: %s", s)
	}
	if b, _ := json.Marshal(all); strings.Contains(string(b), good) || strings.Contains(string(b), "not the password") {
		t.Error("the audit has a password in it")
	}
}

func TestDomainsAreDeletedWhenEmptyOnly(t *testing.T) {
	r := newRig(t)
	r.org("acme", "acme/north", "acme/north/lab")
	ann := r.user("ann@acme.org", "acme/north/lab", "viewer")
	r.want(409, "DELETE", "/v1/orgs/acme/domains/north", localToken, nil)
	r.want(409, "DELETE", "/v1/orgs/acme/domains/north/lab", localToken, nil)
	r.want(200, "DELETE", "/v1/users/"+ann+"/memberships?domain=acme/north/lab", localToken, nil)
	r.want(204, "DELETE", "/v1/orgs/acme/domains/north/lab", localToken, nil)
	r.want(204, "DELETE", "/v1/orgs/acme/domains/north", localToken, nil)
	r.want(204, "DELETE", "/v1/orgs/acme", localToken, nil)
	for _, bad := range []string{"Acme", "a/b", "-", "", strings.Repeat("a", 65)} {
		r.want(422, "POST", "/v1/orgs", localToken, obj{"id": bad})
	}
}
