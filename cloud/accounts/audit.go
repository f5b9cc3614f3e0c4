package accounts

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// Entry is one row of the audit: who decided or tried what, from where, and what came of it.
type Entry struct {
	ID      int64     `json:"id"`
	At      time.Time `json:"at"`
	Org     string    `json:"org"`
	Actor   string    `json:"actor"`  // as the tokens name them; empty for callers without an account
	Action  string    `json:"action"` // such as login
	Subject string    `json:"subject"`
	Outcome string    `json:"outcome"` // ok or refused
	Address string    `json:"address"`
	Detail  string    `json:"detail,omitempty"`
}

// The outcomes of an entry.
const (
	ok      = "ok"
	refused = "refused"
)

// note writes an entry for each organisation that it concerns; for none of them when orgs is
// empty, which only administrators of the whole cloud can read.
func (a *Accounts) note(tx *store.Tx, orgs []string, e Entry) error {
	if len(orgs) == 0 {
		orgs = []string{""}
	}
	for _, org := range orgs {
		const insert = `INSERT INTO accounts_audit (at, org, actor, action, subject, outcome, address, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
		if err := tx.Exec(insert, store.Millis(a.now()), org, e.Actor, e.Action, e.Subject, e.Outcome, e.Address, clip(e.Detail, 500)); err != nil {
			return fmt.Errorf("write audit: %w", err)
		}
	}
	return nil
}

// did is the entry of what a caller has done.
func did(r *route.Request, action, subject, detail string) Entry {
	return Entry{Actor: actor(r.Who), Action: action, Subject: subject, Outcome: ok, Address: remote(r), Detail: detail}
}

func actor(id *token.Identity) string {
	if id == nil {
		return ""
	}
	return string(id.Kind) + ":" + id.Who()
}

// clip bounds a text of a caller in bytes.
func clip(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// readAudit answers with the entries of an organisation, newest first.
func (a *Accounts) readAudit(r *route.Request) (any, error) {
	org := r.PathValue("org")
	if err := a.need(r.Who, org, token.Admin); err != nil {
		return nil, err
	}
	return a.auditPage(r, org)
}

// readWholeAudit answers with the entries that belong to no organisation.
func (a *Accounts) readWholeAudit(r *route.Request) (any, error) { return a.auditPage(r, "") }

func (a *Accounts) auditPage(r *route.Request, org string) (any, error) {
	before, limit, err := page(r, int64(1)<<62)
	if err != nil {
		return nil, err
	}
	entries, err := a.audit(r.Context(), org, before, limit)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Entries []Entry `json:"entries"`
		Next    string  `json:"next,omitempty"` // ?cursor= of the next page
	}{Entries: entries}
	if len(entries) == limit {
		answer.Next = strconv.FormatInt(entries[limit-1].ID, 10)
	}
	if entries == nil {
		answer.Entries = []Entry{}
	}
	return answer, nil
}

func (a *Accounts) audit(ctx context.Context, org string, before int64, limit int) ([]Entry, error) {
	const query = `SELECT id, at, org, actor, action, subject, outcome, address, detail FROM accounts_audit
		WHERE org = ? AND id < ? ORDER BY id DESC LIMIT ?`
	rows, err := a.db.Query(ctx, query, org, before, limit)
	entries, err := store.Collect(rows, err, func(r *sql.Rows) (Entry, error) {
		var e Entry
		var at int64
		err := r.Scan(&e.ID, &at, &e.Org, &e.Actor, &e.Action, &e.Subject, &e.Outcome, &e.Address, &e.Detail)
		e.At = store.FromMillis(at)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("read audit: %w", err)
	}
	return entries, nil
}

// page reads ?cursor= and ?limit= (1 to 500, 100 by default).
func page(r *route.Request, first int64) (cursor int64, limit int, err error) {
	cursor, limit = first, 100
	if s := r.URL.Query().Get("cursor"); s != "" {
		if cursor, err = strconv.ParseInt(s, 10, 64); err != nil {
			return 0, 0, route.Problem(http.StatusBadRequest, "cursor %q is not one of ours; take it from next of the page before", s)
		}
	}
	if s := r.URL.Query().Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > 500 {
			return 0, 0, route.Problem(http.StatusBadRequest, "limit %q: want 1 to 500", s)
		}
	}
	return cursor, limit, nil
}
