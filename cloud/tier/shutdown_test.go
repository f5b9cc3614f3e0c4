package tier

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// batch makes the next batch of one record, without sending it.
func (h *hub) batch() *nats.Msg {
	h.t.Helper()
	h.seq++
	rec := edge.Record{Epoch: h.epoch, Lane: edge.Events, Seq: h.seq, Commit: h.seq, Source: h.site, Type: string(edge.HubStatus), Subject: "hub", Time: time.Now(), Data: json.RawMessage(`{"status":"started"}`)}
	body := rec.AppendJSON(nil)
	header, payload, err := wire.Encode(wire.Batch{Epoch: h.epoch, Lane: edge.Events, First: h.seq, CRC: h.crc, Records: [][]byte{body}})
	must(h.t, err)
	h.crc = edge.Chain(h.crc, body)
	return &nats.Msg{Subject: wire.UpSubject(h.org, h.site, "events"), Header: header, Data: payload}
}

// A tier that is stopped in the middle of a flood, as by SIGTERM, and started again has every
// record once: what it had not taken in waits in NATS, and what NATS did not take is sent again
// from the mark.
func TestStoppingUnderLoadLosesNothing(t *testing.T) {
	const records = 400
	cfg := config(t.TempDir())
	tier := startTier(t, cfg)
	h := newHub(t, tier, "acme", "hq")
	batches := make([]*nats.Msg, 0, records) // kept as a hub's journal keeps them
	flood := make(chan struct{})
	for range records {
		batches = append(batches, h.batch())
	}
	go func() {
		defer close(flood)
		for _, m := range batches {
			if h.conn.PublishMsg(m) != nil {
				return // the tier is gone
			}
		}
	}()
	eventually(t, "the flood is under way", func() bool { return tier.ingest.Stats().Events.Load() > 20 })
	tier.Close() // what SIGTERM does
	<-flood

	tier = startTier(t, cfg)
	h.connect(tier)
	eventually(t, "all is there", func() bool {
		at, err := tier.db.Marks(t.Context(), "acme", "hq", h.epoch)
		must(t, err)
		if at.Events.Seq == records {
			return true
		}
		if at.Events.Seq < records { // the hub goes on from the mark
			for _, m := range batches[at.Events.Seq:] {
				must(t, h.conn.PublishMsg(&nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}))
			}
			must(t, h.conn.FlushTimeout(time.Second))
		}
		return false
	})
	tier.Close()
	lanes, err := Audit(t.Context(), cfg)
	must(t, err)
	for _, l := range lanes {
		if !l.OK() || l.Lane == "events" && l.Org == "acme" && l.Epoch == h.epoch && l.Stored != records {
			t.Errorf("audit: %+v, want %d records, each once", l, records)
		}
	}
}
