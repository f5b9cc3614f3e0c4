package ingest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// inOrder fails unless the events of an epoch are want records, each once, in order.
func inOrder(t *testing.T, events []store.Event, j *journal) {
	t.Helper()
	if len(events) != len(j.records) {
		t.Fatalf("got %d events, want %d", len(events), len(j.records))
	}
	for i, e := range events {
		if e.Position.Seq != uint64(i)+1 {
			t.Fatalf("event %d has sequence %d", i, e.Position.Seq)
		}
		if string(e.Body) != string(j.records[i]) {
			t.Fatalf("event %d has other bytes:\n got %s\nwant %s", i, e.Body, j.records[i])
		}
	}
}

func TestBatchesAreAppliedOnceWhateverIsRepeated(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	j := newJournal("hq", epochOf("a"), edge.Events).occupancies(100)
	for _, r := range [][2]uint64{{1, 40}, {1, 40}, {20, 60}, {61, 61}, {10, 30}, {61, 100}, {1, 100}} {
		h.send(j.batch(r[0], r[1]))
	}
	m := h.awaitEvents(100)
	if m.Events.CRC != j.crc(100) || m.Events.Epoch != j.epoch || m.Conflict != "" {
		t.Errorf("mark is %+v, want the chain's %08x", m, j.crc(100))
	}
	eventually(t, "all batches taken", func() bool { return c.in.Stats().Batches.Load() == 7 })
	inOrder(t, c.events("hq", ""), j)
	c.audited()
	if got := c.in.Stats().Duplicates.Load(); got != 40+21+21+1+100 {
		t.Errorf("counted %d duplicates, want 183", got)
	}
}

func TestGapIsRefusedAndFilledFromTheMark(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	j := newJournal("hq", epochOf("a"), edge.Events).occupancies(30)
	h.send(j.batch(1, 10))
	h.awaitEvents(10)
	h.send(j.batch(15, 20))
	m := h.await("an answer to the gap", func(wire.Marks) bool { return true })
	if m.Events.Seq != 10 {
		t.Fatalf("mark after a gap is %d, want 10", m.Events.Seq)
	}
	if m.Resend != edge.Events {
		t.Errorf("the push after a gap asks for %q to be sent again, want %q", m.Resend, edge.Events)
	}
	if n := c.in.Stats().Gaps.Load(); n != 1 {
		t.Errorf("counted %d gaps, want 1", n)
	}
	h.send(j.batch(11, 30))
	h.awaitEvents(30)
	inOrder(t, c.events("hq", ""), j)
	c.audited()
}

func TestDeclaredLossIsCountedAndTheChainGoesOn(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	j := newJournal("hq", epochOf("a"), edge.Events).occupancies(30)
	h.send(j.batch(1, 10))
	b := j.batch(16, 30)
	b.Lost = 5
	h.send(b)
	h.awaitEvents(30)
	lanes := c.audited()
	if len(lanes) != 1 || lanes[0].Lost != 5 || lanes[0].Stored != 25 || lanes[0].Missing != 0 {
		t.Errorf("audit is %+v, want 25 stored and 5 lost", lanes)
	}
	found, err := c.db.FindSites(t.Context(), "acme", "hq")
	must(t, err)
	loss, err := c.db.LossLedger(t.Context(), found[0].ID)
	must(t, err)
	if len(loss) != 1 || loss[0].Count != 5 || loss[0].Source != "lane events" {
		t.Errorf("loss is %+v, want 5 of lane events", loss)
	}
}

func TestCrashBetweenCommitAndEverythingAfterAppliesNothingTwice(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	j := newJournal("hq", epochOf("a"), edge.Events).occupancies(60)
	h.send(j.batch(1, 20))
	h.awaitEvents(20)
	c.stopIngest()
	h.send(j.batch(21, 40))

	// The stored place in the stream is lost, as if the process had died after the records'
	// commit in a version that notes it separately: everything in the stream comes again.
	must(t, c.db.Update(t.Context(), func(tx *store.Tx) error {
		return tx.PutCursor(wire.StreamName("acme"), store.Cursor{})
	}))
	c.start()
	h.awaitEvents(40)
	h.send(j.batch(41, 60))
	h.awaitEvents(60)
	inOrder(t, c.events("hq", ""), j)
	c.audited()
	if n := c.in.Stats().Duplicates.Load(); n != 20 {
		t.Errorf("recognised %d duplicates, want 20", n)
	}
}

