package wire_test

import (
	"errors"
	"testing"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

func TestAfter(t *testing.T) {
	all := lines(10, 30) // sequences 1..10
	at := func(seq uint64) wire.Mark {
		return wire.Mark{Epoch: epoch, Seq: seq, CRC: chain(0, all[:seq])}
	}
	run := func(first, last, lost uint64) wire.Batch {
		return wire.Batch{Epoch: epoch, Lane: edge.Events, First: first, CRC: at(first - 1).CRC, Lost: lost, Records: all[first-1 : last]}
	}
	cloned := run(4, 6, 0)
	cloned.CRC++
	other := at(3)
	other.Epoch = "ffffffffffffffffffffffffffffffff"
	for name, tc := range map[string]struct {
		b     wire.Batch
		m     wire.Mark
		first uint64 // of rest
		n     int    // records of rest
		lost  uint64
		next  wire.Mark
		err   error
	}{
		"the first batch":                    {b: run(1, 3, 0), m: at(0), first: 1, n: 3, next: at(3)},
		"the next batch":                     {b: run(4, 6, 0), m: at(3), first: 4, n: 3, next: at(6)},
		"all of it applied":                  {b: run(4, 6, 0), m: at(6), first: 7, next: at(6)},
		"long applied":                       {b: run(4, 6, 0), m: at(9), first: 4, next: at(9)},
		"the first half applied":             {b: run(4, 8, 0), m: at(6), first: 7, n: 2, next: at(8)},
		"a gap":                              {b: run(6, 8, 0), m: at(3), err: wire.ErrGap},
		"a declared gap":                     {b: run(6, 8, 2), m: at(3), first: 6, n: 3, lost: 2, next: at(8)},
		"a declared gap, part of it applied": {b: run(6, 8, 4), m: at(3), first: 6, n: 3, lost: 2, next: at(8)},
		"a gap declared too small":           {b: run(6, 8, 1), m: at(3), err: wire.ErrGap},
		"everything before is lost":          {b: run(6, 8, 5), m: at(0), first: 6, n: 3, lost: 5, next: at(8)},
		"a declared gap applied before":      {b: run(6, 8, 2), m: at(6), first: 7, n: 2, next: at(8)},
		"another chain":                      {b: cloned, m: at(3), err: wire.ErrConflict},
		"another chain in the overlap":       {b: cloned, m: at(5), err: wire.ErrConflict},
		"another epoch":                      {b: run(4, 6, 0), m: other, err: wire.ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			rest, next, err := tc.b.After(tc.m)
			if !errors.Is(err, tc.err) {
				t.Fatalf("got error %v, want %v", err, tc.err)
			}
			if err != nil {
				if next != tc.m || len(rest.Records) != 0 {
					t.Errorf("refused, but next %v and %d records", next, len(rest.Records))
				}
				return
			}
			if rest.First != tc.first || len(rest.Records) != tc.n || rest.Lost != tc.lost || next != tc.next {
				t.Errorf("got first %d, %d records, %d lost, next %v; want %d, %d, %d, %v",
					rest.First, len(rest.Records), rest.Lost, next, tc.first, tc.n, tc.lost, tc.next)
			}
			if tc.n > 0 {
				if crc, err := rest.Verify(); err != nil || crc != next.CRC {
					t.Errorf("rest verifies to %08x, %v; want %08x", crc, err, next.CRC)
				}
			}
		})
	}
}

func TestParseUp(t *testing.T) {
	for subject, want := range map[string][4]string{
		"up.acme.hq-oslo.events":      {"acme", "hq-oslo", "events", "ok"},
		"up.acme.hq-oslo.cmd.42":      {"acme", "hq-oslo", "cmd.42", "ok"},
		"down.acme.hq-oslo.mark":      {},
		"up.acme.hq-oslo":             {},
		"up.acme..events":             {},
		"up.acme.HQ.events":           {},
		"up.acme.*.events":            {},
		"up.acme.hq-oslo.":            {},
		wire.UpSubject("a", "b", "c"): {"a", "b", "c", "ok"},
	} {
		org, site, what, ok := wire.ParseUp(subject)
		if got := [4]string{org, site, what, map[bool]string{true: "ok"}[ok]}; got != want {
			t.Errorf("%s: got %q, want %q", subject, got, want)
		}
	}
}
