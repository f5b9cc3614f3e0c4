package workorders

import (
	"context"
	"database/sql"
	"net/http"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
)

// Task is a part of an order that somebody else may do. An order is not resolved or closed
// before its tasks are done.
type Task struct {
	ID       string    `json:"id"`
	Title    string    `json:"title"`
	Assignee string    `json:"assignee,omitempty"`
	Done     bool      `json:"done"`
	DoneAt   time.Time `json:"done_at,omitzero"`
	DoneBy   string    `json:"done_by,omitempty"`
}

// maxTasks bounds the tasks of one order.
const maxTasks = 100

const taskColumns = `id, title, assignee, done_at, done_by`

func scanTask(row interface{ Scan(...any) error }) (Task, error) {
	var t Task
	var at int64
	err := row.Scan(&t.ID, &t.Title, &t.Assignee, &at, &t.DoneBy)
	t.DoneAt, t.Done = store.FromMillis(at), at != 0
	return t, err
}

func (m *Module) tasks(ctx context.Context, order string) ([]Task, error) {
	rows, err := m.db.Query(ctx, `SELECT `+taskColumns+` FROM workorders_tasks WHERE workorder = ? ORDER BY id`, order)
	out, err := store.Collect(rows, err, func(r *sql.Rows) (Task, error) { return scanTask(r) })
	return orEmpty(out), err
}

// orEmpty makes a missing list an empty one in JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func openTasks(tx *store.Tx, order string) (n int, err error) {
	return n, tx.QueryRow(`SELECT count(*) FROM workorders_tasks WHERE workorder = ? AND done_at = 0`, order).Scan(&n)
}

// taskPatch is the body of POST …/tasks and PATCH …/tasks/{task}.
type taskPatch struct {
	Title    *string `json:"title"`
	Assignee *string `json:"assignee"`
	Done     *bool   `json:"done"`
}

func (m *Module) addTask(r *route.Request, o Order) (any, error) {
	t := Task{ID: newID()}
	if err := m.readTask(r, &o, &t); err != nil {
		return nil, err
	}
	by := actorOf(r, o.Domain)
	_, err := m.change(r.Context(), o.ID, 0, func(tx *store.Tx, o *Order) error {
		if o.State.over() && o.State != Draft {
			return route.Problem(http.StatusConflict, "it is %s; reopen it first", o.State)
		}
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM workorders_tasks WHERE workorder = ?`, o.ID).Scan(&n); err != nil {
			return err
		}
		if n >= maxTasks {
			return route.Problem(http.StatusConflict, "it has %d sub-tasks already", n)
		}
		const insert = `INSERT INTO workorders_tasks (id, workorder, title, assignee, done_at, done_by) VALUES (?, ?, ?, ?, ?, ?)`
		if err := tx.Exec(insert, t.ID, o.ID, t.Title, t.Assignee, store.Millis(t.DoneAt), t.DoneBy); err != nil {
			return err
		}
		return m.taskDone(tx, o, by, "task_added", t, true)
	})
	if err != nil {
		return nil, err
	}
	return route.Created("/v1/work-orders/"+o.ID+"/tasks/"+t.ID, t), nil
}

// readTask lays the body over a task and checks it.
func (m *Module) readTask(r *route.Request, o *Order, t *Task) error {
	var p taskPatch
	if err := r.Decode(&p); err != nil {
		return err
	}
	if p.Title != nil {
		t.Title = strings.TrimSpace(*p.Title)
	}
	if t.Title == "" || len(t.Title) > maxTitle {
		return route.Problem(http.StatusUnprocessableEntity, "title: want 1 to %d bytes", maxTitle)
	}
	if p.Assignee != nil {
		t.Assignee = *p.Assignee
		if err := m.canWork(r.Context(), o.Domain, t.Assignee); err != nil {
			return err
		}
	}
	if p.Done != nil && *p.Done != t.Done {
		t.Done, t.DoneAt, t.DoneBy = *p.Done, time.Time{}, ""
		if t.Done {
			t.DoneAt, t.DoneBy = m.now(), r.Who.Who()
		}
	}
	return nil
}

func (m *Module) editTask(r *route.Request, o Order) (any, error) {
	const query = `SELECT ` + taskColumns + ` FROM workorders_tasks WHERE id = ? AND workorder = ?`
	t, err := scanTask(m.db.QueryRow(r.Context(), query, r.PathValue("task"), o.ID))
	if err != nil {
		return nil, missing(err)
	}
	before := t
	if err := m.readTask(r, &o, &t); err != nil {
		return nil, err
	}
	what := "task_changed"
	if t.Done != before.Done {
		what = map[bool]string{true: "task_done", false: "task_undone"}[t.Done]
	}
	by := actorOf(r, o.Domain)
	_, err = m.change(r.Context(), o.ID, 0, func(tx *store.Tx, o *Order) error {
		if o.State.over() && o.State != Draft {
			return route.Problem(http.StatusConflict, "it is %s; reopen it first", o.State)
		}
		const update = `UPDATE workorders_tasks SET title = ?, assignee = ?, done_at = ?, done_by = ? WHERE id = ?`
		if err := tx.Exec(update, t.Title, t.Assignee, store.Millis(t.DoneAt), t.DoneBy, t.ID); err != nil {
			return err
		}
		return m.taskDone(tx, o, by, what, t, t.Assignee != before.Assignee)
	})
	return t, err
}

func (m *Module) dropTask(r *route.Request, o Order) (any, error) {
	by := actorOf(r, o.Domain)
	_, err := m.change(r.Context(), o.ID, 0, func(tx *store.Tx, o *Order) error {
		n, err := tx.ExecCount(`DELETE FROM workorders_tasks WHERE id = ? AND workorder = ?`, r.PathValue("task"), o.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			return route.ErrNotFound
		}
		return m.record(tx, o, by, Step{What: "task_dropped"}, map[string]any{"id": r.PathValue("task")})
	})
	return nil, err
}

// taskDone writes down what happened to a task and tells a new assignee.
func (m *Module) taskDone(tx *store.Tx, o *Order, by actor, what string, t Task, assigned bool) error {
	if err := m.record(tx, o, by, Step{What: what, Why: t.Title}, t); err != nil {
		return err
	}
	if !assigned {
		return nil
	}
	return m.notify(tx, o, by, []string{t.Assignee}, notice{kind: "assigned", text: "your part of it: " + t.Title, key: t.ID})
}
