package notify

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// ackLife is how long a link to acknowledge is good.
const ackLife = 48 * time.Hour

// ackLink makes the one-time address by which a receiver acknowledges alerts; empty when there is
// no way to. The address holds 128 random bits, of which the database has the hash.
func (n *Notifier) ackLink(tx *store.Tx, facts []*fact, who, title string) (string, error) {
	if n.o.Acknowledge == nil || n.o.Public == nil {
		return "", nil
	}
	secret := rand.Text()
	ids := make([]string, len(facts))
	for i, f := range facts {
		ids[i] = f.alert.ID
	}
	const insert = `INSERT INTO notify_acks (hash, org, site, alerts, who, title, expires) VALUES (?, ?, ?, ?, ?, ?, ?)`
	err := tx.Exec(insert, hashOf(secret), facts[0].Org, facts[0].SiteName, toJSON(ids), who, title, store.Millis(n.now().Add(ackLife)))
	return n.o.Public() + "/v1/ack/" + secret, err
}

func hashOf(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}

// ackRow is what a link stands for.
type ackRow struct {
	org, site, who, title string
	alerts                []string
	expires, used         time.Time
}

func (n *Notifier) ack(ctx context.Context, secret string) (a ackRow, err error) {
	const query = `SELECT org, site, alerts, who, title, expires, used FROM notify_acks WHERE hash = ?`
	var alerts string
	var expires, used int64
	err = n.db.QueryRow(ctx, query, hashOf(secret)).Scan(&a.org, &a.site, &alerts, &a.who, &a.title, &expires, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return a, route.Problem(http.StatusNotFound, "there is no such link")
	}
	if err != nil {
		return a, err
	}
	a.expires, a.used = store.FromMillis(expires), store.FromMillis(used)
	switch {
	case !a.used.IsZero():
		return a, route.Problem(http.StatusGone, "the link was used at %s", a.used.Format(time.RFC3339))
	case !n.now().Before(a.expires):
		return a, route.Problem(http.StatusGone, "the link has expired")
	}
	return a, json.Unmarshal([]byte(alerts), &a.alerts)
}

var ackPage = template.Must(template.New("ack").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Acknowledge</title>
<h1>{{.Title}}</h1>
{{if .Done}}<p>Acknowledged. Nobody else will be told.</p>
{{else}}<p>Acknowledge to say that you take care of it; nobody else will be told.</p>
<form method="post"><button>Acknowledge</button></form>{{end}}
</html>
`))

func (a ackRow) page(done bool) *route.Response {
	var b strings.Builder
	_ = ackPage.Execute(&b, struct {
		Title string
		Done  bool
	}{a.title, done})
	return &route.Response{Raw: []byte(b.String()), ContentType: "text/html; charset=utf-8", Header: http.Header{
		"Cache-Control": {"no-store"}, "Referrer-Policy": {"no-referrer"},
		"Content-Security-Policy": {"default-src 'none'; form-action 'self'; frame-ancestors 'none'"},
	}}
}

// showAck shows what would be acknowledged: fetching a link, as mail scanners do, changes nothing.
func (n *Notifier) showAck(r *route.Request) (any, error) {
	a, err := n.ack(r.Context(), r.PathValue("secret"))
	if err != nil {
		return nil, err
	}
	return a.page(false), nil
}

// useAck acknowledges the alerts of a link, once.
func (n *Notifier) useAck(r *route.Request) (any, error) {
	secret := r.PathValue("secret")
	a, err := n.ack(r.Context(), secret)
	if err != nil {
		return nil, err
	}
	if n.o.Acknowledge == nil {
		return nil, route.Problem(http.StatusNotFound, "links to acknowledge are switched off")
	}
	sites, err := n.db.FindSites(r.Context(), a.org, a.site)
	if err != nil || len(sites) == 0 {
		return nil, errors.Join(err, route.ErrNotFound)
	}
	if err := n.mayAck(r.Context(), a.who, sites[0]); err != nil {
		return nil, err
	}
	if err := n.spend(r.Context(), secret); err != nil {
		return nil, err
	}
	who := n.nameOf(r.Context(), a.who)
	for _, id := range a.alerts {
		if err := n.o.Acknowledge(r.Context(), sites[0], id, who); err != nil {
			return nil, fmt.Errorf("acknowledge %s: %w", id, err)
		}
	}
	return a.page(true), nil
}

// mayAck refuses the links of persons who are no operators of the site, or not any more: being told
// gives nobody a right that they do not have. Links that were told to a channel are for who reads it.
func (n *Notifier) mayAck(ctx context.Context, who string, s store.Site) error {
	if n.o.Members == nil || strings.HasPrefix(who, "link to ") {
		return nil
	}
	for _, d := range n.o.Domains(s) {
		people, err := n.o.Members(ctx, d, token.Operator)
		if err != nil {
			return fmt.Errorf("list members of %s: %w", d, err)
		}
		if slices.ContainsFunc(people, func(p Person) bool { return p.ID == who }) {
			return nil
		}
	}
	return route.Problem(http.StatusForbidden, "to acknowledge needs the role operator at the site")
}

// spend marks a link used; 410 when somebody was faster.
func (n *Notifier) spend(ctx context.Context, secret string) error {
	return n.db.Update(ctx, func(tx *store.Tx) error {
		count, err := tx.ExecCount(`UPDATE notify_acks SET used = ? WHERE hash = ? AND used = 0`, store.Millis(n.now()), hashOf(secret))
		if err == nil && count == 0 {
			err = route.Problem(http.StatusGone, "the link was used")
		}
		return err
	})
}

// nameOf is how the audit knows a person or channel.
func (n *Notifier) nameOf(ctx context.Context, who string) string {
	if n.o.User == nil || strings.HasPrefix(who, "link to ") {
		return who
	}
	p, err := n.o.User(ctx, who)
	switch {
	case err != nil:
		return who
	case p.Name != "":
		return p.Name
	case p.Email != "":
		return p.Email
	}
	return who
}
