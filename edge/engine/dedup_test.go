package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// modelDedup is what dedup promises, said slowly.
type modelDedup struct {
	keys []uint64
	at   map[uint64]int64
}

func (m *modelDedup) take(r *edge.Reading) bool {
	key, ok := dedupKey("s", r)
	if !ok {
		return true
	}
	rx := r.Received.UnixMilli()
	if was, known := m.at[key]; known {
		if r.Timed || !shortSeq(r.Seq) || rx-was < shortSeqWindow.Milliseconds() {
			return false
		}
		m.at[key] = rx
		return true
	}
	if len(m.keys) == dedupDepth {
		delete(m.at, m.keys[0])
		m.keys = m.keys[1:]
	}
	m.keys, m.at[key] = append(m.keys, key), rx
	return true
}

func TestDedupRemembersTheNewestKeysAndOutlivesACheckpoint(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	d, m := newDedup(), &modelDedup{at: map[uint64]int64{}}
	now := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	for i := range 20_000 {
		now = now.Add(time.Duration(rnd.IntN(2000)) * time.Millisecond)
		r := edge.Reading{Received: now, Seq: fmt.Sprint(rnd.IntN(3000)), Values: []edge.Value{edge.NumberValue(edge.CountIn, edge.Delta, 1)}}
		if rnd.IntN(2) == 0 {
			r.At, r.Timed = now.Truncate(time.Minute), true
		}
		if got, want := d.take("s", &r), m.take(&r); got != want {
			t.Fatalf("seed %d, reading %d: taken %v, want %v", seed, i, got, want)
		}
		if i%3000 == 0 {
			again := newDedup()
			if err := again.restore(d.entries()); err != nil {
				t.Fatal(err)
			}
			d = again
		}
	}
	g := d.rings["s"]
	if len(g.keys) != dedupDepth || len(g.index) != 2*dedupDepth {
		t.Errorf("%d keys, index of %d; want %d and %d", len(g.keys), len(g.index), dedupDepth, 2*dedupDepth)
	}
	if used := len(g.index) - len(slices.DeleteFunc(slices.Clone(g.index), func(i int16) bool { return i != 0 })); used != dedupDepth {
		t.Errorf("the index has %d entries, want %d", used, dedupDepth)
	}
}

func TestDedupRefusesDamagedKeys(t *testing.T) {
	for _, b := range [][]byte{{1}, {1, 2, 3, 4, 5, 6, 7, 8}, {1, 2, 3, 4, 5, 6, 7, 8, 0x80}} {
		if err := newDedup().restore(map[string][]byte{"s": b}); err == nil {
			t.Errorf("keys % x were taken", b)
		}
	}
}
