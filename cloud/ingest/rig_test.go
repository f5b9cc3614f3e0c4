package ingest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/headcount-hub/headcount/cloud/bus"
	"github.com/headcount-hub/headcount/cloud/ingest"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/store/storetest"
	"github.com/headcount-hub/headcount/cloud/twin"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

const patience = 10 * time.Second

// cloud is a real NATS server with JetStream and a real database, and ingest between them.
type cloud struct {
	t     testing.TB
	dir   string
	where string // of the database
	bus   *bus.Bus
	db    *store.DB
	in    *ingest.Ingest
	log   *slog.Logger

	stop func()
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	c := &cloud{t: t, dir: t.TempDir(), log: slog.New(slog.DiscardHandler)}
	c.startBus()
	c.openDB()
	t.Cleanup(func() {
		c.stopIngest()
		c.db.Close()
		c.bus.Shutdown()
	})
	return c
}

func (c *cloud) startBus() {
	c.t.Helper()
	var err error
	c.bus, err = bus.Start(c.t.Context(), bus.Options{Dir: filepath.Join(c.dir, "nats"), Listen: "127.0.0.1:0", Orgs: []string{"acme"}})
	must(c.t, err)
}

func (c *cloud) openDB() {
	c.t.Helper()
	var err error
	if c.where == "" {
		c.where = storetest.Where(c.t)
	}
	c.db, err = store.Open(c.t.Context(), c.where)
	must(c.t, err)
}

// start runs an ingest on the cloud's database.
func (c *cloud) start() {
	c.t.Helper()
	c.in, c.stop = c.another(c.db)
}

// another runs a further ingest on db.
func (c *cloud) another(db *store.DB) (*ingest.Ingest, func()) {
	c.t.Helper()
	in := ingest.New(ingest.Config{
		DB: db, Conn: c.bus.Conn(), JetStream: c.bus.JetStream(), Projector: twin.New(db, c.log), Log: c.log,
		MakeStream: c.bus.EnsureOrg, Discover: 100 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	return in, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("ingest: %v", err)
		}
	})
}

func (c *cloud) stopIngest() {
	if c.stop != nil {
		c.stop()
	}
}

