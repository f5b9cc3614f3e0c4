package analytics

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/usage"
)

// cursor names the module among the followers of the event table.
const cursor = "analytics"

const pageEvents = 4000

// Project takes one page of new events and tells whether there may be more.
func (m *Module) Project(ctx context.Context) (more bool, err error) {
	at, err := m.db.Cursor(ctx, cursor)
	if err != nil {
		return false, err
	}
	events, err := m.db.EventsAfter(ctx, int64(at.Position), 0, pageEvents)
	if err != nil || len(events) == 0 {
		return false, err
	}
	err = m.db.Update(ctx, func(tx *store.Tx) error {
		now, err := tx.Cursor(cursor)
		if err != nil || now.Position != at.Position { // another process was faster
			return err
		}
		p := pass{m: m, ctx: ctx, tx: tx, sites: map[int64]*siteWork{}}
		for i := range events {
			if err := p.take(&events[i]); err != nil {
				return fmt.Errorf("event %d: %w", events[i].ID, err)
			}
		}
		if err := p.write(); err != nil {
			return err
		}
		return tx.PutCursor(cursor, store.Cursor{Position: uint64(events[len(events)-1].ID)})
	})
	return err == nil && len(events) == pageEvents, err
}

// pass is the work of one transaction.
type pass struct {
	m     *Module
	ctx   context.Context
	tx    *store.Tx
	sites map[int64]*siteWork
}

// siteWork is what a page says about one site.
type siteWork struct {
	store.Site
	model  *edge.Site
	loc    *time.Location
	steps  map[string][]usage.Step // by space
	dirty  map[string]span         // by space: to be folded from the events anew
	counts map[countKey]count
}

// span is [from, to) in milliseconds.
type span struct{ from, to int64 }

func (s span) join(t span) span {
	if s.to == 0 {
		return t
	}
	return span{min(s.from, t.from), max(s.to, t.to)}
}

// take sorts one event in.
func (p *pass) take(e *store.Event) error {
	if e.Input || e.SiteName == store.OrgSite || e.Org == "" || e.Audience != "" {
		return nil
	}
	w, err := p.site(e)
	if err != nil || w == nil {
		return err
	}
	switch edge.EventType(e.Type) {
	case edge.OccupancyChanged:
		if s, _, ok := stepOf(e); ok {
			w.steps[e.Subject] = append(w.steps[e.Subject], s)
		}
	case edge.OccupancyRevised:
		if err := p.revised(w, e); err != nil {
			return err
		}
	}
	return p.tally(w, e)
}

// site is the work on an event's site; nil when the site was deleted since.
func (p *pass) site(e *store.Event) (*siteWork, error) {
	if w, ok := p.sites[e.Site]; ok {
		return w, nil
	}
	var there int
	if err := p.tx.QueryRow(`SELECT count(*) FROM sites WHERE id = ? AND org = ? AND site = ?`, e.Site, e.Org, e.SiteName).Scan(&there); err != nil {
		return nil, err
	}
	if there == 0 {
		p.sites[e.Site] = nil
		return nil, nil
	}
	s, err := p.tx.Site(e.Org, e.SiteName, p.m.now())
	if err != nil {
		return nil, err
	}
	model := p.m.model(s)
	w := &siteWork{Site: s, model: model, loc: model.Location(), steps: map[string][]usage.Step{}, dirty: map[string]span{}, counts: map[countKey]count{}}
	p.sites[e.Site] = w
	return w, p.regrid(w)
}

// stepOf reads an occupancy out of a record's body; what cannot be read says nothing.
func stepOf(e *store.Event) (s usage.Step, revision int, ok bool) {
	var body struct {
		Data edge.Occupancy `json:"data"`
	}
	if json.Unmarshal(e.Body, &body) != nil || e.At.IsZero() {
		return s, 0, false
	}
	return usage.StepOf(body.Data, e.At), body.Data.Revision, true
}

// dataOf reads the data of a record.
func dataOf(e *store.Event, into any) bool {
	body := struct {
		Data any `json:"data"`
	}{into}
	return json.Unmarshal(e.Body, &body) == nil
}

// maxRevised bounds how much of the past one event may have folded anew.
const maxRevised = 400 * 24 * time.Hour

// revised notes that a stretch of a space's past was revised.
func (p *pass) revised(w *siteWork, e *store.Event) error {
	var r struct {
		Space    string    `json:"space"`
		From     time.Time `json:"from"`
		To       time.Time `json:"to"`
		Revision int       `json:"revision"`
	}
	if !dataOf(e, &r) || r.Space == "" || !r.To.After(r.From) || r.To.Sub(r.From) > maxRevised {
		return nil
	}
	at := span{store.Millis(r.From), store.Millis(r.To)}
	w.dirty[r.Space] = w.dirty[r.Space].join(span{at.from, at.to + int64(usage.Stale/time.Millisecond)}) // so long what goes may have held
	const upsert = `INSERT INTO analytics_revisions (site, space, begins, ends, revision) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (site, space, begins, ends) DO UPDATE SET revision = excluded.revision`
	return p.tx.Exec(upsert, w.ID, r.Space, at.from, at.to, r.Revision)
}

func (p *pass) write() error {
	for _, w := range p.sites {
		if w == nil {
			continue
		}
		for space, steps := range w.steps {
			if err := p.fold(w, space, steps); err != nil {
				return fmt.Errorf("fold %s of %s: %w", space, w.Site.Site, err)
			}
		}
		for space, at := range w.dirty {
			if err := p.refold(w, space, at); err != nil {
				return fmt.Errorf("fold %s of %s anew: %w", space, w.Site.Site, err)
			}
		}
		if err := p.writeCounts(w); err != nil {
			return err
		}
	}
	return nil
}

// modelAt is a decoded model and the snapshot it came with.
type modelAt struct {
	snapshot store.Position
	at       time.Time
	model    *edge.Site
}

// model is the site's model; an empty one when its hub never told one.
func (m *Module) model(s store.Site) *edge.Site {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have, ok := m.models[s.ID]; ok && have.snapshot == s.Snapshot && have.at.Equal(s.SnapshotAt) {
		return have.model
	}
	model := &edge.Site{ID: s.Site}
	if len(s.Model) > 0 && json.Unmarshal(s.Model, model) != nil {
		model = &edge.Site{ID: s.Site} // the twin reports it
	}
	m.models[s.ID] = modelAt{s.Snapshot, s.SnapshotAt, model}
	return model
}
