package forward

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
)

// replay is a row of forward_replays: events that are sent once more.
type replay struct {
	ID              string
	Position, Final int64
	Since, Until    time.Time
	Sent            int64
	Finished        bool
	Creator         string
	Created         time.Time
}

const replayColumns = `id, position, final, since, until, sent, finished, creator, created`

func scanReplay(row interface{ Scan(...any) error }) (r replay, err error) {
	var since, until, created int64
	err = row.Scan(&r.ID, &r.Position, &r.Final, &since, &until, &r.Sent, &r.Finished, &r.Creator, &created)
	r.Since, r.Until, r.Created = store.FromMillis(since), store.FromMillis(until), store.FromMillis(created)
	return r, err
}

// openReplay is the oldest replay of a target that is not finished; nil when there is none.
func openReplay(tx *store.Tx, target string) (*replay, error) {
	r, err := scanReplay(tx.QueryRow(`SELECT `+replayColumns+` FROM forward_replays WHERE target = ? AND finished = 0 ORDER BY id LIMIT 1`, target))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &r, err
}

// Wanted is the body of POST …/replay: from and to are ids of events, or RFC 3339 times at which
// they happened, both included.
type Wanted struct {
	From Moment `json:"from"`
	To   Moment `json:"to,omitempty"` // up to now by default
}

// Moment is an event's id (digits; in JSON a number or a text) or an RFC 3339 time.
type Moment string

// UnmarshalJSON reads a number or a text.
func (m *Moment) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		s = string(b)
	}
	*m = Moment(s)
	_, _, err := m.read()
	return err
}

// read tells which form it is: an id above 0, or a time.
func (m Moment) read() (event int64, at time.Time, err error) {
	if id, err := strconv.ParseInt(string(m), 10, 64); err == nil && id > 0 {
		return id, at, nil
	}
	at, err = time.Parse(time.RFC3339Nano, string(m))
	if err != nil || at.Year() < 2000 || at.Year() > 2200 {
		return 0, at, fmt.Errorf("%.40q is neither the id of an event nor a time such as 2026-03-02T08:00:00Z", string(m))
	}
	return 0, at, nil
}

// Replay is a replay as the API shows it.
type Replay struct {
	ID       string    `json:"id"`
	State    string    `json:"state"` // running or finished
	Sent     int64     `json:"sent"`  // events
	Creator  string    `json:"created_by"`
	Created  time.Time `json:"created_at"`
	Position string    `json:"position"` // id of the newest event dealt with
	Final    string    `json:"final"`    // id of the last event
}

func (r *replay) show() Replay {
	out := Replay{ID: r.ID, State: "running", Sent: r.Sent, Creator: r.Creator, Created: r.Created, Position: strconv.FormatInt(r.Position, 10), Final: strconv.FormatInt(r.Final, 10)}
	if r.Finished {
		out.State = "finished"
	}
	return out
}

// plan finds which events a wanted replay is about.
func (f *Forwarder) plan(ctx context.Context, w Wanted) (r replay, err error) {
	if w.From == "" {
		return r, invalid("from is missing: the id of an event, or a time such as 2026-03-02T08:00:00Z")
	}
	event, at, _ := w.From.read() // it was read before
	if r.Position, r.Since = event-1, at; event == 0 {
		if r.Position, err = f.before(ctx, at); err != nil {
			return r, err
		}
	}
	if r.Final, err = f.db.NewestEvent(ctx); err != nil {
		return r, err
	}
	if w.To != "" {
		if event, r.Until, _ = w.To.read(); event > 0 {
			r.Final = min(r.Final, event)
		}
	}
	if r.Position >= r.Final || !r.Since.IsZero() && !r.Until.IsZero() && r.Until.Before(r.Since) {
		return r, invalid("there are no events from %s on up to there; the newest has the id %d", w.From, r.Final)
	}
	return r, nil
}

// before is the id in front of the first event in the table that happened at a time or later.
func (f *Forwarder) before(ctx context.Context, at time.Time) (id int64, err error) {
	err = f.db.QueryRow(ctx, `SELECT id FROM events WHERE at >= ? ORDER BY id LIMIT 1`, store.Millis(at)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, invalid("nothing has happened since %s", at.Format(time.RFC3339))
	}
	return id - 1, err
}

// maxReplays bounds the replays of a target that wait.
const maxReplays = 10

// startReplay answers POST …/replay.
func (f *Forwarder) startReplay(r *route.Request) (any, error) {
	t := r.Found.(target)
	var wanted Wanted
	if err := r.Decode(&wanted); err != nil {
		return nil, err
	}
	p, err := f.plan(r.Context(), wanted)
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	p.ID, p.Creator, p.Created = id.String(), r.Who.Who(), f.now()
	err = f.db.Update(r.Context(), func(tx *store.Tx) error {
		var open int
		if err := tx.QueryRow(`SELECT count(*) FROM forward_replays WHERE target = ? AND finished = 0`, t.ID).Scan(&open); err != nil {
			return err
		}
		if open >= maxReplays {
			return route.Problem(http.StatusConflict, "%d replays wait already; let them come to an end first", open)
		}
		const insert = `INSERT INTO forward_replays (id, target, position, final, since, until, creator, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
		if err := tx.Exec(insert, p.ID, t.ID, p.Position, p.Final, store.Millis(p.Since), store.Millis(p.Until), p.Creator, store.Millis(p.Created)); err != nil {
			return err
		}
		return touch(tx, t.ID)
	})
	if err != nil {
		return nil, err
	}
	f.look()
	return &route.Response{Status: http.StatusAccepted, Body: p.show()}, nil
}

// listReplays answers the newest replays of a target.
func (f *Forwarder) listReplays(r *route.Request) (any, error) {
	rows, err := f.db.Query(r.Context(), `SELECT `+replayColumns+` FROM forward_replays WHERE target = ? ORDER BY id DESC LIMIT 100`, r.Found.(target).ID)
	list, err := store.Collect(rows, err, func(rows *sql.Rows) (Replay, error) {
		p, err := scanReplay(rows)
		return p.show(), err
	})
	if list == nil {
		list = []Replay{}
	}
	return map[string]any{"replays": list}, err
}
