package analytics

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

// week is n random occupancies of a space from begin on.
func week(rng *rand.Rand, begin time.Time, space string, n int) (out []event) {
	t := begin
	for range n {
		t = t.Add(time.Duration(rng.Int64N(int64(30 * time.Minute))).Truncate(time.Millisecond))
		out = append(out, occupied(space, t, rng.IntN(7)-1, 4))
	}
	return out
}

// Whatever the order in which events come, and however they are cut into pages, the hours are
// those of all events in order.
func TestLateEventsGiveTheSameHours(t *testing.T) {
	r := newRig(t)
	r.set("2026-05-01T00:00")
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 9))
		events := append(week(rng, at(t, "2026-03-28T20:00"), "meet", 80), week(rng, at(t, "2026-03-28T21:00"), "lab", 80)...)
		inOrder, late := fmt.Sprint("order-", seed), fmt.Sprint("late-", seed)
		for _, site := range []string{inOrder, late} {
			m := office
			m.ID = site
			r.model(site, m)
		}
		sorted := slices.Clone(events)
		slices.SortStableFunc(sorted, func(a, b event) int { return a.at.Compare(b.at) })
		r.tell(inOrder, sorted...)
		r.project(r.m)
		if seed%2 == 0 { // within some time, as after a reconnection
			for i := range events {
				j := min(len(events)-1, i+rng.IntN(10))
				events[i], events[j] = events[j], events[i]
			}
		} else {
			rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		}
		for chunk := range slices.Chunk(events, 1+rng.IntN(40)) {
			r.tell(late, chunk...)
			if rng.IntN(3) > 0 {
				r.project(r.m)
			}
		}
		r.project(r.m)
		if a, b := r.rows(inOrder), r.rows(late); a != b {
			t.Fatalf("seed %d: in order\n%s\nlate\n%s", seed, a, b)
		}
	}
}

func TestEventsOfOneInstant(t *testing.T) {
	r := newRig(t)
	ten := at(t, "2026-03-25T10:00")
	r.tell("hq", occupied("meet", ten, 0, 4))
	r.project(r.m)
	r.tell("hq", occupied("meet", ten, 3, 4), occupied("meet", ten.Add(10*time.Minute), 0, 4))
	r.project(r.m)
	var s Summary
	r.get("/v1/sites/hq/analytics/summary?space=meet&from=2026-03-25&to=2026-03-26", &s)
	if g := s.group(t, "meet"); g.OccupiedMinutes != 10 || g.Spells != 1 {
		t.Errorf("%+v, want the later word of one instant: 10 min occupied, one spell", g.Figures)
	}
}

func TestRevisedHours(t *testing.T) {
	r := newRig(t)
	ten := at(t, "2026-03-25T10:00")
	r.hold("hq", "meet", ten, ten.Add(2*time.Hour), 3, 4)
	r.project(r.m)
	revised := occupied("meet", ten, 1, 4)
	o := revised.data.(edge.Occupancy)
	o.Revision = 2
	revised.data = o
	later := occupied("meet", ten.Add(10*time.Minute), 1, 4)
	o = later.data.(edge.Occupancy)
	o.Revision = 2
	later.data = o
	r.tell("hq", revised, later, event{edge.OccupancyRevised, "meet", ten.Add(3 * time.Hour),
		map[string]any{"space": "meet", "from": ten, "to": ten.Add(20 * time.Minute), "revision": 2}})
	r.project(r.m)
	var s Summary
	r.get("/v1/sites/hq/analytics/summary?space=meet&from=2026-03-25T10:00:00%2B01:00&to=2026-03-25T11:00:00%2B01:00", &s)
	g := s.group(t, "meet")
	same(t, "average", g.Average, 2) // half an hour of one (the old quarter past is replaced), then three
	if g.KnownMinutes != 60 {
		t.Errorf("%v minutes are known", g.KnownMinutes)
	}
	whole := r.rows("hq")
	r.update("hq", func(tx *store.Tx, s store.Site) error {
		for _, table := range []string{"hours", "spaces"} {
			if err := tx.Exec(`DELETE FROM analytics_`+table+` WHERE site = ?`, s.ID); err != nil {
				return err
			}
		}
		return tx.PutCursor(cursor, store.Cursor{})
	})
	r.project(r.m)
	if again := r.rows("hq"); again != whole {
		t.Errorf("from scratch\n%s\nwant\n%s", again, whole)
	}
}