func TestTwoIngestersOnOneDatabase(t *testing.T) {
	c := newCloud(t)
	c.start()
	second, err := store.Open(t.Context(), c.where)
	must(t, err)
	defer second.Close()
	other, stop := c.another(second)
	defer stop()
	h := c.connect("acme", "hq")
	j := newJournal("hq", epochOf("a"), edge.Events).occupancies(600)
	for first := uint64(1); first <= 600; first += 3 {
		h.send(j.batch(first, first+2))
	}
	h.awaitEvents(600)
	eventually(t, "both have read all", func() bool {
		return c.in.Stats().Batches.Load() == 200 && other.Stats().Batches.Load() == 200
	})
	inOrder(t, c.events("hq", ""), j)
	c.audited()
	if n := c.in.Stats().Events.Load() + other.Stats().Events.Load(); n != 600 {
		t.Errorf("the two applied %d events, want 600 together", n)
	}
}

func TestNewEpochBeginsAtOneAndKeepsTheOld(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	old := newJournal("hq", epochOf("a"), edge.Events).occupancies(10)
	h.send(old.batch(1, 10))
	h.awaitEvents(10)
	next := newJournal("hq", epochOf("b"), edge.Events).occupancies(4)
	h.send(next.batch(1, 4))
	m := h.awaitEvents(4)
	if m.Events.Epoch != next.epoch {
		t.Errorf("mark is of epoch %s, want %s", m.Events.Epoch, next.epoch)
	}
	if got := h.beat(old.epoch).Marks.Events; got.Seq != 10 || got.CRC != old.crc(10) {
		t.Errorf("mark of the old epoch is %+v, want 10", got)
	}
	if n := len(c.events("hq", "")); n != 14 {
		t.Errorf("%d events, want those of both epochs", n)
	}
	lanes := c.audited()
	if len(lanes) != 2 || lanes[0].Current || !lanes[1].Current {
		t.Errorf("audit is %+v, want the second epoch current", lanes)
	}
}

func TestAnotherJournalUnderTheSameEpochIsRefusedAndFlagged(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	j := newJournal("hq", epochOf("a"), edge.Events).occupancies(10)
	h.send(j.batch(1, 10))
	h.awaitEvents(10)
	clone := newJournal("hq", epochOf("a"), edge.Events)
	for range 12 {
		clone.occupancy("room-2", 3)
	}
	h.send(clone.batch(5, 12)) // continues after its own record 10, which is not the applied one
	m := h.await("a conflict", func(m wire.Marks) bool { return m.Conflict != "" })
	if m.Events.Seq != 10 {
		t.Errorf("mark moved to %d", m.Events.Seq)
	}
	inOrder(t, c.events("hq", string(edge.OccupancyChanged)), j)
	if got := c.openAlerts("hq"); !slices.Contains(got, store.RuleHubConflict) {
		t.Errorf("open alerts are %v, want %s", got, store.RuleHubConflict)
	}
	if reply := h.beat(j.epoch); reply.Marks.Conflict == "" {
		t.Errorf("the heartbeat's answer does not tell of the conflict: %+v", reply)
	}

	fresh := newJournal("hq", epochOf("c"), edge.Events).occupancies(3)
	h.send(fresh.batch(1, 3))
	m = h.awaitEvents(3)
	if m.Conflict != "" {
		t.Errorf("the new epoch is flagged too: %s", m.Conflict)
	}
	if got := c.openAlerts("hq"); len(got) != 0 {
		t.Errorf("alerts %v are still open after the new epoch", got)
	}

	old := append([][]byte(nil), j.records...)
	grown := &journal{site: "hq", epoch: j.epoch, lane: edge.Events, records: old, crcs: append([]uint32(nil), j.crcs...)}
	grown.occupancies(2)
	h.send(grown.batch(11, 12)) // the left epoch goes on: two hubs are at work
	h.await("the left epoch's records", func(m wire.Marks) bool { return m.Events.Seq == 12 })
	if got := c.openAlerts("hq"); !slices.Contains(got, store.RuleHubCloned) {
		t.Errorf("open alerts are %v, want %s", got, store.RuleHubCloned)
	}
	c.audited()
}

