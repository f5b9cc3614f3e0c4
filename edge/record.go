package edge

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
)

// Lane is one of the journal's two ordered sequences.
type Lane string

// The lanes: events are small and precious, readings are bulk.
const (
	Events   Lane = "events"
	Readings Lane = "readings"
)

// Lanes lists the lanes in the order in which a commit's inputs are taken.
var Lanes = [...]Lane{Events, Readings}

// MaxRecord is the size in bytes at which records are packed (bbolt stores larger values on
// pages of their own), MaxRecordHard what no record exceeds.
const (
	MaxRecord     = 2 << 10
	MaxRecordHard = 200 << 10
)

// Record is one entry of the journal. Its JSON is a CloudEvents 1.0 object; these very bytes
// lie on disk, travel to the cloud and stand in its database.
type Record struct {
	Epoch   string // 32 hex digits
	Lane    Lane
	Seq     uint64    // contiguous within (Epoch, Lane), from 1
	Commit  uint64    // the transaction it was written in; contiguous within Epoch, from 1
	Input   bool      // an input of the engine; otherwise an output, which follows from inputs
	Source  string    // site id
	Type    string    // "readings", an EventType, or an input's type
	Subject string    // what it is about; may be empty
	Time    time.Time // engine time of the commit
	At      time.Time // when the fact became true, for outputs that are older than their commit; zero = Time
	Data    json.RawMessage
}

// ID is the CloudEvents id: epoch-lane-seq.
func (r *Record) ID() string {
	return r.Epoch + "-" + string(r.Lane) + "-" + strconv.FormatUint(r.Seq, 10)
}

// AppendJSON appends the record's bytes to b. The same record always gives the same bytes.
func (r *Record) AppendJSON(b []byte) []byte {
	b = append(b, `{"specversion":"1.0","id":"`...)
	b = append(b, r.Epoch...)
	b = append(b, '-')
	b = append(b, r.Lane...)
	b = append(b, '-')
	b = strconv.AppendUint(b, r.Seq, 10)
	b = appendString(append(b, `","source":`...), r.Source)
	b = appendString(append(b, `,"type":`...), r.Type)
	if r.Subject != "" {
		b = appendString(append(b, `,"subject":`...), r.Subject)
	}
	b = append(b, `,"time":"`...)
	b = Millis(r.Time).AppendFormat(b, "2006-01-02T15:04:05.000Z")
	if !r.At.IsZero() && !r.At.Equal(r.Time) {
		b = append(b, `","at":"`...)
		b = Millis(r.At).AppendFormat(b, "2006-01-02T15:04:05.000Z")
	}
	b = append(b, `","commit":"`...)
	b = strconv.AppendUint(b, r.Commit, 10)
	b = append(b, '"')
	if r.Input {
		b = append(b, `,"input":true`...)
	}
	if len(r.Data) > 0 {
		b = append(append(b, `,"data":`...), r.Data...)
	}
	return append(b, '}')
}

// ParseRecord reads what AppendJSON wrote, and any CloudEvents JSON object of that shape. The
// Data of the result shares no memory with b.
func ParseRecord(b []byte) (Record, error) {
	var w struct {
		SpecVersion string          `json:"specversion"`
		ID          string          `json:"id"`
		Source      string          `json:"source"`
		Type        string          `json:"type"`
		Subject     string          `json:"subject"`
		Time        time.Time       `json:"time"`
		At          time.Time       `json:"at"`
		Commit      string          `json:"commit"`
		Input       bool            `json:"input"`
		Data        json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return Record{}, fmt.Errorf("record: %w", err)
	}
	if w.SpecVersion != "1.0" {
		return Record{}, fmt.Errorf("record: specversion %q, want 1.0", w.SpecVersion)
	}
	r := Record{Source: w.Source, Type: w.Type, Subject: w.Subject, Time: w.Time.UTC(), At: w.At.UTC(), Input: w.Input, Data: w.Data}
	if r.At.IsZero() {
		r.At = r.Time
	}
	parts := strings.Split(w.ID, "-")
	if len(parts) != 3 {
		return Record{}, fmt.Errorf("record id %q: want epoch-lane-seq", w.ID)
	}
	var err error
	r.Epoch, r.Lane = parts[0], Lane(parts[1])
	if r.Lane != Events && r.Lane != Readings {
		return Record{}, fmt.Errorf("record id %q: no such lane", w.ID)
	}
	if r.Seq, err = strconv.ParseUint(parts[2], 10, 64); err != nil {
		return Record{}, fmt.Errorf("record id %q: %w", w.ID, err)
	}
	if r.Commit, err = strconv.ParseUint(w.Commit, 10, 64); err != nil {
		return Record{}, fmt.Errorf("record %s: commit %q: %w", w.ID, w.Commit, err)
	}
	return r, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Chain returns the CRC-32C of record continued from prev, the CRC of the lane's record before
// it; the first record of an epoch continues 0.
func Chain(prev uint32, record []byte) uint32 { return crc32.Update(prev, castagnoli, record) }
