package wire_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// update writes golden files that do not exist yet. It never changes one that does: what was once
// sent is decoded for ever.
var update = flag.Bool("update", false, "write the golden files that are missing")

func at(ms int) time.Time {
	return time.Date(2026, 11, 21, 9, 15, 0, ms*1e6, time.UTC)
}

// goldenRecords are records of both lanes as this version writes them.
func goldenRecords(lane edge.Lane) [][]byte {
	door := edge.Reading{
		Sensor: "entrance-cam", Device: "xovis:00:6E:02:00:11:22", Received: at(0), At: at(-250), From: at(-60250), Timed: true, Seq: "17",
		Values: []edge.Value{edge.NumberValue(edge.CountIn, edge.Cumulative, 1204), edge.NumberValue(edge.CountOut, edge.Cumulative, 1187)},
	}
	pir := edge.Reading{
		Device: "zigbee2mqtt/pir \"7\"", Received: at(20), At: at(20), Backfill: true, Quality: edge.BadClock,
		Values: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, true), edge.NumberValue(edge.BatteryV, edge.State, 2.95), edge.TextValue(edge.Health, edge.State, "gut ⚡")},
	}
	record := func(seq uint64, typ, subject string, input bool, data string) []byte {
		r := edge.Record{Epoch: epoch, Lane: lane, Seq: seq, Commit: 40 + seq, Input: input, Source: "hq-oslo", Type: typ, Subject: subject, Time: at(100), Data: json.RawMessage(data)}
		if typ == "alert.cleared" {
			r.At = at(-5000)
		}
		return r.AppendJSON(nil)
	}
	if lane == edge.Readings {
		return [][]byte{
			record(7, "readings", "", true, "["+string(door.AppendJSON(nil))+","+string(pir.AppendJSON(nil))+"]"),
			record(8, "readings", "", true, "["+string(pir.AppendJSON(nil))+"]"),
		}
	}
	return [][]byte{
		record(1, "input.boot", "", true, `{"id":"b1","version":"0.1.0","clock":"synced"}`),
		record(2, "occupancy.changed", "lobby", false, `{"space":"lobby","state":"occupied","count":3,"low":2,"high":5}`),
		record(3, "alert.cleared", "over-capacity/lobby", false, `{"rule":"over-capacity"}`),
	}
}

// goldenBatches are the messages that the golden files hold.
func goldenBatches() map[string]wire.Batch {
	many := wire.Batch{Epoch: epoch, Lane: edge.Readings, First: 100, CRC: 0xdeadbeef}
	for i := range 40 {
		r := edge.Reading{Sensor: "s", Device: "d", Received: at(i), At: at(i), Values: []edge.Value{edge.NumberValue(edge.CO2PPM, edge.Absolute, float64(400+i))}}
		rec := edge.Record{Epoch: epoch, Lane: edge.Readings, Seq: 100 + uint64(i), Commit: 9, Input: true, Source: "hq-oslo", Type: "readings", Time: at(i), Data: json.RawMessage("[" + string(r.AppendJSON(nil)) + "]")}
		many.Records = append(many.Records, rec.AppendJSON(nil))
	}
	return map[string]wire.Batch{
		"v1-events":        {Epoch: epoch, Lane: edge.Events, First: 1, Records: goldenRecords(edge.Events)},
		"v1-events-plain":  {Epoch: epoch, Lane: edge.Events, First: 1, Records: goldenRecords(edge.Events)[:1]},
		"v1-readings-lost": {Epoch: epoch, Lane: edge.Readings, First: 7, CRC: 0x00c0ffee, Lost: 4, Records: goldenRecords(edge.Readings)},
		"v1-readings-zstd": many,
	}
}

// A golden message is a file of header lines, an empty line, and the payload.
func writeMessage(header map[string][]string, payload []byte) []byte {
	var b bytes.Buffer
	for _, k := range slices.Sorted(maps.Keys(header)) {
		fmt.Fprintf(&b, "%s: %s\n", k, header[k][0])
	}
	b.WriteByte('\n')
	b.Write(payload)
	return b.Bytes()
}

func readMessage(t *testing.T, path string) (header map[string][]string, payload []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, payload, ok := bytes.Cut(b, []byte("\n\n"))
	if !ok {
		t.Fatalf("%s: no empty line after the headers", path)
	}
	header = map[string][]string{}
	for s := bufio.NewScanner(bytes.NewReader(head)); s.Scan(); {
		k, v, _ := strings.Cut(s.Text(), ": ")
		header[k] = append(header[k], v)
	}
	return header, payload
}

