package accounts

import (
	"bytes"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/edge/gateway"
)

const people = "email,name,domain,role,locale,timezone\n" +
	"ann@acme.org,Ann,acme,manager,en,Europe/Oslo\n" +
	"ann@acme.org,Ann,acme/north,admin,en,Europe/Oslo\n" +
	"\"bob@acme.org\",\"'=Bob, Jr\",acme/north,viewer,,\n"

func TestImportingAFileTwiceChangesNothing(t *testing.T) {
	r := newRig(t)
	r.org("acme", "acme/north")
	r.user("boss@acme.org", "acme", "admin")
	boss := r.login("boss@acme.org").AccessToken
	load := func(query, body string) (p Report) {
		t.Helper()
		r.want(200, "POST", "/v1/orgs/acme/users/import"+query, boss, body, "Content-Type", "text/csv").into(t, &p)
		return p
	}
	if p := load("?dry_run=1", people); p.Created != 2 || p.Updated != 1 || !p.DryRun || r.mailCount() != 0 {
		t.Errorf("dry run: %+v", p)
	}
	if a := r.want(200, "GET", "/v1/orgs/acme/users.csv", boss, nil); strings.Contains(string(a.body), "ann@") {
		t.Error("a dry run has left something")
	}
	if p := load("", people); p.Created != 2 || p.Updated != 1 || p.Unchanged != 0 || r.mailCount() != 2 {
		t.Errorf("import: %+v", p)
	}
	if p := load("", people); p.Created != 0 || p.Updated != 0 || p.Unchanged != 3 {
		t.Errorf("again: %+v", p)
	}
	export := r.want(200, "GET", "/v1/orgs/acme/users.csv", boss, nil)
	if !strings.Contains(string(export.body), `"'=Bob, Jr"`) {
		t.Errorf("the export can be a formula: %s", export.body)
	}
	if p := load("", string(export.body)); p.Created != 0 || p.Updated != 0 {
		t.Errorf("the export imported: %+v", p)
	}
	if p := load("", "Email;Name;Domain;Role\nbob@acme.org;Bobby;acme/north;operator\n"); p.Updated != 1 || p.Lines[0].Detail != "profile, operator in acme/north" {
		t.Errorf("a change: %+v", p)
	}
}

func TestAFileWithAMistakeIsNotImportedAtAll(t *testing.T) {
	r := newRig(t)
	r.org("acme", "globex")
	r.user("boss@acme.org", "acme", "admin")
	boss := r.login("boss@acme.org").AccessToken
	head := "email,name,domain,role\ngood@acme.org,Good,acme,viewer\n"
	for _, tc := range []struct{ file, where string }{
		{head + "nope,N,acme,viewer\n", "line 3, column email"},
		{head + "n@acme.org,,acme,viewer\n", "line 3, column name"},
		{head + "n@acme.org,N,globex,viewer\n", "line 3, column domain"},
		{head + "n@acme.org,N,acme/none,viewer\n", "line 3, column email"},
		{head + "n@acme.org,N,acme,king\n", "line 3, column role"},
		{head + "n@acme.org,N,acme\n", "line 3, column 1"},
		{head + "n@acme.org,\"N,acme,viewer\n", "line 3, column"},
		{"email,name,domain,role,shoe\n", "line 1, column 5"},
		{"email,name,role\n", "line 1, column domain"},
	} {
		var p gateway.Problem
		r.want(422, "POST", "/v1/orgs/acme/users/import", boss, tc.file).into(t, &p)
		if len(p.Errors) == 0 || !strings.HasPrefix(p.Errors[0].Location, tc.where) {
			t.Errorf("%q: %+v, want %s", tc.file, p, tc.where)
		}
	}
	if a := r.want(200, "GET", "/v1/orgs/acme/users.csv", boss, nil); strings.Contains(string(a.body), "good@") {
		t.Error("something was imported")
	}
	r.want(422, "POST", "/v1/orgs/acme/users/import", boss, "")
	r.want(413, "POST", "/v1/orgs/acme/users/import", boss, strings.Repeat("x", maxImport+1))
}

func TestImportTakesAFormAsCurlSendsIt(t *testing.T) {
	r := newRig(t)
	r.org("acme", "acme/north")
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreateFormFile("file", "people.csv")
	must(t, err)
	_, err = part.Write([]byte("\xef\xbb\xbf" + people))
	must(t, err)
	must(t, form.Close())
	var p Report
	r.want(200, "POST", "/v1/orgs/acme/users/import", localToken, b.String(), "Content-Type", form.FormDataContentType()).into(t, &p)
	if p.Created != 2 {
		t.Errorf("report %+v", p)
	}
}

func FuzzParseCSV(f *testing.F) {
	for _, s := range []string{people, "", "email;name;domain;role\na@b.c;A;acme;viewer\n", "email,name,domain,role\n\"", "\xef\xbb\xbfemail\n", "email,email,name,domain,role\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, err := parseCSV(b)
		if err != nil && err.Error() == "" {
			t.Error("a mistake without a word")
		}
		for _, l := range lines {
			if err == nil && (l.user.Email == "" || l.user.Name == "" || l.member.Role == 0 || checkDomain(l.member.Domain) != nil) {
				t.Errorf("taken: %+v", l)
			}
		}
	})
}

func FuzzLinksAndRefreshTokens(f *testing.F) {
	r := newRig(f)
	f.Add("a.1.x")
	f.Add("..")
	f.Add(strings.Repeat("a", 300))
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := r.a.openLink(resetLink, raw); err == nil {
			t.Errorf("link %q is taken", raw)
		}
		if _, _, ours := r.a.parseRefresh(raw); ours {
			t.Errorf("refresh token %q is taken", raw)
		}
	})
}
