// Package socket feeds the live streams of many sites: it is the cloud's live.Source over the
// event table.
//
// The resume id is the cursor of that table, so a client that comes back, to whichever process
// and after whatever restart, gets every event once and in order. An id that is too old or
// unknown begins anew with the present state, never with silence. History that arrives after a
// newer state was shown is sent as type "backfill", so that no page takes it for news; inputs of
// the hub's engine are left out.
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
	// States returns the state of each of these sites, of all when the list is empty; sites
	// that are not known are left out.
	States(ctx context.Context, sites []string) ([]live.State, error)
}

// Source is a live.Source. Its methods may be called from many goroutines.
type Source struct {
	db     *store.DB
	states States
	whole  string // type of the event that stands for "the whole state changed"
}

// New makes a source over the event table. Events of type whole are sent as snapshots.
func New(db *store.DB, states States, whole edge.EventType) *Source {
	return &Source{db: db, states: states, whole: string(whole)}
}

// page is how many events one After looks at.
const page = 256

// BackfillType is the type under which history is sent that arrived after a newer state was
// shown; its Entry has the event's own type.
const BackfillType = "backfill"

// Entry is the Data of an event: the hub's, with the site and what the cloud adds.
type Entry struct {
	live.Entry
	Org      string `json:"org"`
	Backfill bool   `json:"backfill,omitempty"` // arrived after a newer state was shown: history, not news
}

// Changed is closed when there are newer events.
func (s *Source) Changed() <-chan struct{} { return s.db.Changed() }

// After returns the events that follow id.
func (s *Source) After(ctx context.Context, id string, f live.Filter, limit int) (live.Page, error) {
	after, err := strconv.ParseInt(id, 10, 64)
	if err != nil || after < 0 {
		return live.Page{Reset: true}, nil
	}
	if gone, err := s.gone(ctx, after); err != nil || gone {
		return live.Page{Reset: gone}, err
	}
	site, err := s.only(ctx, f)
	if err != nil {
		return live.Page{}, err
	}
	rows, err := s.db.EventsAfter(ctx, after, site, max(limit, page))
	if err != nil {
		return live.Page{}, fmt.Errorf("read events: %w", err)
	}
	var out live.Page
	for i, row := range rows {
		if len(out.Events) == limit {
			out.More = true
			return out, nil
		}
		out.Next = strconv.FormatInt(row.ID, 10)
		out.More = i == len(rows)-1 && len(rows) == max(limit, page)
		e, ok, err := s.event(ctx, row, f)
		if err != nil {
			return live.Page{}, err
		}
		if ok {
			out.Events = append(out.Events, e)
		}
	}
	return out, nil
}

// only returns the site when the filter wants exactly one, so that its client does not look at
// everybody's events; 0 means look at all.
func (s *Source) only(ctx context.Context, f live.Filter) (int64, error) {
	if len(f.Sites) != 1 {
		return 0, nil
	}
	found, err := s.db.FindSites(ctx, "", f.Sites[0])
	if err != nil || len(found) != 1 {
		return 0, err
	}
	return found[0].ID, nil
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

// may tells whether the caller may see a row: by its role in the organisation, and by the row's
// audience.
func may(f live.Filter, row store.Event) bool {
	id, ok := f.Scope.(*token.Identity)
	if !ok || id == nil || id.Role(row.Org) < token.Viewer {
		return false
	}
	return row.Audience == "" || row.Audience == "user:"+id.Subject
}

// event makes the live event of a row; ok is false when the filter does not want it.
func (s *Source) event(ctx context.Context, row store.Event, f live.Filter) (e live.Event, ok bool, err error) {
	id := strconv.FormatInt(row.ID, 10)
	if row.Input || !f.WantsSite(row.SiteName) || !may(f, row) {
		return e, false, nil
	}
	if row.Type == s.whole {
		if !f.WantsType(live.SnapshotType) {
			return e, false, nil
		}
		data, err := s.state(ctx, []string{row.SiteName}, f)
		return live.Event{ID: id, Type: live.SnapshotType, Data: data}, err == nil, err
	}
	if !f.Wants(row.Type, row.Subject) {
		return e, false, nil
	}
	rec, err := edge.ParseRecord(row.Body)
	if err != nil {
		return e, false, fmt.Errorf("event %d: %w", row.ID, err)
	}
	entry := Entry{
		Entry: live.Entry{ID: id, Site: row.SiteName, Type: row.Type, Subject: row.Subject, At: row.At, Data: rec.Data},
		Org:   row.Org, Backfill: row.Backfill,
	}
	data, err := json.Marshal(entry)
	typ := row.Type
	if row.Backfill {
		typ = BackfillType
	}
	return live.Event{ID: id, Type: typ, Data: data}, err == nil, err
}

// Snapshot returns the present state of what the filter wants and the id to go on from. The id
// is read first: what happens meanwhile is sent again, never skipped.
func (s *Source) Snapshot(ctx context.Context, f live.Filter) ([]byte, string, error) {
	newest, err := s.db.NewestEvent(ctx)
	if err != nil {
		return nil, "", err
	}
	data, err := s.state(ctx, f.Sites, f)
	return data, strconv.FormatInt(newest, 10), err
}

// Sites is the Data of a snapshot of several sites; that of one site is its live.State.
type Sites struct {
	Sites []live.State `json:"sites"`
}

func (s *Source) state(ctx context.Context, sites []string, f live.Filter) ([]byte, error) {
	states, err := s.states.States(ctx, sites)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	for i := range states {
		spaces := []edge.SpaceView{}
		for _, v := range states[i].Spaces {
			if f.WantsSpace(v.ID) {
				spaces = append(spaces, v)
			}
		}
		states[i].Spaces = spaces
	}
	if len(sites) == 1 && len(states) == 1 {
		return json.Marshal(states[0])
	}
	if states == nil {
		states = []live.State{}
	}
	return json.Marshal(Sites{Sites: states})
}
