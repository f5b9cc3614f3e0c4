package journal_test

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/journal"
	"go.etcd.io/bbolt"
)

// benchDrafts are the records of one commit: 500 readings of 130 bytes, packed.
func benchDrafts() []journal.Draft {
	reading := append([]byte(`{"sensor":"entrance-cam","kind":"count_in","value":12345,"at":"2026-03-02T09:15:30.250Z","note":"`), bytes.Repeat([]byte("x"), 29)...)
	reading = append(reading, `"},`...)
	const envelope = 200
	per := (edge.MaxRecord - envelope) / len(reading)
	var ds []journal.Draft
	for n := 500; n > 0; n -= per {
		data := bytes.Repeat(reading, min(n, per))
		data = append([]byte{'['}, data...)
		data[len(data)-1] = ']'
		ds = append(ds, journal.Draft{Lane: edge.Readings, Input: true, Type: "readings", Data: data})
	}
	return ds
}

const benchReadings = 500

// BenchmarkCommit measures durable commits of 500 readings. Compare BenchmarkBareBbolt.
func BenchmarkCommit(b *testing.B) {
	j, err := journal.Open(journal.Options{Dir: b.TempDir(), Source: "site-1"})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	ds, at := benchDrafts(), time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(time.Millisecond)
		if _, err := j.Commit(at, ds, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*benchReadings)/b.Elapsed().Seconds(), "readings/s")
	b.ReportMetric(float64(j.Stats().BytesWritten)/float64(b.N*benchReadings), "B-written/reading")
	b.ReportMetric(float64(j.Stats().Bytes)/float64(b.N*benchReadings), "B-kept/reading")
}

// BenchmarkBareBbolt puts the same bytes into one bucket of one bbolt file, and nothing else.
func BenchmarkBareBbolt(b *testing.B) {
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "bare"), 0o600, &bbolt.Options{PageSize: 4096, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	name := []byte("readings")
	if err := db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(name); return err }); err != nil {
		b.Fatal(err)
	}
	var values [][]byte
	for i, d := range benchDrafts() {
		r := edge.Record{Epoch: "0123456789abcdef0123456789abcdef", Lane: d.Lane, Seq: uint64(1e6 + i), Commit: 1e5, Input: true, Source: "site-1", Type: d.Type, Time: time.Unix(1e9, 0), Data: d.Data}
		values = append(values, r.AppendJSON(make([]byte, 4)))
	}
	seq := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		err := db.Update(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket(name)
			bucket.FillPercent = 1
			for _, v := range values {
				seq++
				if err := bucket.Put(binary.BigEndian.AppendUint64(nil, seq), v); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*benchReadings)/b.Elapsed().Seconds(), "readings/s")
	stats := db.Stats().TxStats
	b.ReportMetric(float64(stats.GetPageAlloc())/float64(b.N*benchReadings), "B-written/reading")
}

// BenchmarkSmallCommit measures what a site at rest pays: one reading and, every other time, an
// event, each in a commit of its own.
func BenchmarkSmallCommit(b *testing.B) {
	j, err := journal.Open(journal.Options{Dir: b.TempDir(), Source: "site-1"})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	reading := journal.Draft{Lane: edge.Readings, Input: true, Type: "readings", Data: append(bytes.Repeat([]byte(" "), 128), "[]"...)}
	change := journal.Draft{Lane: edge.Events, Type: "occupancy.changed", Subject: "room-1", Data: append(bytes.Repeat([]byte(" "), 250), "{}"...)}
	at, n := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), 0
	for b.Loop() {
		at = at.Add(time.Millisecond)
		ds := []journal.Draft{reading, change}[:1+n%2]
		if _, err := j.Commit(at, ds, nil); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(j.Stats().BytesWritten)/float64(n), "B-written/commit")
}

// BenchmarkRead measures the uplink's reading, in batches of 256 KiB.
func BenchmarkRead(b *testing.B) {
	j, err := journal.Open(journal.Options{Dir: b.TempDir(), Source: "site-1"})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	ds, at := benchDrafts(), time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for range 200 {
		at = at.Add(time.Millisecond)
		if _, err := j.Commit(at, ds, nil); err != nil {
			b.Fatal(err)
		}
	}
	start := journal.Mark{Epoch: j.Epoch()}
	m, records := start, 0
	b.ReportAllocs()
	for b.Loop() {
		s, err := j.Read(edge.Readings, m, 256<<10)
		if err != nil {
			b.Fatal(err)
		}
		if m.Seq = s.First + uint64(len(s.Records)) - 1; len(s.Records) == 0 {
			m = start
		}
		records += len(s.Records)
	}
	perRecord := float64(benchReadings) / float64(len(ds))
	b.ReportMetric(float64(records)*perRecord/b.Elapsed().Seconds(), "readings/s")
}
