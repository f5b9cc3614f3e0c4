package twin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// The bounds of a history request, as on the hub.
const (
	maxPoints   = 5000
	minEvery    = time.Second
	historySpan = 24 * time.Hour // when from is not given
)

// History is the answer of GET /v1/sites/{site}/spaces/{id}/history.
type History struct {
	Space  string           `json:"space"`
	From   time.Time        `json:"from"`
	To     time.Time        `json:"to"`
	Every  string           `json:"every,omitempty"` // without it the points are the changes themselves
	Points []edge.Occupancy `json:"points"`          // oldest first; each holds until the next one
	Next   *time.Time       `json:"next,omitempty"`  // there is more: ask again with this as from
}

func (t *Twin) history(r *http.Request, s store.Site) (any, error) {
	out := History{Space: r.PathValue("id"), Every: r.URL.Query().Get("every")}
	var err error
	if out.From, out.To, err = t.span(r); err != nil {
		return nil, err
	}
	if out.Every != "" {
		out.Points, err = t.sample(r, s, out)
	} else {
		out.Points, err = t.points(r, s, out.Space, out.From, out.To, maxPoints+1)
	}
	if err == nil && len(out.Points) == 0 {
		_, err = t.space(r, s) // a space that has no past and no present is none; one that was removed still has a past
	}
	if len(out.Points) > maxPoints {
		out.Next = &out.Points[maxPoints].AsOf
		out.Points = out.Points[:maxPoints]
	}
	return out, err
}

// points reads the step function, of two at the same time the later one.
func (t *Twin) points(r *http.Request, s store.Site, space string, from, to time.Time, limit int) ([]edge.Occupancy, error) {
	rows, err := t.db.OccupancyEvents(r.Context(), s.ID, space, from, to.Add(time.Millisecond), limit)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	points := make([]edge.Occupancy, 0, len(rows))
	for _, row := range rows {
		rec, err := edge.ParseRecord(row.Body)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", row.ID, err)
		}
		var o edge.Occupancy
		if err := json.Unmarshal(rec.Data, &o); err != nil {
			return nil, fmt.Errorf("event %d: %w", row.ID, err)
		}
		if n := len(points); n > 0 && points[n-1].AsOf.Equal(o.AsOf) {
			points[n-1] = o
			continue
		}
		points = append(points, o)
	}
	return points, nil
}

// sample turns the step function into one point per step: what held at that time, unknown where
// nothing did.
func (t *Twin) sample(r *http.Request, s store.Site, h History) ([]edge.Occupancy, error) {
	step, err := time.ParseDuration(h.Every)
	if err != nil || step < minEvery {
		return nil, problem(http.StatusBadRequest, "every %q: want a duration of at least 1s, such as 5m", h.Every)
	}
	if n := int64(h.To.Sub(h.From)/step) + 1; n > maxPoints {
		return nil, problem(http.StatusBadRequest, "every %q makes %d points, at most %d are possible; ask for a shorter time or larger steps", h.Every, n, maxPoints)
	}
	out := []edge.Occupancy{}
	held := edge.Occupancy{Space: h.Space, State: edge.Unknown, Quality: edge.QualityNone}
	at := h.From
	emit := func(until time.Time) { // every step before until
		for ; at.Before(until); at = at.Add(step) {
			p := held
			p.AsOf = at
			out = append(out, p)
		}
	}
	for from := h.From; ; {
		points, err := t.points(r, s, h.Space, from, h.To, maxPoints)
		if err != nil {
			return nil, err
		}
		for _, p := range points {
			emit(p.AsOf)
			held = p
		}
		if len(points) < maxPoints {
			break
		}
		from = held.AsOf.Add(time.Millisecond) // the held one comes again, which does no harm
	}
	emit(h.To.Add(1))
	return out, nil
}

// span reads ?from= and ?to=.
func (t *Twin) span(r *http.Request) (from, to time.Time, err error) {
	to = edge.Millis(t.now())
	if to, err = timeParam(r, "to", to); err != nil {
		return from, to, err
	}
	if from, err = timeParam(r, "from", to.Add(-historySpan)); err != nil {
		return from, to, err
	}
	if from.After(to) {
		return from, to, problem(http.StatusBadRequest, "from %s is after to %s", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	return from, to, nil
}

// timeParam reads an RFC 3339 time.
func timeParam(r *http.Request, name string, byDefault time.Time) (time.Time, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return byDefault, nil
	}
	v, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return v, problem(http.StatusBadRequest, "%s %q: want a time such as 2026-03-02T08:00:00Z", name, s)
	}
	return edge.Millis(v), nil
}

// Event is one element of GET /v1/sites/{site}/events.
type Event struct {
	ID       string          `json:"id"` // the cursor
	Type     string          `json:"type"`
	Subject  string          `json:"subject,omitempty"`
	At       time.Time       `json:"at"`
	Site     string          `json:"site"`
	Backfill bool            `json:"backfill,omitempty"` // arrived after a newer state was shown
	Record   string          `json:"record"`             // epoch-lane-seq, as on the hub
	Data     json.RawMessage `json:"data,omitempty"`
}