func TestUnreadableRecordIsKeptAndTheMarkMovesOn(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	j := newJournal("hq", epochOf("a"), edge.Events).occupancies(2)
	j.raw([]byte(`{"specversion":"1.0","id":"nonsense"}`))
	j.add(string(edge.OccupancyChanged), "room-1", map[string]any{"space": 7})
	j.raw([]byte(`not json at all`))
	other := newJournal("hq", epochOf("b"), edge.Events).occupancies(6)
	j.raw(other.records[5]) // a record of another epoch
	j.occupancies(1)
	h.send(j.batch(1, 7))
	m := h.awaitEvents(7)
	if m.Events.CRC != j.crc(7) {
		t.Errorf("chain is %08x, want %08x", m.Events.CRC, j.crc(7))
	}
	lanes := c.audited()
	if lanes[0].Stored != 3 || lanes[0].Unreadable != 4 {
		t.Errorf("audit is %+v, want 3 stored and 4 unreadable", lanes[0])
	}
	if got := c.openAlerts("hq"); !slices.Contains(got, store.RuleUnreadable) {
		t.Errorf("open alerts are %v, want %s", got, store.RuleUnreadable)
	}
}

func TestMessageThatIsNoBatchHoldsUpNothing(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	j := newJournal("hq", epochOf("a"), edge.Events).occupancies(2)
	h.publish("events", nil, []byte("hello"))
	header, body, err := wire.Encode(j.batch(1, 2))
	must(t, err)
	h.publish("readings", header, body) // on the other lane's subject
	damaged := slices.Clone(body)
	damaged[len(damaged)/2] ^= 1
	h.publish("events", header, damaged)
	h.send(j.batch(1, 2))
	h.awaitEvents(2)
	inOrder(t, c.events("hq", string(edge.OccupancyChanged)), j)
	if n := c.in.Stats().Unreadable.Load(); n != 3 {
		t.Errorf("counted %d unreadable messages, want 3", n)
	}
	if got := c.openAlerts("hq"); !slices.Equal(got, []string{store.RuleUnreadable}) {
		t.Errorf("open alerts are %v, want one %s", got, store.RuleUnreadable)
	}
}

func TestWipedStreamEndsComplete(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	j := newJournal("hq", epochOf("a"), edge.Events).occupancies(50)
	h.send(j.batch(1, 20))
	h.awaitEvents(20)
	h.conn.Close()
	c.stopIngest()
	c.bus.Shutdown()
	must(t, os.RemoveAll(filepath.Join(c.dir, "nats", "jetstream")))
	c.startBus()
	c.start()
	h = c.connect("acme", "hq")
	if got := h.beat(j.epoch).Marks.Events.Seq; got != 20 {
		t.Fatalf("mark after the broker lost its store is %d, want 20", got)
	}
	h.send(j.batch(11, 50)) // the hub goes on from a mark it knows
	h.awaitEvents(50)
	inOrder(t, c.events("hq", ""), j)
	c.audited()
}

func TestStreamMadeAnewWhileRunningIsReadFromItsBeginning(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	j := newJournal("hq", epochOf("a"), edge.Events).occupancies(30)
	for i := uint64(1); i <= 10; i++ {
		h.send(j.batch(i, i))
	}
	h.awaitEvents(10)
	must(t, c.bus.JetStream().DeleteStream(t.Context(), wire.StreamName("acme")))
	must(t, c.bus.EnsureOrg(t.Context(), "acme"))
	h.send(j.batch(11, 30)) // is message 1 of the new stream
	h.awaitEvents(30)
	inOrder(t, c.events("hq", ""), j)
}

// An external NATS server that loses its store does not stop the cloud, so nobody else would.
func TestStreamThatIsGoneIsMadeAnew(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	j := newJournal("hq", epochOf("a"), edge.Events).occupancies(30)
	h.send(j.batch(1, 10))
	h.awaitEvents(10)
	must(t, c.bus.JetStream().DeleteStream(t.Context(), wire.StreamName("acme")))
	eventually(t, "a new stream", func() bool {
		_, err := c.bus.JetStream().Stream(t.Context(), wire.StreamName("acme"))
		return err == nil
	})
	h.send(j.batch(11, 30))
	h.awaitEvents(30)
	inOrder(t, c.events("hq", ""), j)
}

