// Package socket feeds the live streams of many sites: it is the cloud's live.Source over the
// event table.
//
// The resume id is the cursor of that table, so a client that comes back, to whichever process
// and after whatever restart, gets every event once and in order. An id that is too old or
// unknown begins anew with the present state, never with silence. History that arrives after a
// newer state was shown is sent as type "backfill", so that no page takes it for news; inputs of
// the hub's engine are left out.
//
// The Scope of a filter is the caller's *token.Identity: events and states are those of sites in
// whose domains it has a role, and what is addressed to a person reaches that person only. A filter
// without one gets nothing.
package socket

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/sync/token"
)

// States tells the present state of sites.
type States interface {
	// States returns the state of each of these sites.
	States(ctx context.Context, sites []store.Site) ([]live.State, error)
}

// Source is a live.Source. Its methods may be called from many goroutines.
type Source struct {
	db      *store.DB
	states  States
	whole   string // type of the event that stands for "the whole state changed"
	tail    tail
	places  *store.Places
	domains func(store.Site) []string
}

// New makes a source over the event table. Events of type whole are sent as snapshots. domains
// lists whom a site belongs to.
func New(db *store.DB, states States, whole edge.EventType, domains func(store.Site) []string) *Source {
	s := &Source{db: db, states: states, whole: string(whole), places: store.NewPlaces(db, domains), domains: domains}
	s.tail.source, s.tail.most = s, maxTail
	return s
}

// page is how many events one After looks at.
const page = 256

// BackfillType is the type under which history is sent that arrived after a newer state was
// shown; its Entry has the event's own type.
const BackfillType = "backfill"

// Changed is closed when there are newer events.
func (s *Source) Changed() <-chan struct{} { return s.db.Changed() }

// After returns the events that follow id.
func (s *Source) After(ctx context.Context, id string, f live.Filter, limit int) (live.Page, error) {
	after, err := strconv.ParseInt(id, 10, 64)
	if err != nil || after < 0 {
		return live.Page{Reset: true}, nil
	}
	rows, ok, err := s.tail.after(ctx, after, max(limit, page))
	if err != nil {
		return live.Page{}, err
	}
	if !ok {
		if gone, err := s.gone(ctx, after); err != nil || gone {
			return live.Page{Reset: gone}, err
		}
		if rows, err = s.read(ctx, after, f, max(limit, page)); err != nil {
			return live.Page{}, err
		}
	}
	return s.page(ctx, rows, f, limit)
}

// page takes what the filter wants of rows.
func (s *Source) page(ctx context.Context, rows []row, f live.Filter, limit int) (out live.Page, err error) {
	for i, r := range rows {
		if len(out.Events) == limit {
			out.More = true
			return out, nil
		}
		out.Next = r.event.ID
		out.More = i == len(rows)-1 && len(rows) == max(limit, page)
		e, ok, err := s.event(ctx, r, f)
		if err != nil {
			return live.Page{}, err
		}
		if ok {
			out.Events = append(out.Events, e)
		}
	}
	return out, nil
}

// read reads rows that are older than the tail. With one site wanted, its client does not look at
// everybody's events.
func (s *Source) read(ctx context.Context, after int64, f live.Filter, limit int) ([]row, error) {
	var site int64
	if len(f.Sites) == 1 {
		if found, err := s.db.FindSites(ctx, f.Org, f.Sites[0]); err != nil {
			return nil, err
		} else if len(found) == 1 {
			site = found[0].ID
		}
	}
	stored, err := s.db.EventsAfter(ctx, after, site, limit)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	rows := make([]row, len(stored))
	for i := range stored {
		rows[i] = newRow(stored[i])
	}
	return rows, nil
}

// gone tells whether events after this id may be missing: the table begins later, or it is
// another one (a restored database) that has not come so far.
func (s *Source) gone(ctx context.Context, after int64) (bool, error) {
	newest, err := s.db.NewestEvent(ctx)
	if err != nil || after == newest {
		return false, err
	}
	if after > newest {
		return true, nil
	}
	oldest, err := s.db.OldestEvent(ctx)
	return after < oldest-1, err
}

func caller(f live.Filter) *token.Identity {
	who, _ := f.Scope.(*token.Identity)
	return who
}

// event makes the live event of a row; ok is false when the filter does not want it.
func (s *Source) event(ctx context.Context, r row, f live.Filter) (e live.Event, ok bool, err error) {
	stored := r.stored
	if stored.Input || !f.WantsSite(stored.SiteName) || f.Org != "" && f.Org != stored.Org || r.wrong != nil {
		return e, false, r.wrong
	}
	domains, err := s.places.Of(ctx, stored)
	if err != nil || !caller(f).MaySee(stored.Audience, domains) {
		return e, false, err
	}
	if stored.Type == s.whole {
		if !f.WantsType(live.SnapshotType) {
			return e, false, nil
		}
		f.Sites, f.Org = []string{stored.SiteName}, stored.Org
		data, err := s.state(ctx, f)
		return live.Event{ID: r.event.ID, Type: live.SnapshotType, Data: data}, err == nil, err
	}
	if !f.Wants(stored.Type, stored.Subject) {
		return e, false, nil
	}
	e = r.event
	e.Domains, e.Addressed = domains, stored.Audience != ""
	return e, true, nil
}

// Snapshot returns the present state of what the filter wants and the id to go on from. The id
// is read first: what happens meanwhile is sent again, never skipped.
func (s *Source) Snapshot(ctx context.Context, f live.Filter) ([]byte, string, error) {
	newest, err := s.db.NewestEvent(ctx)
	if err != nil {
		return nil, "", err
	}
	data, err := s.state(ctx, f)
	return data, strconv.FormatInt(newest, 10), err
}

// Sites is the Data of a snapshot of several sites; that of one site is its live.State.
type Sites struct {
	Sites []live.State `json:"sites"`
}

func (s *Source) state(ctx context.Context, f live.Filter) ([]byte, error) {
	sites, err := s.Sites(ctx, f)
	if err != nil {
		return nil, err
	}
	states, err := s.states.States(ctx, sites)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	for i := range states {
		states[i].Org = sites[i].Org
		spaces := []edge.SpaceView{}
		for _, v := range states[i].Spaces {
			if f.WantsSpace(v.ID) {
				spaces = append(spaces, v)
			}
		}
		states[i].Spaces = spaces
	}
	if len(f.Sites) == 1 && len(states) == 1 {
		return json.Marshal(states[0])
	}
	if states == nil {
		states = []live.State{}
	}
	return json.Marshal(Sites{Sites: states})
}

// Sites lists the sites of the filter that its caller may see.
func (s *Source) Sites(ctx context.Context, f live.Filter) ([]store.Site, error) {
	all, err := s.db.Sites(ctx)
	if err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	var out []store.Site
	for _, site := range all {
		if f.WantsSite(site.Site) && (f.Org == "" || f.Org == site.Org) && caller(f).MaySee("", s.domains(site)) {
			out = append(out, site)
		}
	}
	return out, nil
}