// events answers what happened after a cursor; ?type= narrows it, as on streams.
func (t *Twin) events(r *route.Request, s store.Site) (any, error) {
	limit, err := intParam(r.Request, "limit", 100, 1000)
	if err != nil {
		return nil, err
	}
	var after int64
	if a := r.URL.Query().Get("after"); a != "" {
		if after, err = strconv.ParseInt(a, 10, 64); err != nil || after < 0 {
			return nil, problem(http.StatusBadRequest, "after %q: want the next of an earlier answer", a)
		}
	}
	rows, err := t.db.EventsAfter(r.Context(), after, s.ID, limit)
	if err != nil {
		return nil, err
	}
	out := make([]Event, 0, len(rows))
	for _, row := range rows {
		after = row.ID
		if row.Input || row.Type == string(StateEvent) || !wanted(r.URL.Query()["type"], row.Type) || !r.Who.MaySee(row.Audience, Domains(s)) {
			continue
		}
		rec, err := edge.ParseRecord(row.Body)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", row.ID, err)
		}
		out = append(out, Event{
			ID: strconv.FormatInt(row.ID, 10), Type: row.Type, Subject: row.Subject, At: row.At, Site: s.Site, Backfill: row.Backfill,
			Record: rec.ID(), Data: rec.Data,
		})
	}
	return map[string]any{"events": out, "next": strconv.FormatInt(after, 10)}, nil
}

// wanted tells whether an event of this type was asked for: by its name, or by a prefix and "*".
func wanted(types []string, typ string) bool {
	asked := false
	for _, list := range types {
		for t := range strings.SplitSeq(list, ",") {
			if t = strings.TrimSpace(t); t == "" {
				continue
			}
			asked = true
			if prefix, ok := strings.CutSuffix(t, "*"); t == typ || ok && strings.HasPrefix(typ, prefix) {
				return true
			}
		}
	}
	return !asked
}

// readings answers the newest readings, newest record first.
func (t *Twin) readings(r *http.Request, s store.Site) (any, error) {
	limit, err := intParam(r, "limit", 100, 5000)
	if err != nil {
		return nil, err
	}
	sensor := r.URL.Query().Get("sensor")
	records, err := t.db.ReadingRecords(r.Context(), s.ID, sensor, limit)
	if err != nil {
		return nil, err
	}
	out := []edge.Reading{}
	for _, row := range records {
		rec, err := edge.ParseRecord(row.Body)
		if err != nil {
			return nil, fmt.Errorf("readings record %d: %w", row.Position.Seq, err)
		}
		var rs []edge.Reading
		if rec.Type == "readings" {
			if err := json.Unmarshal(rec.Data, &rs); err != nil {
				return nil, fmt.Errorf("readings record %d: %w", row.Position.Seq, err)
			}
		}
		for i := len(rs) - 1; i >= 0 && len(out) < limit; i-- {
			if sensor == "" || rs[i].Sensor == sensor {
				out = append(out, rs[i])
			}
		}
	}
	return map[string]any{"readings": out}, nil
}

// acknowledge is Acknowledge with the note of a request's body.
func (t *Twin) acknowledge(r *http.Request, s store.Site, by string) (any, error) {
	var body struct {
		Note string `json:"note"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil && !errors.Is(err, io.EOF) {
		return nil, problem(http.StatusBadRequest, `the body is no JSON object such as {"note": "on my way"}: %v`, err)
	}
	if len(body.Note) > 500 {
		return nil, problem(http.StatusBadRequest, "the note has %d bytes, at most 500 are possible", len(body.Note))
	}
	return t.Acknowledge(r.Context(), s, r.PathValue("id"), by, body.Note)
}

// Acknowledge notes that somebody takes care of an alert. The first one stays; the hub keeps its
// own. Errors are problems of the API: 404 there is no such alert, 409 it was cleared.
func (t *Twin) Acknowledge(ctx context.Context, s store.Site, alert, by, note string) (edge.Alert, error) {
	var out edge.Alert
	err := t.db.Update(ctx, func(tx *store.Tx) error {
		a, err := tx.Alert(s.ID, alert)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return problem(http.StatusNotFound, "there is no alert %q on site %s", alert, s.Site)
		case err != nil:
			return err
		case a.Alert.State == edge.StateCleared:
			return problem(http.StatusConflict, "the alert was cleared at %s", a.Alert.ClearedAt.Format(time.RFC3339))
		case !a.AckAt.IsZero() || !a.Alert.AcknowledgedAt.IsZero():
			out = merged(a)
			return nil
		}
		a.AckAt, a.AckBy = edge.Millis(t.now()), by
		if err := tx.Acknowledge(s.ID, a.Alert.ID, by, note, a.AckAt); err != nil {
			return err
		}
		if t.hooks.Acknowledged != nil && !a.Cloud {
			if err := t.hooks.Acknowledged(tx, s, a.Alert.ID, note, whoever(ctx, by)); err != nil {
				return err
			}
		}
		out = merged(a)
		data, err := json.Marshal(out)
		if err != nil {
			return err
		}
		_, err = tx.AddCloudEvent(s, edge.Event{Type: edge.AlertAcknowledged, Subject: out.ID, At: a.AckAt, Data: data})
		return err
	})
	return out, err
}

// whoever is the caller of a context, or somebody known by name only: who answered a message was
// asked because it may.
func whoever(ctx context.Context, by string) *token.Identity {
	if id := token.From(ctx); id != nil {
		return id
	}
	return &token.Identity{Kind: token.User, Subject: by, Name: by, Everywhere: token.Operator}
}
