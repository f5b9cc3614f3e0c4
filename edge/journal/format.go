package journal

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// format is the version of the files. A store of a newer one is refused.
const format = 1

// lanes is the number of lanes; per-lane arrays are in the order of edge.Lanes.
const lanes = len(edge.Lanes)

// The segment's buckets.
var (
	bucketHeader     = []byte("header")
	bucketLane       = [lanes][]byte{[]byte(edge.Lanes[0]), []byte(edge.Lanes[1])}
	bucketCommits    = []byte("commits")
	bucketCheckpoint = []byte("checkpoint")
	bucketMarks      = []byte("marks")
	keyOnly          = []byte("v") // the key of buckets with one value
)

const readingsLane = 1

// laneIndex is the lane's index in edge.Lanes, -1 when there is no such lane.
func laneIndex(l edge.Lane) int {
	for i := range edge.Lanes {
		if edge.Lanes[i] == l {
			return i
		}
	}
	return -1
}

// Head is the newest record of a lane.
type Head struct {
	Seq uint64 `json:"seq"` // 0 = none in this epoch
	CRC uint32 `json:"crc"` // chained CRC up to it
}

// Mark says up to where the cloud has applied a lane.
type Mark struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
	CRC   uint32 `json:"crc"`
}

// Lost is a range of records of one lane that the cloud has not confirmed and will not get.
type Lost struct {
	Epoch string    `json:"epoch"`
	Lane  edge.Lane `json:"lane"`
	From  uint64    `json:"from"`
	To    uint64    `json:"to"`    // inclusive; 0 = not known, perhaps nothing
	Count uint64    `json:"count"` // 0 = not known
	Cause string    `json:"cause"` // "quota", "damaged", "restored", "missing", "new epoch"
}

func lost(epoch string, lane int, after, to uint64, cause string) Lost {
	return Lost{Epoch: epoch, Lane: edge.Lanes[lane], From: after + 1, To: to, Count: to - after, Cause: cause}
}

// epochEnd is an epoch that is over. Nothing of it beyond Heads is ever sent.
type epochEnd struct {
	Epoch string      `json:"epoch"`
	Heads [lanes]Head `json:"heads"`
}

// extent is how far a segment or the journal reaches.
type extent struct {
	Commit  uint64       `json:"commit"`
	Heads   [lanes]Head  `json:"heads"`
	FirstAt time.Time    `json:"first_at,omitzero"` // engine time of its first commit; zero = none
	LastAt  time.Time    `json:"last_at,omitzero"`
	Bytes   [lanes]int64 `json:"bytes"` // of the records in it
}

// header stands in every segment and says what came before it.
type header struct {
	Format int        `json:"format"`
	Number uint64     `json:"number"`
	Source string     `json:"source"`
	Epoch  string     `json:"epoch"`
	Start  extent     `json:"start"`            // the end of the segment before, zero at the start of an epoch
	Ends   []epochEnd `json:"ends,omitempty"`   // the epochs before this one, oldest first
	Reason string     `json:"reason,omitempty"` // in an epoch's first segment: why it began
	Lost   []Lost     `json:"lost,omitempty"`   // in an epoch's first segment: what is lost with the old one
	Slim   *extent    `json:"slim,omitempty"`   // set when the readings were dropped: the segment's end
}

// seal appends a checksum to a small JSON document.
func seal(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := crc32.Checksum(b, castagnoli)
	return append(b, "\n"+strconv.FormatUint(uint64(sum), 16)+"\n"...), nil
}

// unseal checks what seal wrote and reads it into v.
func unseal(b []byte, v any) error {
	body, rest, ok := strings.Cut(string(b), "\n")
	sum, err := strconv.ParseUint(strings.TrimSuffix(rest, "\n"), 16, 32)
	if !ok || err != nil || uint32(sum) != crc32.Checksum([]byte(body), castagnoli) {
		return damaged("checksum does not match")
	}
	if err := json.Unmarshal([]byte(body), v); err != nil {
		return damaged("%v", err)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// key is the bucket key of a sequence or commit number.
func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// recordValue splits a stored record into its chained CRC and its bytes, which share memory with
// v. The CRC is checked against the record before, whose CRC is prev.
func recordValue(v []byte, prev uint32) (record []byte, crc uint32, err error) {
	if len(v) < 4 {
		return nil, 0, damaged("record of %d bytes", len(v))
	}
	record, crc = v[4:], binary.BigEndian.Uint32(v)
	if got := edge.Chain(prev, record); got != crc {
		return nil, 0, damaged("record has CRC %08x, its bytes give %08x", crc, got)
	}
	return record, crc, nil
}

// commitEntry is the index entry of one commit.
type commitEntry struct {
	at    int64         // engine time in Unix milliseconds
	last  [lanes]uint64 // newest sequence after the commit
	n     [lanes]uint32 // records in it
	bytes [lanes]uint64 // of the segment's records up to and with it
}

const commitEntrySize = 8 + lanes*(8+4+8) + 4

func (e *commitEntry) append(b []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint64(b, uint64(e.at))
	for i := range e.last {
		b = binary.BigEndian.AppendUint64(b, e.last[i])
		b = binary.BigEndian.AppendUint32(b, e.n[i])
		b = binary.BigEndian.AppendUint64(b, e.bytes[i])
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func parseCommitEntry(v []byte) (e commitEntry, err error) {
	if len(v) != commitEntrySize {
		return e, damaged("commit entry of %d bytes, want %d", len(v), commitEntrySize)
	}
	body := v[:len(v)-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(v[len(body):]) {
		return e, damaged("commit entry: checksum does not match")
	}
	e.at = int64(binary.BigEndian.Uint64(body))
	body = body[8:]
	for i := range e.last {
		e.last[i] = binary.BigEndian.Uint64(body)
		e.n[i] = binary.BigEndian.Uint32(body[8:])
		e.bytes[i] = binary.BigEndian.Uint64(body[12:])
		if uint64(e.n[i]) > e.last[i] {
			return e, damaged("commit entry: %d records up to sequence %d", e.n[i], e.last[i])
		}
		body = body[20:]
	}
	return e, nil
}

func (e *commitEntry) first(lane int) uint64 { return e.last[lane] - uint64(e.n[lane]) + 1 }

func (e *commitEntry) time() time.Time { return time.UnixMilli(e.at).UTC() }
