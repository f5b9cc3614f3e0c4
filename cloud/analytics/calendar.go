package analytics

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

// Settings are what the analytics of a site go by besides its model.
type Settings struct {
	Holidays []Holiday `json:"holidays"`        // whole days, in the site's zone, on which everything is closed
	Hours    string    `json:"hours,omitempty"` // opening hours of the spaces for which the hub's configuration has none
}

// Holiday is a day on which a site is closed.
type Holiday struct {
	Date string `json:"date"` // such as 2026-12-25
	Name string `json:"name,omitempty"`
}

const maxHolidays = 500

func (s *Settings) check() error {
	if len(s.Holidays) > maxHolidays {
		return route.Problem(http.StatusUnprocessableEntity, "holidays: %d days, at most %d are possible", len(s.Holidays), maxHolidays)
	}
	for i, h := range s.Holidays {
		if _, err := time.Parse(time.DateOnly, h.Date); err != nil {
			return route.Problem(http.StatusUnprocessableEntity, "holidays[%d].date: %q is no date; write for example 2026-12-25", i, h.Date)
		}
		if len(h.Name) > 100 {
			return route.Problem(http.StatusUnprocessableEntity, "holidays[%d].name: longer than 100 bytes", i)
		}
	}
	if _, err := edge.ParseHours(s.Hours, nil); err != nil {
		return route.Problem(http.StatusUnprocessableEntity, "hours: %v", err)
	}
	return nil
}

func (m *Module) settings(ctx context.Context, site int64) (Settings, error) {
	s := Settings{Holidays: []Holiday{}}
	var doc string
	err := m.db.QueryRow(ctx, `SELECT doc FROM analytics_settings WHERE site = ?`, site).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(doc), &s)
}

func (m *Module) getSettings(r *route.Request) (any, error) {
	s, err := m.settings(r.Context(), r.Found.(store.Site).ID)
	if err != nil {
		return nil, err
	}
	return route.WithETag(s), nil
}

func (m *Module) putSettings(r *route.Request) (any, error) {
	s := Settings{Holidays: []Holiday{}}
	if err := r.Decode(&s); err != nil {
		return nil, err
	}
	if s.Holidays == nil {
		s.Holidays = []Holiday{}
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	doc, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	const upsert = `INSERT INTO analytics_settings (site, doc) VALUES (?, ?) ON CONFLICT (site) DO UPDATE SET doc = excluded.doc`
	err = m.db.Update(r.Context(), func(tx *store.Tx) error { return tx.Exec(upsert, r.Found.(store.Site).ID, string(doc)) })
	if err != nil {
		return nil, err
	}
	return route.WithETag(s), nil
}

// calendar knows when a site's spaces are open.
type calendar struct {
	loc      *time.Location
	settings Settings
	closed   map[string]bool   // by date
	opening  map[string][]span // by hours, of the span that was asked for
	span     span
}

func (m *Module) calendar(ctx context.Context, s store.Site, at span) (*calendar, error) {
	settings, err := m.settings(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	c := &calendar{loc: m.model(s).Location(), settings: settings, closed: map[string]bool{}, opening: map[string][]span{}, span: at}
	for _, h := range settings.Holidays {
		c.closed[h.Date] = true
	}
	return c, nil
}

// holiday tells whether an instant lies on one.
func (c *calendar) holiday(at int64) bool {
	return c.closed[time.UnixMilli(at).In(c.loc).Format(time.DateOnly)]
}

// open lists when a space is open within the calendar's span; ok is false when no hours are set.
func (c *calendar) open(sp edge.Space) (spans []span, ok bool) {
	text := sp.Hours
	if text == "" {
		text = c.settings.Hours
	}
	h, err := edge.ParseHours(text, c.loc)
	if err != nil || h.Always() {
		return nil, false
	}
	if have, ok := c.opening[text]; ok {
		return have, true
	}
	for at, end := time.UnixMilli(c.span.from), time.UnixMilli(c.span.to); at.Before(end); {
		next := h.Next(at)
		if next.IsZero() || next.After(end) {
			next = end
		}
		if h.Open(at) {
			spans = c.without(spans, span{at.UnixMilli(), next.UnixMilli()})
		}
		at = next
	}
	c.opening[text] = spans
	return spans, true
}

// without appends what of a stretch lies on no holiday.
func (c *calendar) without(out []span, s span) []span {
	for s.from < s.to {
		y, m, d := time.UnixMilli(s.from).In(c.loc).Date()
		midnight := min(s.to, time.Date(y, m, d+1, 0, 0, 0, 0, c.loc).UnixMilli())
		switch n := len(out); {
		case c.holiday(s.from):
		case n > 0 && out[n-1].to == s.from:
			out[n-1].to = midnight
		default:
			out = append(out, span{s.from, midnight})
		}
		s.from = midnight
	}
	return out
}