// connect enrols a site and connects as its hub.
func (c *cloud) connect(org, site string) *hub {
	c.t.Helper()
	creds, err := c.bus.Enrol(org, site)
	must(c.t, err)
	conn, err := nats.Connect(c.bus.ClientURL(), nats.UserCredentialBytes(creds), nats.CustomInboxPrefix(wire.InboxPrefix(org, site)),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	must(c.t, err)
	c.t.Cleanup(conn.Close)
	h := &hub{t: c.t, org: org, site: site, conn: conn, marks: make(chan wire.Marks, 1000)}
	_, err = conn.Subscribe(wire.DownSubject(org, site, wire.DownMark), func(m *nats.Msg) {
		var marks wire.Marks
		if json.Unmarshal(m.Data, &marks) == nil {
			h.marks <- marks
		}
	})
	must(c.t, err)
	must(c.t, conn.Flush())
	return h
}

// events lists a site's events of a type in order of their cursor; all of the hub's and the
// cloud's alerts when typ is empty.
func (c *cloud) events(site, typ string) []store.Event {
	c.t.Helper()
	found, err := c.db.FindSites(c.t.Context(), "", site)
	must(c.t, err)
	if len(found) == 0 {
		return nil
	}
	rows, err := c.db.EventsAfter(c.t.Context(), 0, found[0].ID, 100000)
	must(c.t, err)
	var out []store.Event
	for _, r := range rows {
		if typ == r.Type || typ == "" && r.Type != string(twin.StateEvent) {
			out = append(out, r)
		}
	}
	return out
}

// audited fails unless every lane is complete; it returns the lanes.
func (c *cloud) audited() []store.LaneAudit {
	c.t.Helper()
	lanes, err := c.db.Audit(c.t.Context())
	must(c.t, err)
	for _, l := range lanes {
		if !l.OK() {
			c.t.Errorf("audit: %+v", l)
		}
	}
	return lanes
}

// openAlerts lists the rules of a site's open alerts.
func (c *cloud) openAlerts(site string) []string {
	c.t.Helper()
	found, err := c.db.FindSites(c.t.Context(), "", site)
	must(c.t, err)
	alerts, err := c.db.Alerts(c.t.Context(), found[0].ID, 0)
	must(c.t, err)
	var rules []string
	for _, a := range alerts {
		rules = append(rules, a.Alert.Rule)
	}
	return rules
}

// hub plays the hub of a site over a real connection.
type hub struct {
	t     testing.TB
	org   string
	site  string
	conn  *nats.Conn
	marks chan wire.Marks
}

// send publishes a batch as the uplink does.
func (h *hub) send(b wire.Batch) {
	h.t.Helper()
	header, body, err := wire.Encode(b)
	must(h.t, err)
	h.publish(string(b.Lane), header, body)
}

func (h *hub) publish(what string, header map[string][]string, body []byte) {
	h.t.Helper()
	must(h.t, h.conn.PublishMsg(&nats.Msg{Subject: wire.UpSubject(h.org, h.site, what), Header: header, Data: body}))
	must(h.t, h.conn.Flush())
}

// await waits for a push that satisfies ok.
func (h *hub) await(what string, ok func(wire.Marks) bool) wire.Marks {
	h.t.Helper()
	deadline := time.After(patience)
	var last wire.Marks
	for {
		select {
		case last = <-h.marks:
			if ok(last) {
				return last
			}
		case <-deadline:
			h.t.Fatalf("no mark with %s within %s; the last was %+v", what, patience, last)
		}
	}
}

func (h *hub) awaitEvents(seq uint64) wire.Marks {
	h.t.Helper()
	return h.await(fmt.Sprintf("events at %d", seq), func(m wire.Marks) bool { return m.Events.Seq == seq })
}

// beat sends a heartbeat and returns the answer.
func (h *hub) beat(epoch string) wire.HeartbeatReply {
	h.t.Helper()
	body, err := json.Marshal(wire.Heartbeat{Version: wire.Version, Site: h.site, Name: "Site " + h.site, Epoch: epoch})
	must(h.t, err)
	msg, err := h.conn.Request(wire.UpSubject(h.org, h.site, wire.UpHeartbeat), body, patience)
	must(h.t, err)
	var reply wire.HeartbeatReply
	must(h.t, json.Unmarshal(msg.Data, &reply))
	return reply
}

func (h *hub) snapshot(s wire.Snapshot) {
	h.t.Helper()
	body, err := json.Marshal(s)
	must(h.t, err)
	msg, err := h.conn.Request(wire.UpSubject(h.org, h.site, wire.UpSnapshot), body, patience)
	must(h.t, err)
	if strings.Contains(string(msg.Data), "error") {
		h.t.Fatalf("snapshot refused: %s", msg.Data)
	}
}

// journal makes the records of one lane of one epoch.
type journal struct {
	site    string
	epoch   string
	lane    edge.Lane
	records [][]byte
	crcs    []uint32 // of each record
}

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

func epochOf(digit string) string { return strings.Repeat(digit, 32) }

func newJournal(site, epoch string, lane edge.Lane) *journal {
	return &journal{site: site, epoch: epoch, lane: lane}
}

// add appends a record and returns its sequence.
func (j *journal) add(typ, subject string, data any) uint64 {
	doc, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	seq := uint64(len(j.records)) + 1
	rec := edge.Record{
		Epoch: j.epoch, Lane: j.lane, Seq: seq, Commit: seq, Source: j.site, Type: typ, Subject: subject,
		Time: start.Add(time.Duration(seq) * time.Second), Data: doc,
	}
	j.raw(rec.AppendJSON(nil))
	return seq
}

// raw appends bytes that are no record.
func (j *journal) raw(b []byte) {
	j.crcs = append(j.crcs, edge.Chain(j.crc(uint64(len(j.records))), b))
	j.records = append(j.records, b)
}

// crc is the chain after record seq.
func (j *journal) crc(seq uint64) uint32 {
	if seq == 0 {
		return 0
	}
	return j.crcs[seq-1]
}

// batch is the records first..last.
func (j *journal) batch(first, last uint64) wire.Batch {
	return wire.Batch{Epoch: j.epoch, Lane: j.lane, First: first, CRC: j.crc(first - 1), Records: j.records[first-1 : last]}
}

// occupancies adds n changes of room-1.
func (j *journal) occupancies(n int) *journal {
	for range n {
		count := len(j.records) % 9
		j.occupancy("room-1", count)
	}
	return j
}

func (j *journal) occupancy(space string, count int) {
	seq := uint64(len(j.records)) + 1
	j.add(string(edge.OccupancyChanged), space, occupied(space, count, start.Add(time.Duration(seq)*time.Second)))
}

func occupied(space string, count int, at time.Time) edge.Occupancy {
	o := edge.Occupancy{Space: space, State: edge.Vacant, Count: &count, Low: &count, High: &count, Quality: edge.QualityGood, AsOf: at, Since: at}
	if count > 0 {
		o.State = edge.Occupied
	}
	return o
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls a condition that has no event of its own.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		<-tick.C
	}
}
