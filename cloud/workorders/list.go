package workorders

import (
	"context"
	"database/sql"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// where gathers the conditions of a query.
type where struct {
	terms []string
	args  []any
}

func (w *where) add(term string, args ...any) {
	w.terms = append(w.terms, term)
	w.args = append(w.args, args...)
}

func (w *where) String() string { return strings.Join(w.terms, " AND ") }

// seenBy are the orders that a caller may see: those of its domains, and no drafts of others.
func seenBy(who *token.Identity) *where {
	w := &where{}
	w.add(`(state <> ? OR creator = ?)`, string(Draft), who.Subject)
	if who.Everywhere >= token.Viewer {
		return w
	}
	terms, args := []string{"1 = 0"}, []any{}
	for _, ms := range who.Memberships {
		if ms.Role < token.Viewer {
			continue
		}
		terms, args = append(terms, `domain = ?`), append(args, ms.Domain)
		if ms.Subs == nil || *ms.Subs {
			below := ms.Domain + "/"
			terms, args = append(terms, `substr(domain, 1, ?) = ?`), append(args, len(below), below)
		}
	}
	w.add("("+strings.Join(terms, " OR ")+")", args...)
	return w
}

// filtered adds what the query string asks for.
func filtered(r *route.Request) (*where, error) {
	q, w := r.URL.Query(), seenBy(r.Who)
	for _, f := range []struct {
		name  string
		known func(string) bool
	}{
		{"state", func(s string) bool { return slices.Contains(States, State(s)) }},
		{"priority", func(s string) bool { return slices.Contains(priorities, Priority(s)) }},
		{"org", nil}, {"site", nil}, {"domain", nil}, {"alert", nil},
	} {
		if err := w.anyOf(f.name, q.Get(f.name), f.known); err != nil {
			return nil, err
		}
	}
	if v := q.Get("assignee"); v != "" {
		if alias, ok := map[string]string{"me": r.Who.Subject, "none": ""}[v]; ok {
			v = alias
		}
		w.add(`assignee = ?`, v)
	}
	if v := q.Get("label"); v != "" {
		w.add(`labels LIKE ? ESCAPE '!'`, "%,"+literal(v)+",%")
	}
	if v := q.Get("q"); v != "" {
		w.add(`search LIKE ? ESCAPE '!'`, "%"+literal(strings.ToLower(v))+"%")
	}
	switch v := q.Get("overdue"); v {
	case "", "false":
	case "true":
		w.add(overdueTerm)
	default:
		return nil, route.Problem(http.StatusBadRequest, "overdue %q: want true or false", v)
	}
	return w, nil
}

// overdueTerm is true of orders that missed a deadline and are not done.
const overdueTerm = `breached = 1 AND state NOT IN ('resolved', 'closed', 'draft')`

// anyOf takes a list with commas.
func (w *where) anyOf(column, list string, known func(string) bool) error {
	if list == "" {
		return nil
	}
	var marks []string
	for v := range strings.SplitSeq(list, ",") {
		if known != nil && !known(v) {
			return route.Problem(http.StatusBadRequest, "%s %q is not known", column, v)
		}
		marks = append(marks, "?")
		w.args = append(w.args, v)
	}
	w.terms = append(w.terms, column+" IN ("+strings.Join(marks, ", ")+")")
	return nil
}

// literal makes a text one that LIKE takes as it is.
func literal(s string) string { return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s) }

// page is how many orders a list answers by default, and most.
const (
	page     = 50
	mostPage = 500
)

// list answers GET /v1/work-orders, the newest first.
func (m *Module) list(r *route.Request) (any, error) {
	w, err := filtered(r)
	if err != nil {
		return nil, err
	}
	limit := page
	if s := r.URL.Query().Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > mostPage {
			return nil, route.Problem(http.StatusBadRequest, "limit %q: want 1 to %d", s, mostPage)
		}
	}
	if cursor := r.URL.Query().Get("cursor"); cursor != "" {
		w.add(`id < ?`, cursor)
	}
	orders, err := m.find(r.Context(), w, limit+1)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(orders) > limit {
		orders = orders[:limit]
		next = orders[limit-1].ID
	}
	return map[string]any{"work_orders": m.cards(orders, r.URL.Query().Get("view")), "next": next}, nil
}

func (m *Module) find(ctx context.Context, w *where, limit int) ([]Order, error) {
	rows, err := m.db.Query(ctx, `SELECT `+orderColumns+` FROM workorders_orders WHERE `+w.String()+` ORDER BY id DESC LIMIT ?`, append(w.args, limit)...)
	return store.Collect(rows, err, func(r *sql.Rows) (Order, error) { return scanOrder(r) })
}

