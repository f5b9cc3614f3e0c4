package store

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

func open(t *testing.T) *DB {
	t.Helper()
	db, err := Open(t.Context(), where(t))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lane stores n events of one epoch and the mark after them.
func lane(t *testing.T, db *DB, n int) (site Site, epoch int64) {
	t.Helper()
	must(t, db.Update(t.Context(), func(tx *Tx) error {
		var err error
		if site, err = tx.Site("acme", "hq", start); err != nil {
			return err
		}
		if epoch, _, err = tx.Epoch(site.ID, strings.Repeat("a", 32), start); err != nil {
			return err
		}
		var events []Event
		var crc uint32
		for seq := uint64(1); seq <= uint64(n); seq++ {
			at := start.Add(time.Duration(seq) * time.Minute)
			rec := edge.Record{Epoch: strings.Repeat("a", 32), Lane: edge.Events, Seq: seq, Commit: seq, Source: "hq",
				Type: string(edge.OccupancyChanged), Subject: "room", Time: at, Data: fmt.Appendf(nil, `{"space":"room","count":%d}`, seq)}
			body := rec.AppendJSON(nil)
			crc = edge.Chain(crc, body)
			events = append(events, Event{Site: site.ID, Position: Position{epoch, seq}, Type: rec.Type, Subject: rec.Subject, Time: at, At: at, Body: body})
		}
		m, err := tx.NewMark(site.ID, epoch, edge.Events, start)
		if err != nil {
			return err
		}
		to := m
		to.Seq, to.CRC = uint64(n), crc
		return errors.Join(tx.AddEvents(events), tx.MoveMark(m, to, start))
	}))
	return site, epoch
}

func TestNewerSchemaIsRefusedAndLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cloud.db")
	db, err := Open(t.Context(), path)
	must(t, err)
	_, err = db.write.Exec(`INSERT INTO schema_versions VALUES (99, '0099_future', 0)`)
	must(t, err)
	must(t, db.Close())
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("got %v, want a refusal that says newer", err)
	}
}

func TestWhatIsNoDatabaseOfOursIsRefused(t *testing.T) {
	foreign := filepath.Join(t.TempDir(), "foreign.db")
	other, err := sql.Open("sqlite", foreign)
	must(t, err)
	_, err = other.Exec(`CREATE TABLE recipes (name TEXT)`)
	must(t, err)
	must(t, other.Close())
	garbage := filepath.Join(t.TempDir(), "garbage.db")
	must(t, os.WriteFile(garbage, []byte(strings.Repeat("no database", 1000)), 0o600))
	for _, path := range []string{foreign, garbage, t.TempDir()} {
		if db, err := Open(t.Context(), path); err == nil {
			db.Close()
			t.Errorf("%s was opened", filepath.Base(path))
		}
	}
	if b, err := os.ReadFile(garbage); err != nil || !strings.HasPrefix(string(b), "no database") {
		t.Errorf("the foreign file was changed: %v", err)
	}
}

func TestReopenedDatabaseKeepsAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cloud.db")
	db, err := Open(t.Context(), path)
	must(t, err)
	site, _ := lane(t, db, 10)
	must(t, db.Close())
	db, err = Open(t.Context(), path)
	must(t, err)
	defer db.Close()
	rows, err := db.EventsAfter(t.Context(), 0, site.ID, 100)
	must(t, err)
	if len(rows) != 10 {
		t.Errorf("%d events after opening again, want 10", len(rows))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v (%v), want 0600", info.Mode(), err)
	}
}

func TestFailedUpdateLeavesNothing(t *testing.T) {
	db := open(t)
	boom := errors.New("boom")
	err := db.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.Site("acme", "hq", start)
		must(t, err)
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("got %v, want the cause", err)
	}
	if sites, err := db.Sites(t.Context()); err != nil || len(sites) != 0 {
		t.Errorf("sites are %v (%v), want none", sites, err)
	}
}

