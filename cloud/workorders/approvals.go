package workorders

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// Approval is a question to a second person: whoever asks cannot answer.
type Approval struct {
	ID        string    `json:"id"`
	Order     string    `json:"order"`
	State     string    `json:"state"` // pending, approved, rejected, withdrawn
	AskedBy   string    `json:"asked_by"`
	AskedName string    `json:"asked_name"`
	AskedAt   time.Time `json:"asked_at"`
	Reason    string    `json:"reason"`
	Cost      string    `json:"cost,omitempty"`
	Approver  string    `json:"approver,omitempty"` // only this user may; empty = any manager but whoever asks
	DecidedBy string    `json:"decided_by,omitempty"`
	Decider   string    `json:"decider,omitempty"`
	DecidedAt time.Time `json:"decided_at,omitzero"`
	Answer    string    `json:"answer,omitempty"`
}

const approvalColumns = `id, workorder, state, asked_by, asked_name, asked_at, reason, cost, approver, decided_by, decided_name, decided_at, answer`

func scanApproval(row interface{ Scan(...any) error }) (Approval, error) {
	var a Approval
	var asked, decided int64
	err := row.Scan(&a.ID, &a.Order, &a.State, &a.AskedBy, &a.AskedName, &asked, &a.Reason, &a.Cost, &a.Approver, &a.DecidedBy, &a.Decider, &decided, &a.Answer)
	a.AskedAt, a.DecidedAt = store.FromMillis(asked), store.FromMillis(decided)
	return a, err
}

// missing makes an absent row a 404.
func missing(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return route.ErrNotFound
	}
	return err
}

func (m *Module) approvals(ctx context.Context, order string) ([]Approval, error) {
	rows, err := m.db.Query(ctx, `SELECT `+approvalColumns+` FROM workorders_approvals WHERE workorder = ? ORDER BY id`, order)
	out, err := store.Collect(rows, err, func(r *sql.Rows) (Approval, error) { return scanApproval(r) })
	return orEmpty(out), err
}

func pendingApproval(tx *store.Tx, order string) (Approval, error) {
	const query = `SELECT ` + approvalColumns + ` FROM workorders_approvals WHERE workorder = ? AND state = 'pending'`
	return scanApproval(tx.QueryRow(query, order))
}

// findApprovers looks up who may approve what is about to be asked for.
func (m *Module) findApprovers(ctx context.Context, o *Order, mv *move) error {
	if mv.to != WaitingApproval || o.State == Postponed {
		return nil
	}
	managers, err := m.people(ctx, o.Domain, token.Manager)
	if err != nil {
		return fmt.Errorf("look up approvers: %w", err)
	}
	mv.managers = slices.DeleteFunc(managers, func(p Person) bool {
		return p.ID == mv.by.id || mv.approver != "" && p.ID != mv.approver
	})
	switch {
	case len(mv.cost) > maxWord || len(mv.approver) > maxWord:
		return route.Problem(http.StatusUnprocessableEntity, "cost or approver: longer than %d bytes", maxWord)
	case mv.approver == mv.by.id && mv.approver != "":
		return route.Problem(http.StatusUnprocessableEntity, "you cannot approve what you ask for; name another approver")
	case m.accounts() && len(mv.managers) == 0:
		return route.Problem(http.StatusUnprocessableEntity, "nobody else in %s has the role manager to approve it", o.Domain)
	}
	return nil
}

// ask asks for approval; each who may give it gets a link of its own.
func (m *Module) ask(tx *store.Tx, o *Order, mv move, now time.Time) error {
	a := Approval{ID: newID(), Order: o.ID, State: "pending", AskedBy: mv.by.id, AskedName: mv.by.name, AskedAt: now, Reason: mv.reason, Cost: mv.cost, Approver: mv.approver}
	const insert = `INSERT INTO workorders_approvals (` + approvalColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', 0, '')`
	if err := tx.Exec(insert, a.ID, o.ID, a.State, a.AskedBy, a.AskedName, store.Millis(now), a.Reason, a.Cost, a.Approver); err != nil {
		return fmt.Errorf("store request for approval: %w", err)
	}
	o.Cost = mv.cost
	text := mv.by.name + " asks you to approve" + why(mv.reason)
	if a.Cost != "" {
		text += " (" + a.Cost + ")"
	}
	for _, p := range mv.managers {
		n := notice{kind: "approval", text: text, link: m.approvalLink(a.ID, p.ID, now), severity: edge.Warning, key: a.ID}
		if err := m.notify(tx, o, mv.by, []string{p.ID}, n); err != nil {
			return err
		}
	}
	return m.tell(tx, o, "approval", mv.by, Change{Why: mv.reason, Detail: a})
}

// decide answers the pending request. Whoever asked, and whoever was not asked, cannot.
func (m *Module) decide(tx *store.Tx, o *Order, mv move, now time.Time) error {
	a, err := pendingApproval(tx, o.ID)
	if err != nil {
		return fmt.Errorf("read request for approval: %w", err)
	}
	if a.AskedBy == mv.by.id {
		return route.Problem(http.StatusForbidden, "you have asked for it yourself; somebody else must decide")
	}
	if a.Approver != "" && a.Approver != mv.by.id && mv.by.role < token.Admin {
		return route.Problem(http.StatusForbidden, "another approver was named for it")
	}
	return settle(tx, a.ID, string(mv.to), mv, now)
}

func (m *Module) withdraw(tx *store.Tx, o *Order, mv move, now time.Time) error {
	a, err := pendingApproval(tx, o.ID)
	if err != nil {
		return fmt.Errorf("read request for approval: %w", err)
	}
	return settle(tx, a.ID, "withdrawn", mv, now)
}

func settle(tx *store.Tx, id, state string, mv move, now time.Time) error {
	const update = `UPDATE workorders_approvals SET state = ?, decided_by = ?, decided_name = ?, decided_at = ?, answer = ? WHERE id = ?`
	return tx.Exec(update, state, mv.by.id, mv.by.name, store.Millis(now), mv.reason, id)
}

// deciding is the body of POST /v1/work-orders/{id}/approvals/{approval} and of the link.
type deciding struct {
	Decision string `json:"decision"` // approve or reject
	Reason   string `json:"reason"`
}

func (d deciding) state() (State, error) {
	switch strings.TrimSpace(d.Decision) {
	case "approve":
		return Approved, nil
	case "reject":
		return Rejected, nil
	}
	return "", route.Problem(http.StatusUnprocessableEntity, "decision %q: want approve or reject", d.Decision)
}

// answerApproval answers POST /v1/work-orders/{id}/approvals/{approval}.
func (m *Module) answerApproval(r *route.Request, o Order) (any, error) {
	var in deciding
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	return m.decideOn(r.Context(), o.ID, r.PathValue("approval"), in, actorOf(r, o.Domain))
}

// decideOn decides one request: 410 when that has happened already.
func (m *Module) decideOn(ctx context.Context, order, approval string, in deciding, by actor) (any, error) {
	to, err := in.state()
	if err != nil {
		return nil, err
	}
	_, err = m.change(ctx, order, 0, func(tx *store.Tx, o *Order) error {
		const query = `SELECT ` + approvalColumns + ` FROM workorders_approvals WHERE id = ? AND workorder = ?`
		a, err := scanApproval(tx.QueryRow(query, approval, order))
		if err != nil {
			return missing(err)
		}
		if a.State != "pending" {
			return route.Problem(http.StatusGone, "it is %s already", a.State)
		}
		return m.apply(tx, o, move{to: to, reason: in.Reason, by: by})
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"order": order, "state": to}, nil
}
