package workorders

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"html/template"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// linkLife is how long the link in a request for approval can be used.
const linkLife = 7 * 24 * time.Hour

// linkKey reads the key that signs links, which the first process makes.
func (m *Module) linkKey(ctx context.Context) ([]byte, error) {
	var key []byte
	err := m.db.Update(ctx, func(tx *store.Tx) error {
		var stored string
		err := tx.QueryRow(`SELECT value FROM workorders_keys WHERE name = 'links'`).Scan(&stored)
		if errors.Is(err, sql.ErrNoRows) {
			var fresh [32]byte
			rand.Read(fresh[:])
			stored = hex.EncodeToString(fresh[:])
			err = tx.Exec(`INSERT INTO workorders_keys (name, value) VALUES ('links', ?)`, stored)
		}
		if err == nil {
			key, err = hex.DecodeString(stored)
		}
		return err
	})
	return key, err
}

// approvalLink is where one person can answer one request, without logging in.
func (m *Module) approvalLink(approval, user string, now time.Time) string {
	payload := approval + "|" + user + "|" + strconv.FormatInt(now.Add(linkLife).Unix(), 10)
	return m.o.PublicURL() + "/v1/approvals/" + m.sign(payload)
}

func (m *Module) sign(payload string) string {
	mac := hmac.New(sha256.New, m.key)
	mac.Write([]byte(payload))
	return base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// readLink returns whose link it is and for which request.
func (m *Module) readLink(link string) (approval, user string, err error) {
	first, _, ok := strings.Cut(link, ".")
	payload, derr := base64.RawURLEncoding.DecodeString(first)
	if !ok || derr != nil || !hmac.Equal([]byte(m.sign(string(payload))), []byte(link)) {
		return "", "", route.ErrNotFound
	}
	parts := strings.Split(string(payload), "|")
	if len(parts) != 3 {
		return "", "", route.ErrNotFound
	}
	until, derr := strconv.ParseInt(parts[2], 10, 64)
	if derr != nil || m.now().Unix() > until {
		return "", "", route.Problem(http.StatusGone, "this link is too old; log in and answer there")
	}
	return parts[0], parts[1], nil
}

// linked is a link that can still be used.
type linked struct {
	approval Approval
	order    Order
	by       actor
}

// follow finds what a link is for, and refuses it when the question is answered or the person
// is no manager any more.
func (m *Module) follow(ctx context.Context, link string) (l linked, err error) {
	approval, user, err := m.readLink(link)
	if err != nil {
		return l, err
	}
	const query = `SELECT ` + approvalColumns + ` FROM workorders_approvals WHERE id = ?`
	if l.approval, err = scanApproval(m.db.QueryRow(ctx, query, approval)); err != nil {
		return l, missing(err)
	}
	if l.approval.State != "pending" {
		return l, route.Problem(http.StatusGone, "this was answered already: it is %s", l.approval.State)
	}
	if l.order, err = m.order(ctx, l.approval.Order); err != nil {
		return l, err
	}
	managers, err := m.people(ctx, l.order.Domain, token.Manager)
	if err != nil {
		return l, err
	}
	i := slices.IndexFunc(managers, func(p Person) bool { return p.ID == user })
	if i < 0 {
		return l, route.Problem(http.StatusForbidden, "you are no manager of %s any more", l.order.Domain)
	}
	l.by = actor{id: user, name: managers[i].Name, role: token.Manager}
	return l, nil
}

// showLink answers GET /v1/approvals/{link}. It changes nothing: mail programs open links.
func (m *Module) showLink(r *route.Request) (any, error) {
	l, err := m.follow(r.Context(), r.PathValue("link"))
	if err != nil {
		return nil, err
	}
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return map[string]any{"approval": l.approval, "number": l.order.Number, "title": l.order.Title, "as": l.by.name}, nil
	}
	var b strings.Builder
	if err := approvalPage.Execute(&b, map[string]any{"A": l.approval, "O": l.order, "As": l.by.name}); err != nil {
		return nil, err
	}
	return &route.Response{ContentType: "text/html; charset=utf-8", Raw: []byte(b.String()), Header: http.Header{"Cache-Control": {"no-store"}}}, nil
}

var approvalPage = template.Must(template.New("approval").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.O.Number}} – approval</title>
<h1>{{.O.Number}} {{.O.Title}}</h1>
<p>{{.A.AskedName}} asks: {{.A.Reason}}{{if .A.Cost}} ({{.A.Cost}}){{end}}</p>
<form method="post"><p><label>Reason <input name="reason" size="60" maxlength="2000"></label></p>
<p><button name="decision" value="approve">Approve</button> <button name="decision" value="reject">Reject</button></p></form>
<p>You answer as {{.As}}. A rejection needs a reason.</p></html>
`))

// useLink answers POST /v1/approvals/{link} with a JSON body or the page's form.
func (m *Module) useLink(r *route.Request) (any, error) {
	l, err := m.follow(r.Context(), r.PathValue("link"))
	if err != nil {
		return nil, err
	}
	var in deciding
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		if err := r.ParseForm(); err != nil {
			return nil, gateway.NewProblem(http.StatusBadRequest, "the form could not be read")
		}
		in = deciding{Decision: r.PostForm.Get("decision"), Reason: r.PostForm.Get("reason")}
	} else if err := r.Decode(&in); err != nil {
		return nil, err
	}
	return m.decideOn(r.Context(), l.order.ID, l.approval.ID, in, l.by)
}