func TestDatabaseRestoredFromAnOlderCopyIsFilledFromTheStream(t *testing.T) {
	c := newCloud(t)
	if store.IsURL(c.where) {
		t.Skip("copies the database's file")
	}
	backup := filepath.Join(c.dir, "backup.db")
	c.start()
	h := c.connect("acme", "hq")
	j := newJournal("hq", epochOf("a"), edge.Events).occupancies(40)
	h.send(j.batch(1, 10))
	h.awaitEvents(10)
	c.stopIngest()
	must(t, c.db.Close())
	copyFile(t, c.where, backup)
	c.openDB()
	c.start()
	h.send(j.batch(11, 40))
	h.awaitEvents(40)
	c.stopIngest()
	must(t, c.db.Close())
	copyFile(t, backup, c.where)
	c.openDB()
	c.start()
	h.awaitEvents(40) // nothing was sent again
	inOrder(t, c.events("hq", ""), j)
	c.audited()
}

func TestSiteIsTheSubjectsNeverTheBodys(t *testing.T) {
	c := newCloud(t)
	c.start()
	a, b := c.connect("acme", "site-a"), c.connect("acme", "site-b")
	forged := newJournal("site-b", epochOf("a"), edge.Events).occupancies(3) // says it is site-b
	a.send(forged.batch(1, 3))
	a.awaitEvents(3)
	own := newJournal("site-b", epochOf("a"), edge.Events)
	own.occupancy("room-9", 4)
	b.send(own.batch(1, 1)) // the same epoch, guessed by a, is another one here
	b.awaitEvents(1)
	inOrder(t, c.events("site-a", ""), forged)
	inOrder(t, c.events("site-b", ""), own)
	c.audited()
}

// TestSiteReachesNothingOfItsNeighbour tries every subject of a neighbour.
func TestSiteReachesNothingOfItsNeighbour(t *testing.T) {
	c := newCloud(t)
	c.start()
	a, b := c.connect("acme", "site-a"), c.connect("acme", "site-b")
	j := newJournal("site-b", epochOf("b"), edge.Events).occupancies(2)
	b.send(j.batch(1, 1))
	b.awaitEvents(1)
	header, body, err := wire.Encode(j.batch(2, 2))
	must(t, err)
	for _, what := range []string{"events", "readings", "heartbeat", "snapshot"} {
		must(t, a.conn.PublishMsg(&nats.Msg{Subject: wire.UpSubject("acme", "site-b", what), Header: header, Data: body}))
	}
	for _, subject := range []string{">", "up.>", "down.>", wire.DownSubject("acme", "site-b", ">"), wire.InboxPrefix("acme", "site-b") + ".>", "$JS.API.>"} {
		sub, err := a.conn.SubscribeSync(subject)
		must(t, err)
		must(t, a.conn.Flush())
		b.beat(j.epoch) // something for an eavesdropper
		if msg, err := sub.NextMsg(20 * time.Millisecond); err == nil {
			t.Errorf("site-a hears %s on %s", msg.Subject, subject)
		}
	}
	for _, api := range []string{"$JS.API.STREAM.INFO.UP_acme", "$JS.API.STREAM.PURGE.UP_acme", "$JS.API.STREAM.DELETE.UP_acme"} {
		if _, err := a.conn.Request(api, nil, 50*time.Millisecond); err == nil {
			t.Errorf("site-a may request %s", api)
		}
	}
	b.send(j.batch(2, 2))
	b.awaitEvents(2)
	inOrder(t, c.events("site-b", ""), j)
	if n := len(c.events("site-a", "")); n != 0 {
		t.Errorf("site-a has %d events", n)
	}
}

