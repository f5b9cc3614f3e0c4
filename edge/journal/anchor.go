package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// anchor is what is known outside the segments; see the package comment for what it proves.
type anchor struct {
	Format  int         `json:"format"`
	Source  string      `json:"source"`
	Epoch   string      `json:"epoch"`
	Segment uint64      `json:"segment"` // the one being written
	Commit  uint64      `json:"commit"`
	At      time.Time   `json:"at"`
	Heads   [lanes]Head `json:"heads"`
	Marks   [lanes]Mark `json:"marks"`
	Holes   []Lost      `json:"holes,omitempty"` // ranges whose loss the caller has stored

	Restored time.Time `json:"restored,omitzero"` // the segments are a copy of this time, put here by hand
}

// readAnchor returns nil when there is none.
func readAnchor(dir string) (*anchor, error) {
	b, err := os.ReadFile(filepath.Join(dir, epochFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	a := new(anchor)
	return a, unseal(b, a)
}

// writeAnchor records where the journal stands. Only the writer calls it.
func (j *Journal) writeAnchor() error {
	j.mu.RLock()
	a := anchor{
		Format: format, Source: j.opts.Source, Epoch: j.active().Epoch, Segment: j.active().Number,
		Commit: j.end.Commit, At: j.end.LastAt, Heads: j.end.Heads, Marks: j.marks, Holes: j.holes,
	}
	j.mu.RUnlock()
	b, err := seal(a)
	if err == nil {
		err = writeFile(filepath.Join(j.opts.Dir, epochFile), b)
	}
	if err != nil {
		return fmt.Errorf("write epoch file: %w", err)
	}
	j.anchored = a.At
	return nil
}
