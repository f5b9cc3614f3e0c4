package accounts

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// The bounds of an import.
const (
	maxImport = 2 << 20 // bytes
	maxLines  = 2000
)

// csvColumns are the columns of an import and an export; the last two may be missing.
var csvColumns = []string{"email", "name", "domain", "role", "locale", "timezone"}

const neededColumns = 4

// csvLine is one line of an import: one membership of one person.
type csvLine struct {
	n      int
	user   User
	member token.Membership
}

// mistakes collects what is wrong with a file.
type mistakes struct{ list []gateway.FieldProblem }

func (m *mistakes) add(line int, column string, err error) {
	if err != nil && len(m.list) < 100 {
		m.list = append(m.list, gateway.FieldProblem{Location: fmt.Sprintf("line %d, column %s", line, column), Message: err.Error()})
	}
}

func (m *mistakes) err() error {
	if len(m.list) == 0 {
		return nil
	}
	p := gateway.NewProblem(http.StatusUnprocessableEntity, "nothing was imported: %d mistakes in the file", len(m.list))
	p.Errors = m.list
	return p
}

// parseCSV reads a file of users: with a header, separated by commas or semicolons.
func parseCSV(b []byte) ([]csvLine, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	head, _, _ := bytes.Cut(b, []byte("\n"))
	in := csv.NewReader(bytes.NewReader(b))
	in.FieldsPerRecord = -1
	if bytes.ContainsRune(head, ';') && !bytes.ContainsRune(head, ',') {
		in.Comma = ';'
	}
	var bad mistakes
	header, err := in.Read()
	if err != nil {
		return nil, route.Problem(http.StatusUnprocessableEntity, "line 1: no header; want %s", strings.Join(csvColumns, ","))
	}
	at := parseHeader(header, &bad)
	if err := bad.err(); err != nil {
		return nil, err
	}
	var lines []csvLine
	for {
		record, err := in.Read()
		var syntax *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return lines, bad.err()
		case errors.As(err, &syntax):
			bad.add(syntax.Line, fmt.Sprint(syntax.Column), syntax.Err)
			return nil, bad.err()
		case err != nil:
			return nil, fmt.Errorf("read csv: %w", err)
		case len(lines) == maxLines:
			return nil, route.Problem(http.StatusRequestEntityTooLarge, "the file has more than %d lines; split it", maxLines)
		}
		n, _ := in.FieldPos(0)
		if len(record) != len(header) {
			bad.add(n, "1", fmt.Errorf("%d fields, want %d as in the header", len(record), len(header)))
			continue
		}
		lines = append(lines, parseLine(n, at, record, &bad))
	}
}

// parseHeader says where which column is.
func parseHeader(header []string, bad *mistakes) map[string]int {
	at := map[string]int{}
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := at[name]; twice || !slices.Contains(csvColumns, name) {
			bad.add(1, fmt.Sprint(i+1), fmt.Errorf("%q is unknown or there twice; want %s", clip(name, 40), strings.Join(csvColumns, ",")))
		}
		at[name] = i
	}
	for _, name := range csvColumns[:neededColumns] {
		if _, there := at[name]; !there {
			bad.add(1, name, errors.New("this column is missing"))
		}
	}
	return at
}

func parseLine(n int, at map[string]int, record []string, bad *mistakes) csvLine {
	field := func(name string) string {
		i, there := at[name]
		if !there {
			return ""
		}
		return unguard(strings.TrimSpace(record[i]))
	}
	l := csvLine{n: n}
	var err error
	l.user.Email, err = checkEmail(field("email"))
	bad.add(n, "email", err)
	l.user.Name, err = checkName("name", field("name"))
	bad.add(n, "name", err)
	l.user.Locale, l.user.Timezone, l.member.Domain = field("locale"), field("timezone"), field("domain")
	bad.add(n, "locale", checkLocale(l.user.Locale))
	bad.add(n, "timezone", checkTimezone(l.user.Timezone))
	bad.add(n, "domain", checkDomain(l.member.Domain))
	bad.add(n, "role", l.member.Role.UnmarshalText([]byte(strings.ToLower(field("role")))))
	return l
}

// guardCell keeps spreadsheets from taking a text for a formula; unguard undoes it.
func guardCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r'", rune(s[0])) {
		return "'" + s
	}
	return s
}

func unguard(s string) string {
	if len(s) > 1 && s[0] == '\'' && strings.ContainsRune("=+-@\t\r'", rune(s[1])) {
		return s[1:]
	}
	return s
}

// Change is what an import does for one line.
type Change struct {
	Line   int    `json:"line"`
	Email  string `json:"email"`
	Change string `json:"change"` // create, update or unchanged
	Detail string `json:"detail,omitempty"`
}

// Report is what an import changes, or with DryRun would change.
type Report struct {
	DryRun    bool     `json:"dry_run"`
	Created   int      `json:"created"`
	Updated   int      `json:"updated"`
	Unchanged int      `json:"unchanged"`
	Lines     []Change `json:"lines"`
}

// errDry ends the transaction of a dry run, which so leaves nothing.
var errDry = errors.New("dry run")

