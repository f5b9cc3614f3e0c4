package engine

import (
	"encoding/binary"
	"fmt"
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
// dedupDepth keys a sensor, on sites of more than 128 sensors dedupTotal in all, divided among
// them; the oldest is forgotten first. A reading that is sent again after that many others of
// its sensor is taken anew.
type dedup struct {
	depth int                   // keys a sensor
	rings map[string]*dedupRing // by sensor, or device while no sensor is known
}

// dedupRing holds the keys of one sensor and an index of them: a hash table with linear probing
// that is at most half full. The keys are hashes already.
type dedupRing struct {
	keys  []uint64
	at    []int64 // when each was received last, ms
	next  int     // the oldest, once the ring is full
	index []int16 // position in keys + 1; 0 = free; its length is a power of two
}

const (
	dedupDepth     = 1024
	dedupLeast     = 64
	dedupTotal     = 128 << 10
	shortSeqWindow = 10 * time.Minute
)

func newDedup() *dedup { return &dedup{depth: dedupDepth, rings: map[string]*dedupRing{}} }

// fit makes room for a number of sensors, and forgets those that are not wanted any more.
func (d *dedup) fit(sensors int, wanted func(who string) bool) {
	d.depth = min(max(dedupLeast, dedupTotal/max(1, sensors)), dedupDepth)
	for who, g := range d.rings {
		if !wanted(who) {
			delete(d.rings, who)
			continue
		}
		g.cut(d.depth)
	}
}

// cut leaves the newest keys, in order.
func (g *dedupRing) cut(most int) {
	n := len(g.keys)
	keys, at := make([]uint64, 0, min(n, most)), make([]int64, 0, min(n, most))
	for i := max(0, n-most); i < n; i++ {
		k := (g.next + i) % n
		keys, at = append(keys, g.keys[k]), append(at, g.at[k])
	}
	g.keys, g.at, g.next = keys, at, 0
	g.reindex()
}

// take remembers r and tells whether it is new. What is not new stays as it is remembered.
func (d *dedup) take(who string, r *edge.Reading) bool {
	key, ok := dedupKey(who, r)
	if !ok {
		return true
	}
	ring := d.rings[who]
	if ring == nil {
		ring = &dedupRing{}
		d.rings[who] = ring
	}
	rx := r.Received.UnixMilli()
	i, known := ring.find(key)
	switch {
	case !known:
		ring.add(key, rx, d.depth)
	case r.Timed || !shortSeq(r.Seq) || rx-ring.at[i] < shortSeqWindow.Milliseconds():
		return false
	default:
		ring.at[i] = rx
	}
	return true
}

func (g *dedupRing) find(key uint64) (int, bool) {
	if len(g.index) == 0 {
		return 0, false
	}
	i := g.index[g.slot(key)]
	return int(i) - 1, i != 0
}

// slot is where the key stands in the index, or would stand.
func (g *dedupRing) slot(key uint64) int {
	mask := len(g.index) - 1
	s := home(key) & mask
	for g.index[s] != 0 && g.keys[g.index[s]-1] != key {
		s = (s + 1) & mask
	}
	return s
}

// home is where a key stands in the index when nothing else does: FNV's low bits alone know
// little of the text.
func home(key uint64) int { return int(uint32(key) ^ uint32(key>>32)) }

// add remembers a key that is not known, and forgets the oldest one if there is no room.
func (g *dedupRing) add(key uint64, rx int64, depth int) {
	if len(g.keys) < depth {
		g.keys, g.at = append(g.keys, key), append(g.at, rx)
		if 2*len(g.keys) > len(g.index) {
			g.reindex()
			return
		}
		g.index[g.slot(key)] = int16(len(g.keys))
		return
	}
	g.forget(g.slot(g.keys[g.next]))
	g.keys[g.next], g.at[g.next] = key, rx
	g.index[g.slot(key)] = int16(g.next + 1)
	g.next = (g.next + 1) % len(g.keys)
}

// forget empties a slot and closes the gap, so that what stands behind is still found.
func (g *dedupRing) forget(free int) {
	mask := len(g.index) - 1
	for s := (free + 1) & mask; g.index[s] != 0; s = (s + 1) & mask {
		if (s-home(g.keys[g.index[s]-1]))&mask >= (s-free)&mask {
			g.index[free] = g.index[s]
			free = s
		}
	}
	g.index[free] = 0
}

// reindex makes the index anew, for up to twice as many keys.
func (g *dedupRing) reindex() {
	size := 8
	for size < 2*len(g.keys) {
		size *= 2
	}
	g.index = make([]int16, size)
	for i, key := range g.keys {
		g.index[g.slot(key)] = int16(i + 1)
	}
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

// entries lists the keys of each sensor, oldest first: 8 bytes, then the time of receipt in ms
// as a varint relative to the one before. There may be 100,000 of them in a checkpoint.
func (d *dedup) entries() map[string][]byte {
	out := make(map[string][]byte, len(d.rings))
	for who, g := range d.rings {
		b, last := make([]byte, 0, 11*len(g.keys)), int64(0)
		for i := range g.keys {
			k := (g.next + i) % len(g.keys)
			b = binary.LittleEndian.AppendUint64(b, g.keys[k])
			b = binary.AppendVarint(b, g.at[k]-last)
			last = g.at[k]
		}
		out[who] = b
	}
	return out
}

func (d *dedup) restore(rings map[string][]byte) error {
	for who, b := range rings {
		g, last := &dedupRing{}, int64(0)
		for len(b) > 0 && len(g.keys) < dedupDepth {
			if len(b) < 9 {
				return fmt.Errorf("keys of %s end early", who)
			}
			step, n := binary.Varint(b[8:])
			if n <= 0 {
				return fmt.Errorf("keys of %s are damaged", who)
			}
			last += step
			g.keys, g.at = append(g.keys, binary.LittleEndian.Uint64(b)), append(g.at, last)
			b = b[8+n:]
		}
		g.reindex()
		d.rings[who] = g
	}
	return nil
}
