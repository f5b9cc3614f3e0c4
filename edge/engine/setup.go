package engine

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"

	"github.com/headcount-hub/headcount/edge"
)

// A setup is one record, so that a large one is compressed: 1,000 rooms would not fit.
const (
	packFrom = 64 << 10 // bytes of JSON
	maxSetup = 64 << 20
)

// packed is the form of a large setup.
type packed struct {
	Hash string `json:"hash"`
	Gzip []byte `json:"gzip"` // of the setup's JSON
}

// same tells whether two setups decide the same: another version of the program may bring other
// rules of its own to a configuration that has not changed.
func same(a, b Setup) bool {
	if a.Hash != b.Hash {
		return false
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// setupInput makes the input of a setup.
func setupInput(s Setup) (input, error) {
	in, err := newInput(TypeConfig, "hub", s)
	if err != nil || len(in.data) < packFrom {
		return in, err
	}
	var buf bytes.Buffer
	z, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression) // the level exists
	z.Write(in.data)                                        // a buffer takes all
	z.Close()
	if in, err = newInput(TypeConfig, "hub", packed{s.Hash, buf.Bytes()}); err == nil && len(in.data) > edge.MaxRecordHard-envelope {
		err = fmt.Errorf("the configuration is too large: %d bytes packed, %d fit; divide the site", len(in.data), edge.MaxRecordHard-envelope)
	}
	return in, err
}

// readSetup reads either form.
func readSetup(in input) (Setup, error) {
	p, err := decode[packed](in)
	if err != nil || p.Gzip == nil {
		return decode[Setup](in)
	}
	var s Setup
	z, err := gzip.NewReader(bytes.NewReader(p.Gzip))
	if err == nil {
		err = json.NewDecoder(io.LimitReader(z, maxSetup)).Decode(&s)
	}
	if err != nil {
		return s, fmt.Errorf("input %s: %w", in.typ, err)
	}
	return s, nil
}