func TestChangedTellsOfEventsOnly(t *testing.T) {
	db := open(t)
	changed := db.Changed()
	must(t, db.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.Site("acme", "hq", start)
		return err
	}))
	select {
	case <-changed:
		t.Error("a site is no event")
	default:
	}
	lane(t, db, 1)
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the event")
	}
}

func TestLockIsForOneAndEndsWithIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Acquire(t.Context(), path)
	must(t, err)
	if _, err := Acquire(t.Context(), path); !errors.Is(err, ErrInUse) {
		t.Errorf("second got %v, want ErrInUse", err)
	}
	must(t, first.Release())
	again, err := Acquire(t.Context(), path)
	must(t, err)
	must(t, again.Release())
}

func TestHistoryBeginsWithWhatWasInForce(t *testing.T) {
	db := open(t)
	site, _ := lane(t, db, 10)
	minute := func(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }
	for _, tc := range []struct{ from, to, first, n int }{
		{0, 60, 1, 10}, {4, 6, 4, 2}, {20, 30, 10, 1}, {-10, 0, 0, 0}, {5, 5, 0, 0},
	} {
		from := minute(tc.from)
		if tc.from == 4 {
			from = from.Add(time.Second) // between two changes
		}
		rows, err := db.OccupancyEvents(t.Context(), site.ID, "room", from, minute(tc.to), 100)
		must(t, err)
		if len(rows) != tc.n || tc.n > 0 && int(rows[0].Position.Seq) != tc.first {
			t.Errorf("from %d to %d: %d rows, want %d from record %d: %v", tc.from, tc.to, len(rows), tc.n, tc.first, rows)
		}
	}
}

// TestAuditSees damages a complete lane in every way that matters.
func TestAuditSees(t *testing.T) {
	for _, tc := range []struct {
		name, damage string
		sees         func(LaneAudit) bool
	}{
		{"nothing", `SELECT 1`, func(a LaneAudit) bool { return a.OK() && a.Stored == 20 }},
		{"a missing record", `DELETE FROM events WHERE seq = 7`, func(a LaneAudit) bool { return a.Missing == 1 && !a.OK() }},
		{"a missing end", `DELETE FROM events WHERE seq > 17`, func(a LaneAudit) bool { return a.Missing == 3 && !a.OK() }},
		{"changed bytes", `UPDATE events SET body = (SELECT body FROM events WHERE seq = 8) WHERE seq = 7`, func(a LaneAudit) bool { return !a.ChainOK && a.Missing == 0 }},
		{"a record twice", `INSERT INTO unreadable (site, epoch, lane, seq, reason, at, body) SELECT site, epoch, 'events', seq, '', 0, body FROM events WHERE seq = 7`,
			func(a LaneAudit) bool { return a.Duplicates == 1 && !a.OK() }},
		{"a mark that is behind", `UPDATE marks SET seq = 15`, func(a LaneAudit) bool { return a.Beyond == 5 && !a.OK() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db := open(t)
			lane(t, db, 20)
			_, err := db.write.Exec(tc.damage)
			must(t, err)
			got, err := db.Audit(t.Context())
			must(t, err)
			if len(got) != 1 || !tc.sees(got[0]) {
				t.Errorf("audit says %+v", got)
			}
		})
	}
}

func TestSameRecordTwiceIsRefusedByTheDatabaseItself(t *testing.T) {
	db := open(t)
	site, epoch := lane(t, db, 3)
	err := db.Update(t.Context(), func(tx *Tx) error {
		return tx.AddEvents([]Event{{Site: site.ID, Position: Position{epoch, 2}, Type: "x", Body: []byte("{}")}})
	})
	if err == nil {
		t.Error("record 2 was stored twice")
	}
}