func TestHeartbeatIsNotedAndAnsweredWithTheMarks(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	events := newJournal("hq", epochOf("a"), edge.Events).occupancies(5)
	readings := newJournal("hq", epochOf("a"), edge.Readings)
	readings.add("readings", "", []edge.Reading{{Sensor: "s1", Device: "d1", Received: start, Values: []edge.Value{edge.NumberValue(edge.CO2PPM, edge.Absolute, 600)}}})
	h.send(events.batch(1, 5))
	h.send(readings.batch(1, 1))
	h.await("both lanes", func(m wire.Marks) bool { return m.Events.Seq == 5 && m.Readings.Seq == 1 })
	reply := h.beat(events.epoch)
	want := wire.Marks{Events: wire.Mark{Epoch: events.epoch, Seq: 5, CRC: events.crc(5)}, Readings: wire.Mark{Epoch: events.epoch, Seq: 1, CRC: readings.crc(1)}}
	if reply.Marks != want || reply.Error != "" || time.Since(reply.Time) > time.Minute {
		t.Errorf("answer is %+v, want marks %+v", reply, want)
	}
	if got := h.beat(epochOf("9")).Marks; got.Events != (wire.Mark{Epoch: epochOf("9")}) {
		t.Errorf("marks of an unknown epoch are %+v, want none", got)
	}
	found, err := c.db.FindSites(t.Context(), "acme", "hq")
	must(t, err)
	if found[0].Name != "Site hq" || time.Since(found[0].LastHeartbeat) > time.Minute {
		t.Errorf("site is %+v, want its name and heartbeat noted", found[0])
	}
	recs, err := c.db.ReadingRecords(t.Context(), found[0].ID, "s1", 10)
	must(t, err)
	if len(recs) != 1 || string(recs[0].Body) != string(readings.records[0]) {
		t.Errorf("readings of s1 are %v, want the record's own bytes", recs)
	}
}

func TestBadRequestIsAnsweredWithItsReason(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	h.beat(epochOf("a")) // ingest listens
	for _, tc := range []struct{ what, body string }{
		{"heartbeat", `{`}, {"heartbeat", `{"epoch":"x"}`}, {"snapshot", `[]`}, {"snapshot", `{"epoch":"` + epochOf("a") + `","seq":9223372036854775807}`},
	} {
		msg, err := h.conn.Request(wire.UpSubject("acme", "hq", tc.what), []byte(tc.body), patience)
		must(t, err)
		var reply struct {
			Error string `json:"error"`
		}
		must(t, json.Unmarshal(msg.Data, &reply))
		if reply.Error == "" {
			t.Errorf("%s %s was not refused: %s", tc.what, tc.body, msg.Data)
		}
	}
}

func TestSnapshotShowsAtOnceAndHistoryDoesNotTurnItBack(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("acme", "hq")
	j := newJournal("hq", epochOf("a"), edge.Events)
	old := edge.Alert{ID: "over@1", Rule: "over", Subject: "room-1", State: edge.StateFiring, RaisedAt: start}
	j.occupancy("room-1", 7)
	j.add(string(edge.AlertRaised), old.ID, old)
	old.State, old.ClearedAt = edge.StateCleared, start.Add(90*time.Second)
	j.add(string(edge.AlertCleared), old.ID, old)
	open := edge.Alert{ID: "silent@2", Rule: "silent", Subject: "pir", State: edge.StateFiring, RaisedAt: start.Add(2 * time.Minute)}
	j.add(string(edge.AlertRaised), open.ID, open)
	j.occupancy("room-1", 2)
	h.snapshot(wire.Snapshot{
		Version: 1, Epoch: j.epoch, Seq: 5, Time: start.Add(time.Hour),
		Site:   edge.Site{ID: "hq", Name: "HQ", Spaces: []edge.Space{{ID: "room-1", Kind: edge.Room}}},
		Spaces: []edge.Occupancy{occupied("room-1", 2, start.Add(time.Hour))}, Alerts: []edge.Alert{open},
	})
	shown := func() int {
		t.Helper()
		found, err := c.db.FindSites(t.Context(), "acme", "hq")
		must(t, err)
		rows, err := c.db.Spaces(t.Context(), found[0].ID)
		must(t, err)
		var o edge.Occupancy
		must(t, json.Unmarshal(rows[0].Occupancy, &o))
		return *o.Count
	}
	if got := shown(); got != 2 {
		t.Fatalf("room-1 has %d after the snapshot, want 2", got)
	}
	for seq := uint64(1); seq <= 5; seq++ {
		h.send(j.batch(seq, seq))
		h.awaitEvents(seq)
		if got := shown(); got != 2 {
			t.Errorf("room-1 went back to %d with record %d", got, seq)
		}
		if got := c.openAlerts("hq"); !slices.Equal(got, []string{"silent"}) {
			t.Errorf("open alerts are %v with record %d, want only the one that is open", got, seq)
		}
	}
	for _, e := range c.events("hq", string(edge.OccupancyChanged)) {
		if !e.Backfill {
			t.Errorf("record %d is not marked as backfill", e.Position.Seq)
		}
	}
	j.occupancy("room-1", 5)
	h.send(j.batch(6, 6))
	h.awaitEvents(6)
	if got := shown(); got != 5 {
		t.Errorf("room-1 has %d after news, want 5", got)
	}
	c.audited()
}

