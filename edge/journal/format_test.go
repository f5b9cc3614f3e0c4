package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/headcount-hub/headcount/edge"
)

func FuzzRecordValue(f *testing.F) {
	record := []byte(`{"specversion":"1.0"}`)
	f.Add(append(binary.BigEndian.AppendUint32(nil, edge.Chain(7, record)), record...), uint32(7))
	f.Add([]byte{1, 2, 3}, uint32(0))
	f.Add([]byte{}, uint32(0))
	f.Fuzz(func(t *testing.T, v []byte, prev uint32) {
		record, crc, err := recordValue(v, prev)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("error %v is not ErrDamaged", err)
			}
			return
		}
		if !bytes.Equal(append(binary.BigEndian.AppendUint32(nil, crc), record...), v) || edge.Chain(prev, record) != crc {
			t.Fatalf("%x decodes to %x with CRC %08x", v, record, crc)
		}
		for i := range v { // no byte can change unnoticed
			w := bytes.Clone(v)
			w[i] ^= 0x10
			if _, _, err := recordValue(w, prev); err == nil {
				t.Fatalf("byte %d of %x changed unnoticed", i, v)
			}
		}
	})
}

func FuzzCommitEntry(f *testing.F) {
	e := commitEntry{at: 1_772_442_000_000, last: [lanes]uint64{5, 900}, n: [lanes]uint32{1, 30}, bytes: [lanes]uint64{100, 60000}}
	f.Add(e.append(nil))
	f.Add((&commitEntry{}).append(nil))
	f.Add(make([]byte, commitEntrySize))
	f.Fuzz(func(t *testing.T, v []byte) {
		e, err := parseCommitEntry(v)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("error %v is not ErrDamaged", err)
			}
			return
		}
		if got := e.append(nil); !bytes.Equal(got, v) {
			t.Fatalf("%x decodes and encodes to %x", v, got)
		}
	})
}

func FuzzUnseal(f *testing.F) {
	good, err := seal(anchor{Format: format, Epoch: newEpochID()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("{}\n0\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var a anchor
		if err := unseal(b, &a); err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("error %v is not ErrDamaged", err)
		}
	})
}

func FuzzParseMeta(f *testing.F) {
	f.Add(make([]byte, metaSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != metaSize {
			return
		}
		if m := parseMeta(b); m.ok != (m != boltMeta{}) {
			t.Fatalf("%x gives %+v", b, m)
		}
	})
}

func TestSegmentNames(t *testing.T) {
	for _, n := range []uint64{1, 42, 9_999_999_999} {
		if got, ok := segmentNumber(segmentName(n)); !ok || got != n {
			t.Errorf("segment %d is named %s, which reads as %d %v", n, segmentName(n), got, ok)
		}
	}
	for _, name := range []string{"0000000000.segment", "1.segment", "000000000x.segment", "0000000001.segment.tmp", "epoch", "+000000001.segment"} {
		if n, ok := segmentNumber(name); ok {
			t.Errorf("%s reads as segment %d", name, n)
		}
	}
}

// A commit that bbolt has written and not synced yet can be seen in its transactions. Readers of
// the journal must not see it: it could be sent, and then lost by a power cut.
func TestReadersSeeOnlyWhatIsPublished(t *testing.T) {
	j, err := Open(Options{Dir: t.TempDir(), Source: "site-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	d := []Draft{{Lane: edge.Events, Type: "x", Data: []byte(`{}`)}}
	at := edge.Millis(j.end.LastAt.AddDate(2026, 0, 0))
	if _, err := j.Commit(at, d, nil); err != nil {
		t.Fatal(err)
	}
	end, err := j.build(at, d)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.store(end, nil); err != nil { // all of Commit but publish
		t.Fatal(err)
	}
	if s, err := j.Read(edge.Events, Mark{}, 1<<20); err != nil || len(s.Records) != 1 {
		t.Errorf("Read gives %d records, %v; published is 1", len(s.Records), err)
	}
	n := 0
	for range j.Commits(0) {
		n++
	}
	for range j.Scan(edge.Events, at.AddDate(-1, 0, 0), at.AddDate(1, 0, 0)) {
		n++
	}
	if n != 2 {
		t.Errorf("Commits and Scan give %d, published is 1 each", n)
	}
}