func writeMissing(t *testing.T, path string, content []byte) {
	t.Helper()
	if _, err := os.Stat(path); err == nil || !*update {
		return
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Every message that was ever written decodes to the same batch.
func TestGoldenBatchesDecode(t *testing.T) {
	want := goldenBatches()
	for name, b := range want {
		header, payload, err := wire.Encode(b)
		if err != nil {
			t.Fatal(err)
		}
		writeMissing(t, filepath.Join("testdata", name+".batch"), writeMessage(header, payload))
	}
	files, err := filepath.Glob("testdata/*.batch")
	if err != nil || len(files) < len(want) {
		t.Fatalf("%d golden batches (%v), want at least %d", len(files), err, len(want))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".batch")
		got, err := wire.Decode(readMessage(t, file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !same(got, want[name]) {
			t.Errorf("%s: got %+v, want %+v", name, got, want[name])
		}
		for i, r := range got.Records {
			if _, err := edge.ParseRecord(r); err != nil {
				t.Errorf("%s: record %d: %v", name, i, err)
			}
		}
	}
}

// This version writes plain messages exactly so. Compressed ones may differ from one release of the
// compressor to the next; there the headers are compared.
func TestGoldenBatchesAreWrittenSo(t *testing.T) {
	for name, b := range goldenBatches() {
		header, payload, err := wire.Encode(b)
		if err != nil {
			t.Fatal(err)
		}
		wantHeader, wantPayload := readMessage(t, filepath.Join("testdata", name+".batch"))
		if !maps.EqualFunc(header, wantHeader, slices.Equal) {
			t.Errorf("%s: headers\n got %v\nwant %v", name, header, wantHeader)
		}
		if len(header[wire.HeaderEncoding]) == 0 && !bytes.Equal(payload, wantPayload) {
			t.Errorf("%s: payload\n got %s\nwant %s", name, payload, wantPayload)
		}
	}
}

func goldenBodies() map[string]any {
	three := 3
	mark := wire.Mark{Epoch: epoch, Seq: 12, CRC: 0x12345678}
	return map[string]any{
		"v1-marks":          &wire.Marks{Events: mark, Readings: wire.Mark{Epoch: epoch}},
		"v1-marks-resend":   &wire.Marks{Events: mark, Readings: mark, Resend: edge.Readings},
		"v1-marks-conflict": &wire.Marks{Events: mark, Readings: mark, Conflict: "batch does not continue the applied chain"},
		"v1-heartbeat": &wire.Heartbeat{
			Version: 1, Site: "hq-oslo", Name: "Oslo HQ", Epoch: epoch, Boot: "b1", Time: at(0), Clock: "synced", Software: "0.1.0", StartedAt: at(-1000),
			Events: wire.Position{Head: 20, Mark: 12, OldestUnsent: at(-500)}, Readings: wire.Position{Head: 8, Mark: 8}, ConfigRev: "c1", HorizonSec: 950400,
		},
		"v1-heartbeat-reply":       &wire.HeartbeatReply{Version: 1, Marks: wire.Marks{Events: mark, Readings: mark}, Time: at(0), ConfigRev: "c2"},
		"v1-heartbeat-reply-error": &wire.HeartbeatReply{Version: 1, Time: at(0), Error: "the cloud cannot write now"},
		"v1-snapshot": &wire.Snapshot{
			Version: 1, Epoch: epoch, Seq: 20, Time: at(0),
			Site: edge.Site{ID: "hq-oslo", Timezone: "Europe/Oslo", Spaces: []edge.Space{{ID: "lobby", Kind: edge.Room, Capacity: 40}}},
			Spaces: []edge.Occupancy{
				{Space: "lobby", State: edge.Occupied, Count: &three, Low: &three, High: &three, Quality: edge.QualityGood, AsOf: at(0), Since: at(-9000)},
				{Space: "attic", State: edge.Unknown, Quality: edge.QualityNone, AsOf: at(0)},
			},
			Alerts:  []edge.Alert{{ID: "a1", Rule: "over-capacity", Subject: "lobby", SubjectKind: "room", Severity: edge.Critical, State: edge.StateFiring, Since: at(0)}},
			Sensors: []edge.SensorStatus{{Sensor: edge.Sensor{ID: "pir-101", Space: "lobby"}, Status: "ok", LastSeen: at(0), Readings: 5}},
		},
	}
}

// Golden JSON bodies are read, and all that stands in them is still written; members may be added.
func TestGoldenBodies(t *testing.T) {
	for name, v := range goldenBodies() {
		got, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name+".json")
		writeMissing(t, path, append(got, '\n'))
		golden, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var want, written any
		if err := errors.Join(json.Unmarshal(golden, &want), json.Unmarshal(got, &written)); err != nil {
			t.Fatal(err)
		}
		if missing := lacks(written, want, name); missing != "" {
			t.Errorf("%s is no longer written", missing)
		}
		if err := json.Unmarshal(golden, v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again, err := json.MarshalIndent(v, "", "  "); err != nil || !bytes.Equal(again, got) {
			t.Errorf("%s reads back as %s (%v)", name, again, err)
		}
	}
}

// lacks names the first part of want that got has not; empty when it has all.
func lacks(got, want any, path string) string {
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for k := range w {
			if missing := lacks(g[k], w[k], path+"."+k); missing != "" {
				return missing
			}
		}
		return ""
	case []any:
		g, _ := got.([]any)
		if len(g) != len(w) {
			return path
		}
		for i := range w {
			if missing := lacks(g[i], w[i], fmt.Sprint(path, ".", i)); missing != "" {
				return missing
			}
		}
		return ""
	}
	if got != want {
		return path
	}
	return ""
}
