package socket

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/sync/token"
)

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// states answers with a state that says which sites were asked for.
type states struct{}

// anybody may see everything.
var anybody = &token.Identity{Kind: token.Local, Everywhere: token.Viewer}

func (states) States(_ context.Context, sites []string) ([]live.State, error) {
	if len(sites) == 0 {
		sites = []string{"a", "b"}
	}
	var out []live.State
	for _, s := range sites {
		out = append(out, live.State{Site: s, Spaces: []edge.SpaceView{{Space: edge.Space{ID: "room"}}, {Space: edge.Space{ID: "hall"}}}})
	}
	return out, nil
}

func open(t *testing.T) (*store.DB, *Source) {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "cloud.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, New(db, states{}, "site.state")
}

// add stores events of a site; e says of each its type and whether it is backfill or input.
func add(t *testing.T, db *store.DB, site string, events ...store.Event) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		s, err := tx.Site("acme", site, start)
		if err != nil {
			return err
		}
		epoch, _, err := tx.Epoch(s.ID, strings.Repeat("a", 32), start)
		if err != nil {
			return err
		}
		for _, e := range events {
			rec := edge.Record{Epoch: strings.Repeat("a", 32), Lane: edge.Events, Seq: e.Position.Seq, Source: site, Type: e.Type, Subject: e.Subject, Time: start,
				Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, e.Position.Seq))}
			e.Site, e.Position.Epoch, e.Time, e.At, e.Body = s.ID, epoch, start, start, rec.AppendJSON(nil)
			if err := tx.AddEvents([]store.Event{e}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func event(seq uint64, typ string) store.Event {
	return store.Event{Position: store.Position{Seq: seq}, Type: typ, Subject: "room"}
}

// walk follows from id in pages of limit and lists type@site-n.
func walk(t *testing.T, s *Source, id string, f live.Filter, limit int) (seen []string, last string) {
	t.Helper()
	for range 1000 {
		page, err := s.After(t.Context(), id, f, limit)
		if err != nil || page.Reset {
			t.Fatalf("after %s: reset %v, %v", id, page.Reset, err)
		}
		if len(page.Events) > limit {
			t.Fatalf("%d events, at most %d were asked for", len(page.Events), limit)
		}
		for _, e := range page.Events {
			var entry Entry
			if err := json.Unmarshal(e.Data, &entry); err != nil {
				t.Fatal(err)
			}
			var data struct{ N int }
			_ = json.Unmarshal(entry.Data, &data) // a snapshot has none
			seen = append(seen, fmt.Sprintf("%s@%s-%d", e.Type, entry.Site, data.N))
		}
		if page.Next != "" {
			id = page.Next
		}
		if !page.More {
			return seen, id
		}
	}
	t.Fatal("paging does not end")
	return nil, ""
}

func TestEveryEventOnceInOrderWhateverThePage(t *testing.T) {
	db, s := open(t)
	var want []string
	for i := uint64(1); i <= 600; i += 20 { // more than one page of the source
		site := "a"
		if i/20%3 == 2 {
			site = "b"
		}
		var run []store.Event
		for n := i; n < i+20; n++ {
			run = append(run, event(n, "sensor.status"))
			want = append(want, fmt.Sprintf("sensor.status@%s-%d", site, n))
		}
		add(t, db, site, run...)
	}
	for _, limit := range []int{1, 7, 64, 300} {
		got, _ := walk(t, s, "0", live.Filter{Scope: anybody}, limit)
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("limit %d: got %d events, want %d in order", limit, len(got), len(want))
		}
	}
	got, last := walk(t, s, "0", live.Filter{Scope: anybody, Sites: []string{"b"}}, 10)
	if len(got) != 200 || got[0] != "sensor.status@b-41" {
		t.Errorf("site b: %d events from %s", len(got), got[0])
	}
	if more, _ := walk(t, s, last, live.Filter{Scope: anybody, Sites: []string{"b"}}, 10); len(more) != 0 {
		t.Errorf("after the last: %v", more)
	}
	if got, _ := walk(t, s, "0", live.Filter{Scope: anybody, Types: []string{"alert.*"}}, 10); len(got) != 0 {
		t.Errorf("the filter let %v pass", got)
	}
}

func TestHistoryIsNoNewsAndInputsAreLeftOut(t *testing.T) {
	db, s := open(t)
	old, input := event(1, "occupancy.changed"), event(2, "input.boot")
	old.Backfill, input.Input = true, true
	add(t, db, "a", old, input, event(3, "occupancy.changed"), event(4, "site.state"))
	got, _ := walk(t, s, "0", live.Filter{Scope: anybody}, 10)
	if want := "backfill@a-1 occupancy.changed@a-3 snapshot@a-0"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	got, _ = walk(t, s, "0", live.Filter{Scope: anybody, Types: []string{"alert.*"}}, 10)
	if len(got) != 0 {
		t.Errorf("who wants alerts only gets %v", got)
	}
}

func TestIdThatCannotBeResumedBeginsAnew(t *testing.T) {
	db, s := open(t)
	add(t, db, "a", event(1, "x"), event(2, "x"))
	for _, id := range []string{"3", "99999999", "-1", "x", "aaaa-events-1"} {
		page, err := s.After(t.Context(), id, live.Filter{Scope: anybody}, 10)
		if err != nil || !page.Reset {
			t.Errorf("id %q: reset %v, %v; want a new beginning", id, page.Reset, err)
		}
	}
}

func TestSnapshotOfOneSiteAndOfAll(t *testing.T) {
	db, s := open(t)
	add(t, db, "a", event(1, "x"))
	data, id, err := s.Snapshot(t.Context(), live.Filter{Scope: anybody, Sites: []string{"a"}, Spaces: []string{"hall"}})
	if err != nil || id != "1" {
		t.Fatalf("id %s, %v", id, err)
	}
	var one live.State
	if err := json.Unmarshal(data, &one); err != nil || one.Site != "a" || len(one.Spaces) != 1 || one.Spaces[0].ID != "hall" {
		t.Errorf("snapshot of a is %s", data)
	}
	data, _, err = s.Snapshot(t.Context(), live.Filter{Scope: anybody})
	if err != nil {
		t.Fatal(err)
	}
	var all Sites
	if err := json.Unmarshal(data, &all); err != nil || len(all.Sites) != 2 {
		t.Errorf("snapshot of all is %s", data)
	}
}
