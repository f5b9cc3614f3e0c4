package engine

import (
	"math"
	"strconv"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// dedup remembers the newest readings of each sensor, so that what a transport sends again is
// taken once.
//
// Key: sensor, device time, sequence, values. A reading with neither a time of its own nor a
// sequence has no key and is never a duplicate. A short sequence (below 65,536) without a time
// repeats in normal operation: it is a duplicate only within shortSeqWindow. Memory is bounded:
// dedupDepth keys a sensor, the oldest is forgotten first; a reading that is sent again after
// that many others of its sensor is taken anew.
type dedup struct {
	seen  map[uint64]int64      // key -> time of receipt, ms
	rings map[string]*dedupRing // by sensor, or device while no sensor is known
}

type dedupRing struct {
	keys []uint64
	next int
}

const (
	dedupDepth     = 1024
	shortSeqWindow = 10 * time.Minute
)

func newDedup() *dedup {
	return &dedup{seen: map[uint64]int64{}, rings: map[string]*dedupRing{}}
}

// duplicate tells whether r was taken before; it does not remember r.
func (d *dedup) duplicate(who string, r *edge.Reading) bool {
	key, ok := dedupKey(who, r)
	if !ok {
		return false
	}
	rx, seen := d.seen[key]
	if !seen {
		return false
	}
	if !r.Timed && shortSeq(r.Seq) {
		return r.Received.UnixMilli()-rx < shortSeqWindow.Milliseconds()
	}
	return true
}

// add remembers r.
func (d *dedup) add(who string, r *edge.Reading) {
	key, ok := dedupKey(who, r)
	if !ok {
		return
	}
	_, known := d.seen[key]
	d.seen[key] = r.Received.UnixMilli()
	if known {
		return
	}
	ring := d.rings[who]
	if ring == nil {
		ring = &dedupRing{}
		d.rings[who] = ring
	}
	if len(ring.keys) < dedupDepth {
		ring.keys = append(ring.keys, key)
		return
	}
	delete(d.seen, ring.keys[ring.next])
	ring.keys[ring.next] = key
	ring.next = (ring.next + 1) % dedupDepth
}

func shortSeq(s string) bool {
	n, err := strconv.ParseUint(s, 10, 64)
	return err == nil && n < 1<<16
}

// dedupKey is the 64-bit FNV-1a hash of what identifies a reading. Two different readings of
// one sensor collide with a probability of 1024 / 2^64.
func dedupKey(who string, r *edge.Reading) (uint64, bool) {
	if !r.Timed && r.Seq == "" {
		return 0, false
	}
	h := fnvString(fnvOffset, who)
	if r.Timed {
		h = fnvWord(h, uint64(r.At.UnixMilli()))
	}
	h = fnvString(h, r.Seq)
	for _, v := range r.Values {
		h = fnvString(h, string(v.Kind))
		h = fnvString(h, string(v.Semantics))
		h = fnvWord(h, uint64(v.Type)<<56^math.Float64bits(v.Num))
		h = fnvString(h, v.Text)
	}
	return h, true
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func fnvString(h uint64, s string) uint64 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return (h ^ 0xff) * fnvPrime // ends the field
}

func fnvWord(h, w uint64) uint64 {
	for range 8 {
		h = (h ^ w&0xff) * fnvPrime
		w >>= 8
	}
	return h
}
