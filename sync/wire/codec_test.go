package wire_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

const epoch = "00112233445566778899aabbccddeeff"

// lines returns n records of size bytes each that compress well.
func lines(n, size int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		r := []byte(`{"n":` + strconv.Itoa(i) + `,"pad":"`)
		r = append(r, bytes.Repeat([]byte{'x'}, max(0, size-len(r)-2))...)
		out[i] = append(r, '"', '}')
	}
	return out
}

// noise returns n records of random bytes without newlines.
func noise(n, size int) [][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	out := make([][]byte, n)
	for i := range out {
		out[i] = make([]byte, size)
		for j := range out[i] {
			out[i][j] = byte(11 + rnd.IntN(245))
		}
	}
	return out
}

func chain(crc uint32, records [][]byte) uint32 {
	for _, r := range records {
		crc = edge.Chain(crc, r)
	}
	return crc
}

func same(a, b wire.Batch) bool {
	if a.Epoch != b.Epoch || a.Lane != b.Lane || a.First != b.First || a.CRC != b.CRC || a.Lost != b.Lost || len(a.Records) != len(b.Records) {
		return false
	}
	for i := range a.Records {
		if !bytes.Equal(a.Records[i], b.Records[i]) {
			return false
		}
	}
	return true
}

func TestRoundTrip(t *testing.T) {
	for name, tc := range map[string]struct {
		b      wire.Batch
		packed bool
	}{
		"one small record stays plain":     {wire.Batch{Epoch: epoch, Lane: edge.Events, First: 1, Records: lines(1, 40)}, false},
		"many records are compressed":      {wire.Batch{Epoch: epoch, Lane: edge.Readings, First: 7, CRC: 9, Records: lines(100, 1500)}, true},
		"noise is not compressed":          {wire.Batch{Epoch: epoch, Lane: edge.Readings, First: 7, CRC: 9, Records: noise(10, 1000)}, false},
		"the largest batch":                {wire.Batch{Epoch: epoch, Lane: edge.Readings, First: 7, Records: lines(1, wire.MaxBatch)}, true},
		"the largest batch of noise":       {wire.Batch{Epoch: epoch, Lane: edge.Readings, First: 7, Records: noise(1, wire.MaxBatch)}, false},
		"declared loss":                    {wire.Batch{Epoch: epoch, Lane: edge.Events, First: 10, CRC: 1, Lost: 9, Records: lines(2, 40)}, false},
		"the last sequence there can be":   {wire.Batch{Epoch: epoch, Lane: edge.Events, First: 1<<64 - 1, CRC: 1, Records: lines(1, 40)}, false},
		"a record that is not JSON at all": {wire.Batch{Epoch: epoch, Lane: edge.Events, First: 2, Records: [][]byte{{0xff, 0}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h, p, err := wire.Encode(tc.b)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(h[wire.HeaderEncoding]) > 0; got != tc.packed {
				t.Errorf("compressed: got %v, want %v", got, tc.packed)
			}
			if len(p) > wire.MaxBatch {
				t.Errorf("payload of %d bytes, want at most %d", len(p), wire.MaxBatch)
			}
			got, err := wire.Decode(h, p)
			if err != nil {
				t.Fatal(err)
			}
			if !same(got, tc.b) {
				t.Errorf("got %+v, want %+v", got, tc.b)
			}
			crc, err := got.Verify()
			if want := chain(tc.b.CRC, tc.b.Records); err != nil || crc != want {
				t.Errorf("Verify: got %08x, %v, want %08x", crc, err, want)
			}
		})
	}
}

func TestEncodeRefusesWhatCannotBeDecoded(t *testing.T) {
	ok := lines(2, 40)
	for name, b := range map[string]wire.Batch{
		"no records":         {Epoch: epoch, Lane: edge.Events, First: 1},
		"no epoch":           {Lane: edge.Events, First: 1, Records: ok},
		"capital epoch":      {Epoch: strings.ToUpper(epoch), Lane: edge.Events, First: 1, Records: ok},
		"unknown lane":       {Epoch: epoch, Lane: "other", First: 1, Records: ok},
		"sequence 0":         {Epoch: epoch, Lane: edge.Events, Records: ok},
		"sequence overflows": {Epoch: epoch, Lane: edge.Events, First: 1<<64 - 1, Records: ok},
		"CRC before 1":       {Epoch: epoch, Lane: edge.Events, First: 1, CRC: 5, Records: ok},
		"lost more than was": {Epoch: epoch, Lane: edge.Events, First: 3, Lost: 3, Records: ok},
		"newline inside":     {Epoch: epoch, Lane: edge.Events, First: 1, Records: [][]byte{[]byte("{\n}")}},
		"empty record":       {Epoch: epoch, Lane: edge.Events, First: 1, Records: [][]byte{{}}},
		"too large":          {Epoch: epoch, Lane: edge.Events, First: 1, Records: lines(2, wire.MaxBatch/2)},
	} {
		if _, _, err := wire.Encode(b); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
	}
}

func TestDecodeRefusesDamage(t *testing.T) {
	b := wire.Batch{Epoch: epoch, Lane: edge.Readings, First: 5, CRC: 77, Records: lines(30, 100)}
	for name, damage := range map[string]func(h map[string][]string, p []byte) []byte{
		"version of the future": func(h map[string][]string, p []byte) []byte { h[wire.HeaderVersion] = []string{"2"}; return p },
		"no version":            func(h map[string][]string, p []byte) []byte { delete(h, wire.HeaderVersion); return p },
		"header twice":          func(h map[string][]string, p []byte) []byte { h[wire.HeaderFirst] = []string{"5", "6"}; return p },
		"signed sequence":       func(h map[string][]string, p []byte) []byte { h[wire.HeaderFirst] = []string{"+5"}; return p },
		"wrong count":           func(h map[string][]string, p []byte) []byte { h[wire.HeaderCount] = []string{"29"}; return p },
		"short CRC":             func(h map[string][]string, p []byte) []byte { h[wire.HeaderCRC] = []string{"4d"}; return p },
		"other CRC":             func(h map[string][]string, p []byte) []byte { h[wire.HeaderCRC] = []string{"0000004e"}; return p },
		"unknown encoding":      func(h map[string][]string, p []byte) []byte { h[wire.HeaderEncoding] = []string{"br"}; return p },
		"truncated":             func(h map[string][]string, p []byte) []byte { return p[:len(p)/2] },
		"empty":                 func(h map[string][]string, p []byte) []byte { return nil },
		"flipped bit":           func(h map[string][]string, p []byte) []byte { p[len(p)/2] ^= 8; return p },
	} {
		h, p, err := wire.Encode(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wire.Decode(h, damage(h, p)); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
	}
}

// A payload of some kilobytes that unpacks to a gigabyte must cost no more than a batch.
func TestDecodeBoundsBombs(t *testing.T) {
	var bomb bytes.Buffer
	w, err := zstd.NewWriter(&bomb)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 64 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	h, _, err := wire.Encode(wire.Batch{Epoch: epoch, Lane: edge.Events, First: 1, Records: lines(1, 40)})
	if err != nil {
		t.Fatal(err)
	}
	h[wire.HeaderEncoding] = []string{"zstd"}
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if _, err := wire.Decode(h, bomb.Bytes()); !errors.Is(err, wire.ErrMalformed) {
				b.Fatalf("got %v, want ErrMalformed", err)
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 4*wire.MaxBatch {
		t.Errorf("bomb of %d bytes made Decode allocate %d bytes", bomb.Len(), allocated)
	}
}

func FuzzDecode(f *testing.F) {
	for _, b := range []wire.Batch{
		{Epoch: epoch, Lane: edge.Events, First: 1, Records: lines(3, 40)},
		{Epoch: epoch, Lane: edge.Readings, First: 9, CRC: 3, Lost: 2, Records: lines(30, 100)},
	} {
		h, p, err := wire.Encode(b)
		if err != nil {
			f.Fatal(err)
		}
		enc := ""
		if v := h[wire.HeaderEncoding]; len(v) > 0 {
			enc = v[0]
		}
		f.Add(h[wire.HeaderVersion][0], h[wire.HeaderFirst][0], h[wire.HeaderCount][0], h[wire.HeaderSum][0], enc, p)
	}
	f.Add("1", "0", "-1", "zzzzzzzz", "zstd", []byte("\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, version, first, count, sum, encoding string, payload []byte) {
		h := map[string][]string{
			wire.HeaderVersion: {version}, wire.HeaderEpoch: {epoch}, wire.HeaderLane: {"events"},
			wire.HeaderFirst: {first}, wire.HeaderCount: {count}, wire.HeaderCRC: {"00000000"}, wire.HeaderSum: {sum},
		}
		if encoding != "" {
			h[wire.HeaderEncoding] = []string{encoding}
		}
		b, err := wire.Decode(h, payload)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("error %v is no ErrMalformed", err)
			}
			return
		}
		h2, p2, err := wire.Encode(b)
		if err != nil {
			t.Fatalf("decoded batch cannot be encoded: %v", err)
		}
		again, err := wire.Decode(h2, p2)
		if err != nil || !same(b, again) {
			t.Fatalf("second decoding differs: %v", err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	batch := wire.Batch{Epoch: epoch, Lane: edge.Readings, First: 1, Records: lines(128, 2000)}
	b.SetBytes(128 * 2000)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := wire.Encode(batch); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	h, p, err := wire.Encode(wire.Batch{Epoch: epoch, Lane: edge.Readings, First: 1, Records: lines(128, 2000)})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(128 * 2000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.Decode(h, p); err != nil {
			b.Fatal(err)
		}
	}
}