func TestZoneThatIsLearntLaterCutsTheHoursAnew(t *testing.T) {
	r := newRig(t)
	m := office
	m.ID, m.Timezone = "delhi", ""
	r.model("delhi", m)
	six := at(t, "2026-03-25T06:00") // 05:00 UTC, 10:30 in Delhi
	r.hold("delhi", "meet", six, six.Add(3*time.Hour), 2, 4)
	r.project(r.m)
	m.Timezone = "Asia/Kolkata"
	r.model("delhi", m)
	r.tell("delhi", occupied("meet", six.Add(3*time.Hour), 0, 4))
	r.project(r.m)
	var tr Trends
	r.get("/v1/sites/delhi/analytics/trends?space=meet&every=1h&from=2026-03-25&to=2026-03-26", &tr)
	var sum float64
	for _, p := range tr.Points {
		if sum += p.OccupiedMinutes; p.OccupiedMinutes != 0 && p.OccupiedMinutes != 60 && p.OccupiedMinutes != 30 {
			t.Errorf("%s: %v occupied minutes", p.From, p.OccupiedMinutes)
		}
	}
	if sum != 180 {
		t.Errorf("%v minutes, want 180", sum)
	}
}

// A process that ends in the middle has its work taken up by the next, and two at once do not
// count twice.
func TestTwoProcessesCountOnce(t *testing.T) {
	r := newRig(t)
	r.set("2026-06-01T00:00")
	m := office
	m.ID = "once"
	r.model("once", m)
	rng := rand.New(rand.NewPCG(1, 2))
	events := week(rng, at(t, "2026-03-01T00:00"), "meet", pageEvents+1000)
	r.tell("once", events...)
	if _, err := r.m.Project(r.Context()); err != nil {
		t.Fatal(err)
	}
	stopped, cancel := context.WithCancel(r.Context())
	cancel()
	if _, err := r.m.Project(stopped); err == nil {
		t.Error("a process that was stopped says it has projected")
	}
	other := []*Module{r.open(), r.open()}
	var wg sync.WaitGroup
	for _, m := range other {
		wg.Go(func() {
			for more := true; more; {
				var err error
				if more, err = m.Project(r.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	r.project(r.m)
	together := r.rows("once")
	r.update("once", func(tx *store.Tx, s store.Site) error {
		for _, table := range []string{"hours", "spaces"} {
			if err := tx.Exec(`DELETE FROM analytics_`+table+` WHERE site = ?`, s.ID); err != nil {
				return err
			}
		}
		return tx.PutCursor(cursor, store.Cursor{})
	})
	r.project(r.m)
	if alone := r.rows("once"); alone != together {
		t.Error("hours of two processes differ from those of one")
	}
}

func TestRunFollowsEvents(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.m.Run(ctx) }()
	r.day("hq", "2026-03-25")
	r.eventually("the day is projected", func() bool {
		var s Summary
		r.get("/v1/sites/hq/analytics/summary?space=meet&from=2026-03-25&to=2026-03-26", &s)
		return s.group(t, "meet").KnownMinutes == 1380
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// eventually waits until something holds.
func (r *rig) eventually(what string, holds func() bool) {
	r.Helper()
	deadline, tick := time.After(patience), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			r.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}

func TestDeletedSiteLeavesNothing(t *testing.T) {
	r := newRig(t)
	r.day("hq", "2026-03-25")
	r.project(r.m)
	r.day("hq", "2026-03-26")
	page, err := r.db.EventsAfter(r.Context(), 0, 0, pageEvents)
	r.must(err)
	r.update("hq", func(tx *store.Tx, s store.Site) error {
		if err := Forget(tx, s); err != nil {
			return err
		}
		return tx.DeleteSite(s.ID)
	})
	r.must(r.db.Update(r.Context(), func(tx *store.Tx) error { // a page that was read before
		p := pass{m: r.m, ctx: r.Context(), tx: tx, sites: map[int64]*siteWork{}}
		for i := range page {
			if err := p.take(&page[i]); err != nil {
				return err
			}
		}
		return p.write()
	}))
	r.project(r.m)
	for _, table := range []string{"hours", "spaces", "counts", "sites"} {
		var n int
		r.must(r.db.QueryRow(r.Context(), `SELECT count(*) FROM analytics_`+table).Scan(&n))
		if n != 0 {
			t.Errorf("%d rows are left in analytics_%s", n, table)
		}
	}
	if sites, err := r.db.Sites(r.Context()); err != nil || len(sites) != 0 {
		t.Errorf("the site has come back: %v %v", sites, err)
	}
}

// BenchmarkProject projects events of a hundred spaces.
func BenchmarkProject(b *testing.B) {
	r := newRig(b)
	const spaces = 100
	begin := at(b, "2026-03-01T00:00")
	var events []event
	for i := range b.N {
		events = append(events, occupied(fmt.Sprint("room-", i%spaces), begin.Add(time.Duration(i/spaces)*30*time.Second), i%5, 4))
		if len(events) == 10_000 || i == b.N-1 {
			r.tell("hq", events...)
			events = events[:0]
		}
	}
	b.ResetTimer()
	r.project(r.m)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
