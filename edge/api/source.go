package api

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/live"
)

// Source is the live.Source of a hub: its snapshot and the output records of the events lane.
// Resume ids are record ids; one of another epoch begins anew.
type Source struct {
	site    Site
	history History
	domains func() []string // whom the hub belongs to; nil = nobody knows
}

// NewSource makes the live source of a site.
func NewSource(site Site, history History) *Source { return &Source{site: site, history: history} }

// Changed is closed when there is a newer snapshot.
func (s *Source) Changed() <-chan struct{} { return s.site.Changed() }

// pageRecords is how many records one After looks at: as those that are inputs or do not pass
// the filter do not count against its limit, it needs a bound of its own.
const pageRecords = 512

// After returns the published events that follow id. It does not touch the journal when there
// are none.
func (s *Source) After(ctx context.Context, id string, f live.Filter, limit int) (live.Page, error) {
	snap := s.site.Snapshot()
	after, ok := parseCursor(id, snap.Epoch)
	if !ok || after > snap.Seq {
		return live.Page{Reset: true}, nil
	}
	if after == snap.Seq {
		return live.Page{}, nil
	}
	records, err := s.history.Events(ctx, after, pageRecords)
	if errors.Is(err, ErrGone) || len(records) > 0 && records[0].Seq != after+1 {
		return live.Page{Reset: true}, nil
	}
	if err != nil {
		return live.Page{}, err
	}
	var page live.Page
	for i := range records {
		r := &records[i]
		if r.Seq > snap.Seq || len(page.Events) == limit {
			break
		}
		page.Next, page.More = r.ID(), r.Seq < snap.Seq
		if r.Input || !f.Wants(r.Type, r.Subject) {
			continue
		}
		e, err := live.EntryOf(r).Event()
		if err != nil {
			return live.Page{}, err
		}
		e.Entry.Site = snap.Site.ID // not in the data: a client of a hub knows where it is
		if s.domains != nil {
			e.Domains = s.domains()
		}
		page.Events = append(page.Events, e)
	}
	return page, nil
}

// Snapshot returns the site's present state as live.State.
func (s *Source) Snapshot(_ context.Context, f live.Filter) ([]byte, string, error) {
	snap := s.site.Snapshot()
	state := live.State{
		Site: snap.Site.ID, Name: snap.Site.Name, AsOf: snap.At, Spaces: []edge.SpaceView{}, Doors: snap.Site.Doors,
		Alerts: some(snap.Alerts), Sensors: some(snap.Sensors), Devices: some(snap.Devices),
	}
	for _, v := range snap.Views() {
		if f.WantsSpace(v.ID) {
			state.Spaces = append(state.Spaces, v)
		}
	}
	data, err := json.Marshal(state)
	return data, cursor(snap.Epoch, snap.Seq), err
}

// some returns list, or an empty one instead of none: null in JSON is for what is unknown.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func cursor(epoch string, seq uint64) string {
	return (&edge.Record{Epoch: epoch, Lane: edge.Events, Seq: seq}).ID()
}

// parseCursor reads an event's id; ok only when it belongs to this epoch.
func parseCursor(id, epoch string) (seq uint64, ok bool) {
	digits, ok := strings.CutPrefix(id, epoch+"-"+string(edge.Events)+"-")
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil
}
