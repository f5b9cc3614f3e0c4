package ingest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// FuzzRecord feeds bytes of hubs to what reads records: whatever they are, the outcome is an
// error or a row that keeps them.
func FuzzRecord(f *testing.F) {
	epoch := strings.Repeat("a", 32)
	for _, r := range []edge.Record{
		{Type: "occupancy.changed", Subject: "room", Data: json.RawMessage(`{"space":"room","state":"occupied","count":3,"as_of":"2026-03-02T08:00:00Z"}`)},
		{Type: "alert.raised", Subject: "a", Data: json.RawMessage(`{"id":"a","state":"firing"}`)},
		{Type: "loss", Data: json.RawMessage(`{"cause":"x","count":2}`)},
		{Type: "readings", Data: json.RawMessage(`[{"sensor":"s","device":"d","rx":1,"values":[["co2_ppm","absolute",400]]}]`)},
	} {
		r.Epoch, r.Lane, r.Seq, r.Source, r.Time = epoch, edge.Events, 1, "hq", time.Unix(1772438400, 0)
		f.Add(r.AppendJSON(nil))
	}
	f.Add([]byte(`{"specversion":"1.0","id":"` + epoch + `-events-1","type":"occupancy.changed","time":"0000-01-01T00:00:00Z","commit":"1","data":{"space":""}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		rec, err := parse(body, epoch, edge.Events, 1)
		if err != nil {
			return
		}
		if e, err := event(rec, body); err == nil && string(e.Body) != string(body) {
			t.Errorf("the row has other bytes")
		}
		newest := map[string]edge.Reading{}
		sensors, err := readings(rec, newest)
		if err == nil && len(newest) != len(sensors) {
			t.Errorf("%d sensors, newest of %d", len(sensors), len(newest))
		}
	})
}

// FuzzRequest feeds bodies of heartbeats and snapshots: what passes can be stored.
func FuzzRequest(f *testing.F) {
	epoch := strings.Repeat("a", 32)
	f.Add(true, []byte(`{"version":1,"site":"hq","epoch":"`+epoch+`","events":{"head":3}}`))
	f.Add(false, []byte(`{"epoch":"`+epoch+`","seq":7,"model":{"id":"hq"},"spaces":[{"space":"room","count":null}]}`))
	f.Add(false, []byte(`{"epoch":"`+epoch+`","seq":9223372036854775808}`))
	f.Fuzz(func(t *testing.T, beat bool, body []byte) {
		what := wire.UpSnapshot
		if beat {
			what = wire.UpHeartbeat
		}
		r := readRequest(&nats.Msg{Subject: wire.UpSubject("acme", "hq", what), Data: body})
		switch {
		case r.err != nil:
		case beat && !wire.ValidEpoch(r.beat.Epoch):
			t.Errorf("epoch %q passed", r.beat.Epoch)
		case !beat && (!wire.ValidEpoch(r.snapshot.Epoch) || r.snapshot.Seq > maxSeq):
			t.Errorf("snapshot %+v passed", r.snapshot)
		}
	})
}
