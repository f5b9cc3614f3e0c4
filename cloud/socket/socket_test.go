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

func (states) States(_ context.Context, sites []store.Site) ([]live.State, error) {
	var out []live.State
	for _, s := range sites {
		out = append(out, live.State{Site: s.Site, Spaces: []edge.SpaceView{{Space: edge.Space{ID: "room"}}, {Space: edge.Space{ID: "hall"}}}})
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
	return db, New(db, states{}, "site.state", func(s store.Site) []string { return s.Domains })
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
			var entry live.Entry
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
	add(t, db, "b", event(2, "x"))
	add(t, db, "a", event(1, "x"))
	data, id, err := s.Snapshot(t.Context(), live.Filter{Scope: anybody, Sites: []string{"a"}, Spaces: []string{"hall"}})
	if err != nil || id != "2" {
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

func as(kind token.Kind, subject string, role token.Role, domains ...string) live.Filter {
	id := &token.Identity{Kind: kind, Subject: subject}
	for _, d := range domains {
		id.Memberships = append(id.Memberships, token.Membership{Domain: d, Role: role})
	}
	return live.Filter{Scope: id}
}

// Two organisations have a site of the same id; one of them also has departments.
func TestEverybodySeesItsOwnOnly(t *testing.T) {
	db, s := open(t)
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for _, org := range []string{"acme", "bolt"} {
			site, err := tx.Site(org, "hq", start)
			if err != nil {
				return err
			}
			for _, audience := range []string{"", "user:anna", "role:operator"} {
				e := edge.Event{Type: edge.EventType("e." + org + "." + audience), At: start, Data: json.RawMessage("{}")}
				if err := tx.AddSiteEvent(site, audience, e); err != nil {
					return err
				}
				e.Type = "org." + e.Type
				if err := tx.AddOrgEvent(org, audience, e); err != nil {
					return err
				}
			}
		}
		return tx.Exec(`UPDATE sites SET domains = 'acme/north' WHERE org = 'acme' AND site = 'hq'`)
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		f      live.Filter
		events string
		sites  int
	}{
		"viewer of acme":        {as(token.User, "otto", token.Viewer, "acme"), "e.acme. org.e.acme.", 1},
		"operator of acme":      {as(token.User, "otto", token.Operator, "acme"), "e.acme. org.e.acme. e.acme.role:operator org.e.acme.role:operator", 1},
		"anna of no domain":     {as(token.User, "anna", token.None), "e.acme.user:anna org.e.acme.user:anna e.bolt.user:anna org.e.bolt.user:anna", 0},
		"a service called anna": {as(token.Service, "anna", token.Viewer, "bolt"), "e.bolt. org.e.bolt.", 1},
		"viewer of the north":   {as(token.User, "nora", token.Viewer, "acme/north"), "e.acme.", 1},
		"viewer of the south":   {as(token.User, "sam", token.Viewer, "acme/south"), "", 0},
		"nobody":                {live.Filter{}, "", 0},
		"both, one wanted":      {live.Filter{Scope: anybody, Org: "bolt"}, "e.bolt. org.e.bolt.", 1},
	} {
		got, _ := walk(t, s, "0", c.f, 10)
		for i := range got {
			got[i], _, _ = strings.Cut(got[i], "@")
		}
		if strings.Join(got, " ") != c.events {
			t.Errorf("%s: events %v, want %s", name, got, c.events)
		}
		data, _, err := s.Snapshot(t.Context(), c.f)
		var all Sites
		if err != nil || json.Unmarshal(data, &all) != nil || len(all.Sites) != c.sites {
			t.Errorf("%s: snapshot %s %v, want %d sites", name, data, err, c.sites)
		}
	}
}

// The tail in memory and the table give the same, whatever lies between.
func TestTailFollowsTheTable(t *testing.T) {
	db, s := open(t)
	f := live.Filter{Scope: anybody}
	_, id := walk(t, s, "0", f, 10)
	s.tail.most = 70 // less than a round
	for i := range uint64(4) {
		var run []store.Event
		for n := range uint64(100) {
			run = append(run, event(i*100+n+1, "x"))
		}
		add(t, db, "a", run...)
		got, next := walk(t, s, id, f, 64)
		if len(got) != 100 || got[0] != fmt.Sprintf("x@a-%d", i*100+1) {
			t.Fatalf("round %d: %d events from %v", i, len(got), got[:1])
		}
		id = next
	}
	if got, _ := walk(t, s, "0", f, 64); len(got) != 400 {
		t.Errorf("from the beginning: %d events, want 400", len(got))
	}
}
