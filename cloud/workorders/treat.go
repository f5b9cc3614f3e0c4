package workorders

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

// The pace of what is done to attachments.
const (
	treatLease  = 10 * time.Minute // others take a job over that was not finished by then
	maxAttempts = 8                // at scanning
	firstRetry  = 15 * time.Second // doubled with each attempt
	sweepEvery  = time.Hour
)

// treatFiles scans attachments and makes their variants, one at a time, until ctx ends.
func (m *Module) treatFiles(ctx context.Context) {
	swept := time.Time{}
	for ctx.Err() == nil {
		if m.o.Now().Sub(swept) >= sweepEvery {
			if err := m.sweep(ctx); err != nil && ctx.Err() == nil {
				m.o.Log.Warn("old uploads not removed", "err", err)
			}
			swept = m.o.Now()
		}
		changed := m.db.Changed()
		next, err := m.treatDue(ctx)
		if err != nil && ctx.Err() == nil {
			m.o.Log.Error("attachments", "err", err)
		}
		wait := maxWait
		if err == nil && !next.IsZero() {
			wait = min(max(next.Sub(m.now()), 0), maxWait)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(wait):
		}
	}
}

// treatDue does all jobs that are due and returns when the next one is.
func (m *Module) treatDue(ctx context.Context) (next time.Time, err error) {
	for ctx.Err() == nil {
		var id string
		var due int64
		err := m.db.QueryRow(ctx, `SELECT id, due FROM workorders_attachments WHERE due > 0 ORDER BY due LIMIT 1`).Scan(&id, &due)
		if errors.Is(err, sql.ErrNoRows) {
			return time.Time{}, nil
		}
		if err != nil || store.FromMillis(due).After(m.now()) {
			return store.FromMillis(due), err
		}
		if err := m.treat(ctx, id, due); err != nil {
			return time.Time{}, fmt.Errorf("attachment %s: %w", id, err)
		}
	}
	return time.Time{}, ctx.Err()
}

// treat takes one job and does it: scanning, and then the variants of what may be handed out.
func (m *Module) treat(ctx context.Context, id string, due int64) error {
	var a Attachment
	err := m.db.Update(ctx, func(tx *store.Tx) (err error) {
		lease := store.Millis(m.now().Add(treatLease))
		n, err := tx.ExecCount(`UPDATE workorders_attachments SET due = ? WHERE id = ? AND due = ?`, lease, id, due)
		if err != nil || n == 0 {
			return err
		}
		a, err = decode[Attachment](tx.QueryRow(`SELECT doc FROM workorders_attachments WHERE id = ?`, id))
		return err
	})
	if err != nil || a.ID == "" {
		return err
	}
	before := a.State
	retry := time.Time{}
	if a.State == Pending {
		if retry = m.scanOne(ctx, &a); ctx.Err() != nil {
			return ctx.Err() // the lease brings it back
		}
	}
	if a.State == Clean || a.State == NotScanned {
		m.makeVariants(ctx, &a)
	}
	return m.treated(ctx, a, before, retry)
}

// scanOne scans a file and returns when to try again, if that must be.
func (m *Module) scanOne(ctx context.Context, a *Attachment) (retry time.Time) {
	f, err := os.Open(m.files.path(a.ID, ""))
	if err == nil {
		defer f.Close()
		a.Attempts++
		a.Reason, err = scan(ctx, m.files.clamd, f)
	}
	switch {
	case err == nil && a.Reason == "":
		a.State = Clean
	case err == nil:
		a.State = Infected
	case a.Attempts >= maxAttempts:
		a.State, a.Reason = Failed, err.Error()
	default:
		a.Reason = err.Error()
		return m.now().Add(firstRetry << (a.Attempts - 1))
	}
	return time.Time{}
}

// treated stores what became of a file, and tells of it.
func (m *Module) treated(ctx context.Context, a Attachment, before FileState, retry time.Time) error {
	_, err := m.change(ctx, a.Order, 0, func(tx *store.Tx, o *Order) error {
		n, err := tx.ExecCount(`DELETE FROM workorders_attachments WHERE id = ?`, a.ID)
		if err != nil || n == 0 {
			return err // deleted meanwhile
		}
		if err := putAttachment(tx, a, retry); err != nil {
			return err
		}
		if a.State == Infected && before != Infected {
			if err := m.notify(tx, o, itself, []string{a.By, o.Assignee}, notice{kind: "infected", text: a.Name + ": " + a.Reason, severity: edge.Warning, key: a.ID}); err != nil {
				return err
			}
			return m.record(tx, o, itself, Step{What: "attachment_infected", Why: a.Name + ": " + a.Reason}, a)
		}
		return m.tell(tx, o, "attachment", itself, Change{Detail: a})
	})
	if errors.Is(err, route.ErrNotFound) {
		err = nil
		m.files.remove(a.ID)
	}
	if err == nil && a.State == Infected {
		m.files.remove(a.ID)
	}
	return err
}

// rescan answers POST …/attachments/{attachment}/scan.
func (m *Module) rescan(r *route.Request, o Order) (any, error) {
	a, err := m.attachment(r.Context(), o.ID, r.PathValue("attachment"))
	if err != nil {
		return nil, err
	}
	switch {
	case m.files.clamd == "":
		return nil, route.Problem(http.StatusConflict, "no scanner is configured; set workorders.clamav")
	case a.State == Infected || a.State == Uploading:
		return nil, route.Problem(http.StatusConflict, "it is %s; there is nothing to scan", a.State)
	}
	a.State, a.Attempts, a.Reason = Pending, 0, ""
	by := actorOf(r, o.Domain)
	_, err = m.change(r.Context(), o.ID, 0, func(tx *store.Tx, o *Order) error {
		if err := putAttachment(tx, a, m.now()); err != nil {
			return err
		}
		return m.record(tx, o, by, Step{What: "attachment_rescan", Why: a.Name}, a)
	})
	if err != nil {
		return nil, err
	}
	return &route.Response{Status: http.StatusAccepted, Body: a}, nil
}