func TestUnreadableMessagesAreBounded(t *testing.T) {
	db := open(t)
	must(t, db.Update(t.Context(), func(tx *Tx) error {
		site, err := tx.Site("acme", "hq", start)
		must(t, err)
		for seq := range uint64(3 * maxUnreadableMessages) {
			must(t, tx.AddUnreadable(Unreadable{Site: site.ID, Lane: edge.Events, Seq: seq + 1, Reason: "x", At: start, Body: []byte("x")}))
		}
		return nil
	}))
	var n int
	must(t, db.read.QueryRow(`SELECT count(*) FROM unreadable`).Scan(&n))
	if n != maxUnreadableMessages {
		t.Errorf("%d messages are kept, want %d", n, maxUnreadableMessages)
	}
}

func TestADeletedSiteLeavesNothingAndItsNumberIsNotGivenAgain(t *testing.T) {
	db, err := Open(t.Context(), where(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := time.UnixMilli(1_800_000_000_000)
	var first, second Site
	err = db.Update(t.Context(), func(tx *Tx) error {
		if first, err = tx.Site("acme", "oslo", now); err != nil {
			return err
		}
		if _, err := tx.AddCloudEvent(first, edge.Event{Type: edge.Audit, At: now, Data: []byte("{}")}); err != nil {
			return err
		}
		if err := tx.PutDomains(first.ID, []string{"acme/north", "globex"}); err != nil {
			return err
		}
		return tx.DeleteSite(first.ID)
	})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := db.Sites(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("sites %+v, %v", list, err)
	}
	if events, err := db.EventsAfter(t.Context(), 0, first.ID, 10); err != nil || len(events) != 0 {
		t.Errorf("events %+v, %v", events, err)
	}
	err = db.Update(t.Context(), func(tx *Tx) error { second, err = tx.Site("acme", "oslo", now); return err })
	if err != nil || second.ID == first.ID || second.Owner() != "acme" {
		t.Errorf("the site anew is %+v, %v; the old one was number %d", second, err, first.ID)
	}
}

// Of millions of events few are about alerts: whoever follows those must not read the others.
func TestEventsOfAlertsAreFoundByTheirIndex(t *testing.T) {
	db := open(t)
	if IsURL(where(t)) {
		t.Skip("PostgreSQL plans by statistics")
	}
	rows, err := db.read.Query(`EXPLAIN QUERY PLAN `+notifyEvents, 0, 10)
	must(t, err)
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		must(t, rows.Scan(&id, &parent, &unused, &detail))
		plan.WriteString(detail + "\n")
	}
	must(t, rows.Err())
	if !strings.Contains(plan.String(), "events_alerts") {
		t.Errorf("the plan is\n%s", plan.String())
	}
}

// where is as storetest.Where, which this package's own tests cannot import.
func where(t *testing.T) string {
	t.Helper()
	server := os.Getenv("HEADCOUNT_TEST_POSTGRES")
	if server == "" {
		return filepath.Join(t.TempDir(), "cloud.db")
	}
	schema := fmt.Sprintf("test_%d_%d", os.Getpid(), time.Now().UnixNano())
	pg, err := openPostgres(t.Context(), server)
	must(t, err)
	t.Cleanup(func() {
		_, err := pg.write.Exec(`DROP SCHEMA ` + schema + ` CASCADE`)
		must(t, errors.Join(err, pg.Close()))
	})
	_, err = pg.write.Exec(`CREATE SCHEMA ` + schema)
	must(t, err)
	u, err := url.Parse(server)
	must(t, err)
	u.RawQuery = "search_path=" + schema
	return u.String()
}

func TestParametersAreNumberedOutsideQuotesOnly(t *testing.T) {
	for query, want := range map[string]string{
		`SELECT 1`:                      `SELECT 1`,
		`SELECT ? WHERE a = ?`:          `SELECT $1 WHERE a = $2`,
		`SELECT '?', "a?b", ? -- why?`:  `SELECT '?', "a?b", $1 -- why?`,
		"SELECT 'it''s ?', ? -- ?\n, ?": "SELECT 'it''s ?', $1 -- ?\n, $2",
		`SELECT '? without an end`:      `SELECT '? without an end`,
	} {
		if got := numbered(query); got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
}