func TestOrganisationThatComesLaterIsFollowed(t *testing.T) {
	c := newCloud(t)
	c.start()
	h := c.connect("globex", "lab") // enrolment makes the stream
	j := newJournal("lab", epochOf("a"), edge.Events).occupancies(3)
	h.send(j.batch(1, 3))
	h.awaitEvents(3)
	inOrder(t, c.events("lab", ""), j)
}

// TestOneSiteThatCannotBeAppliedDoesNotStopTheOthers damages a site's marks so that its
// records collide with those that are there.
func TestOneSiteThatCannotBeAppliedDoesNotStopTheOthers(t *testing.T) {
	c := newCloud(t)
	bad, good := newJournal("bad", epochOf("a"), edge.Events).occupancies(5), newJournal("good", epochOf("b"), edge.Events).occupancies(5)
	must(t, c.db.Update(t.Context(), func(tx *store.Tx) error {
		site, err := tx.Site("acme", "bad", start)
		if err != nil {
			return err
		}
		epoch, _, err := tx.Epoch(site.ID, bad.epoch, start)
		if err != nil {
			return err
		}
		return tx.AddEvents([]store.Event{{Site: site.ID, Position: store.Position{Epoch: epoch, Seq: 3}, Type: "x", Body: []byte("{}")}})
	}))
	h, g := c.connect("acme", "bad"), c.connect("acme", "good")
	h.send(bad.batch(1, 5))
	g.send(good.batch(1, 5))
	c.start()
	g.awaitEvents(5)
	inOrder(t, c.events("good", ""), good)
	if n := len(c.events("bad", string(edge.OccupancyChanged))); n != 0 {
		t.Errorf("%d records of the damaged site were applied", n)
	}
	if got := c.openAlerts("bad"); !slices.Contains(got, store.RuleUnreadable) {
		t.Errorf("open alerts are %v, want %s", got, store.RuleUnreadable)
	}
}

func TestMovedMarkIsAConflict(t *testing.T) {
	c := newCloud(t)
	err := c.db.Update(t.Context(), func(tx *store.Tx) error {
		site, err := tx.Site("acme", "hq", start)
		must(t, err)
		epoch, _, err := tx.Epoch(site.ID, epochOf("a"), start)
		must(t, err)
		m, err := tx.NewMark(site.ID, epoch, edge.Events, start)
		must(t, err)
		to := m
		to.Seq, to.CRC = 5, 99
		must(t, tx.MoveMark(m, to, start))
		return tx.MoveMark(m, to, start)
	})
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, b, 0o600))
}

// BenchmarkIngest measures events from stream to committed twin, 200 records a batch.
func BenchmarkIngest(b *testing.B) {
	for _, size := range []int{1, 20, 200} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			c := newCloud(b)
			h := c.connect("acme", "hq")
			n := max(b.N, size) / size * size
			j := newJournal("hq", epochOf("a"), edge.Events)
			for i := range n {
				j.occupancy(fmt.Sprintf("room-%d", i%40), i%7)
			}
			for first := 1; first <= n; first += size {
				header, body, err := wire.Encode(j.batch(uint64(first), uint64(first+size-1)))
				must(b, err)
				must(b, h.conn.PublishMsg(&nats.Msg{Subject: wire.UpSubject("acme", "hq", "events"), Header: header, Data: body}))
			}
			must(b, h.conn.FlushTimeout(time.Minute))
			b.ResetTimer()
			c.start()
			h.awaitEvents(uint64(n))
			b.StopTimer()
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(n)/float64(max(1, c.in.Stats().Groups.Load())), "events/commit")
		})
	}
}