// importUsers reads a file of users: all of it, or none.
func (a *Accounts) importUsers(r *route.Request) (any, error) {
	b, err := uploaded(r)
	if err != nil {
		return nil, err
	}
	lines, err := parseCSV(b)
	if err != nil {
		return nil, err
	}
	var bad mistakes
	for _, l := range lines {
		if token.Organisation(l.member.Domain) != r.PathValue("org") {
			bad.add(l.n, "domain", fmt.Errorf("%s is no domain of %s", l.member.Domain, r.PathValue("org")))
			continue
		}
		bad.add(l.n, "role", a.mayGrant(r.Who, l.member))
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	dry := r.URL.Query().Get("dry_run")
	report := Report{DryRun: dry != "" && dry != "0" && dry != "false", Lines: []Change{}}
	var ended []*token.Revocation
	err = a.db.Update(r.Context(), func(tx *store.Tx) error {
		for _, l := range lines {
			c, revocation, err := a.importLine(tx, r, l, !report.DryRun)
			bad.add(l.n, "email", err)
			ended = append(ended, revocation)
			report.add(c)
		}
		if err := bad.err(); err != nil {
			return err
		}
		if report.DryRun {
			return errDry
		}
		return a.note(tx, []string{r.PathValue("org")}, did(r, "users.import", r.PathValue("org"), fmt.Sprintf("%d created, %d updated, %d unchanged", report.Created, report.Updated, report.Unchanged)))
	})
	if err != nil && !errors.Is(err, errDry) {
		return nil, err
	}
	if !report.DryRun {
		a.enforce(ended...)
	}
	return report, nil
}

func (p *Report) add(c Change) {
	switch c.Change {
	case "create":
		p.Created++
	case "update":
		p.Updated++
	default:
		p.Unchanged++
	}
	p.Lines = append(p.Lines, c)
}

// importLine applies one line; with mails, whoever is new is invited.
func (a *Accounts) importLine(tx *store.Tx, r *route.Request, l csvLine, mails bool) (c Change, revocation *token.Revocation, err error) {
	c = Change{Line: l.n, Email: l.user.Email, Change: "unchanged"}
	membership := l.member.Role.String() + " in " + l.member.Domain
	u, err := findUser(tx.Query, `WHERE email_key = ?`, emailKey(l.user.Email))
	if errors.Is(err, ErrNoUser) {
		c.Change, c.Detail = "create", membership
		_, err = a.addMember(tx, l.user, l.member, r.Who.Who(), mails)
		return c, nil, err
	}
	if err != nil {
		return c, nil, err
	}
	var what []string
	if p := l.profileOf(u); a.mayManage(r.Who, u) == nil && (p.Name != u.Name || p.Locale != u.Locale || p.Timezone != u.Timezone) {
		what = append(what, "profile")
		if err := a.saveProfile(tx, p); err != nil {
			return c, nil, err
		}
	}
	if !slices.ContainsFunc(u.Memberships, func(m token.Membership) bool { return m.Domain == l.member.Domain && m.Role == l.member.Role }) {
		what = append(what, membership)
		if _, revocation, err = a.applyMembership(tx, u, l.member); err != nil {
			return c, nil, err
		}
	}
	if len(what) > 0 {
		c.Change, c.Detail = "update", strings.Join(what, ", ")
	}
	return c, revocation, nil
}

// profileOf is the user with what the line says of them; an empty locale or time zone says
// nothing.
func (l csvLine) profileOf(u User) User {
	u.Name = l.user.Name
	if l.user.Locale != "" {
		u.Locale = l.user.Locale
	}
	if l.user.Timezone != "" {
		u.Timezone = l.user.Timezone
	}
	return u
}

// uploaded is the file in a request: its body, or the form field "file".
func uploaded(r *route.Request) ([]byte, error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var in io.Reader = r.Body
	if kind == "multipart/form-data" {
		f, _, err := r.FormFile("file")
		if err != nil {
			return nil, route.Problem(http.StatusBadRequest, "want the file as form field %q: %v", "file", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxImport+1))
	if err != nil || len(b) > maxImport {
		return nil, route.Problem(http.StatusRequestEntityTooLarge, "the file could not be read, or is larger than %d bytes", maxImport)
	}
	return b, nil
}

// exportUsers answers with a file that an import takes: a line for each membership in domains
// where the caller is admin.
func (a *Accounts) exportUsers(r *route.Request) (any, error) {
	org := r.PathValue("org")
	const where = `WHERE id IN (SELECT user_id FROM accounts_memberships WHERE domain = ? OR domain LIKE ? ESCAPE '!') ORDER BY email_key`
	users, err := findUsers(a.reading(r.Context()), where, org, likeBelow(org))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	_ = out.Write(csvColumns) // into memory
	for _, u := range users {
		for _, m := range u.Memberships {
			if !token.Within(m.Domain, org) || r.Who.Role(m.Domain) < token.Admin {
				continue
			}
			_ = out.Write([]string{guardCell(u.Email), guardCell(u.Name), m.Domain, m.Role.String(), u.Locale, guardCell(u.Timezone)})
		}
	}
	out.Flush()
	return &route.Response{ContentType: "text/csv; charset=utf-8", Raw: b.Bytes(), Header: http.Header{"Content-Disposition": {`attachment; filename="users-` + org + `.csv"`}}}, out.Error()
}