// Card is an order with what a page shows of it.
type Card struct {
	Order
	Overdue bool `json:"overdue"`          // a deadline was missed and it is not done
	DueIn   *int `json:"due_in,omitempty"` // seconds until the next deadline; negative = past
	Paused  bool `json:"paused"`
}

func (m *Module) card(o Order) Card {
	c := Card{Order: o, Overdue: o.breached() && !o.State.over()}
	d := o.Deadlines
	if d == nil || o.State.over() {
		return c
	}
	c.Paused = !d.PausedAt.IsZero()
	due := d.RespondBy
	if due.IsZero() || d.RespondBreached {
		due = d.ResolveBy
	}
	if !due.IsZero() {
		seconds := int(due.Sub(m.now()).Seconds())
		c.DueIn = &seconds
	}
	return c
}

func (m *Module) cards(orders []Order, view string) any {
	if view == "ticket" {
		out := make([]Ticket, len(orders))
		for i := range orders {
			out[i] = ticketOf(&orders[i])
		}
		return out
	}
	out := make([]Card, len(orders))
	for i := range orders {
		out[i] = m.card(orders[i])
	}
	return out
}

// Ticket is an order as help desks show one: ?view=ticket.
type Ticket struct {
	ID         string    `json:"id"`
	Number     string    `json:"ticket_id,omitempty"`
	Subject    string    `json:"title"`
	Text       string    `json:"description"`
	Status     string    `json:"status"`
	Priority   string    `json:"priority"`
	Requestor  string    `json:"requestor"`
	Assignee   string    `json:"assignee,omitempty"`
	Department string    `json:"department"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	DueAt      time.Time `json:"due_at,omitzero"`
	Breached   bool      `json:"sla_breached"`
	Version    int64     `json:"version"`
}

func ticketOf(o *Order) Ticket {
	t := Ticket{
		ID: o.ID, Number: o.Number, Subject: o.Title, Text: o.Description, Status: ticketNames[o.State], Requestor: o.CreatorName,
		Priority: strings.ToUpper(string(o.Priority[:1])) + string(o.Priority[1:]), Assignee: o.Assignee, Department: o.Domain,
		CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt, Breached: o.breached(), Version: o.Version,
	}
	if o.Deadlines != nil {
		t.DueAt = o.Deadlines.ResolveBy
	}
	return t
}

// Column is one state on the board.
type Column struct {
	State State  `json:"state"`
	Count int    `json:"count"`
	Cards []Card `json:"cards"` // the newest, at most 50
}

// board answers GET /v1/work-orders/board: the same filters, by state.
func (m *Module) board(r *route.Request) (any, error) {
	columns := make([]Column, 0, len(States))
	for _, s := range States {
		w, err := filtered(r)
		if err != nil {
			return nil, err
		}
		w.add(`state = ?`, string(s))
		c := Column{State: s}
		if err := m.db.QueryRow(r.Context(), `SELECT count(*) FROM workorders_orders WHERE `+w.String(), w.args...).Scan(&c.Count); err != nil {
			return nil, err
		}
		orders, err := m.find(r.Context(), w, page)
		if err != nil {
			return nil, err
		}
		c.Cards = m.cards(orders, "").([]Card)
		columns = append(columns, c)
	}
	return map[string]any{"columns": columns}, nil
}

// Summary is how many orders there are; those done and drafts count by state only.
type Summary struct {
	ByState    map[State]int    `json:"by_state"`
	ByPriority map[Priority]int `json:"by_priority"`
	Open       int              `json:"open"` // not done
	Unassigned int              `json:"unassigned"`
	Overdue    int              `json:"overdue"`
	Mine       int              `json:"mine"`
}

// summary answers GET /v1/work-orders/summary.
func (m *Module) summary(r *route.Request) (any, error) {
	w, err := filtered(r)
	if err != nil {
		return nil, err
	}
	const query = `SELECT state, priority, CASE WHEN assignee = '' THEN 1 ELSE 0 END, CASE WHEN assignee = ? THEN 1 ELSE 0 END, breached, count(*)
		FROM workorders_orders WHERE `
	rows, err := m.db.Query(r.Context(), query+w.String()+` GROUP BY 1, 2, 3, 4, 5`, append([]any{r.Who.Subject}, w.args...)...)
	out := Summary{ByState: map[State]int{}, ByPriority: map[Priority]int{}}
	_, err = store.Collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var state State
		var priority Priority
		var free, mine, breached, n int
		if err := r.Scan(&state, &priority, &free, &mine, &breached, &n); err != nil {
			return struct{}{}, err
		}
		out.ByState[state] += n
		if !state.over() {
			out.ByPriority[priority] += n
			out.Open += n
			out.Unassigned += n * free
			out.Mine += n * mine
			out.Overdue += n * breached
		}
		return struct{}{}, nil
	})
	return out, err
}
