package downlink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Layer is a revision of the configuration that the cloud desires. The zero value is none: the
// hub's own file alone.
type Layer struct {
	Rev uint64          `json:"rev"`
	Doc json.RawMessage `json:"doc,omitempty"` // JSON object
}

// Kept is what a hub remembers of the cloud's configurations, in one file that is replaced
// atomically. Its methods may be called from many goroutines.
type Kept struct {
	path string
	mu   sync.Mutex
	kept kept
}

// kept is the file.
type kept struct {
	Good    Layer    `json:"good"`
	Trial   *trial   `json:"trial,omitempty"` // runs now, but has not proved itself
	Refused uint64   `json:"refused,omitempty"`
	Final   bool     `json:"final,omitempty"` // Refused was tried; it is not looked at again when the process starts
	Reasons []string `json:"reasons,omitempty"`
}

type trial struct {
	Layer
	Starts int `json:"starts"` // of the process since
}

// maxStarts is how often the process may start during one trial: a restart by somebody is
// possible, a configuration that kills the hub again and again is not.
const maxStarts = 2

// maxReasons bounds what is kept of a refusal.
const maxReasons = 20

const layerFile = "layer.json"

// OpenKept reads what is remembered in a directory, which need not exist.
func OpenKept(dir string) (*Kept, error) {
	k := &Kept{path: filepath.Join(dir, layerFile)}
	b, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &k.kept)
	}
	if err != nil {
		return nil, fmt.Errorf("read the cloud's configuration: %w; delete %s to run under the hub's own file", err, k.path)
	}
	return k, nil
}

// Runs is the layer that runs, on trial or not.
func (k *Kept) Runs() Layer {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept.Trial != nil {
		return k.kept.Trial.Layer
	}
	return k.kept.Good
}

// Good is the last one that has proved itself.
func (k *Kept) Good() Layer {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept.Good
}

// OnTrial tells whether what runs has yet to prove itself.
func (k *Kept) OnTrial() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept.Trial != nil
}

// Refusal is the newest revision that was refused, and why; 0 = none.
func (k *Kept) Refusal() (rev uint64, reasons []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept.Refused, k.kept.Reasons
}

// RefusedRev is the newest revision that was refused; 0 = none.
func (k *Kept) RefusedRev() uint64 { rev, _ := k.Refusal(); return rev }

// Start notes that the process starts, and returns what it is to run under. A trial that did not
// survive maxStarts is over. What did not fit the hub's own file may fit it now, and is not
// refused any more.
func (k *Kept) Start() (Layer, error) {
	err := k.change(func(s *kept) bool {
		again := s.Refused != 0 && !s.Final
		if again {
			s.Refused, s.Reasons = 0, nil
		}
		if s.Trial == nil {
			return again
		}
		if s.Trial.Starts++; s.Trial.Starts > maxStarts {
			s.refuse(s.Trial.Rev, []string{"the hub stopped again and again while it was on trial"})
			s.Final = true
		}
		return true
	})
	return k.Runs(), err
}

// Try notes that a layer is on trial from now on.
func (k *Kept) Try(l Layer) error {
	return k.change(func(s *kept) bool { s.Trial = &trial{Layer: l}; return true })
}

// Drop forgets the trial.
func (k *Kept) Drop() error {
	return k.change(func(s *kept) bool { s.Trial = nil; return true })
}

// Accept notes that the trial has proved itself.
func (k *Kept) Accept() error {
	return k.change(func(s *kept) bool {
		if s.Trial == nil {
			return false
		}
		*s = kept{Good: s.Trial.Layer}
		return true
	})
}

// Refuse notes that a revision does not fit the hub's own file; if it is the good one, the file
// alone runs.
func (k *Kept) Refuse(rev uint64, reasons []string) error {
	return k.change(func(s *kept) bool { s.refuse(rev, reasons); return true })
}

// TakeBack is Refuse for a revision that was tried and did not prove itself.
func (k *Kept) TakeBack(rev uint64, reasons []string) error {
	return k.change(func(s *kept) bool { s.refuse(rev, reasons); s.Final = true; return true })
}

func (s *kept) refuse(rev uint64, reasons []string) {
	if s.Trial != nil && s.Trial.Rev == rev {
		s.Trial = nil
	}
	if s.Good.Rev == rev {
		s.Good = Layer{}
	}
	s.Refused, s.Final, s.Reasons = rev, false, reasons[:min(len(reasons), maxReasons)]
}

// change applies f to what is kept and stores it when f says so.
func (k *Kept) change(f func(*kept) bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.kept
	if next.Trial != nil {
		t := *next.Trial
		next.Trial = &t
	}
	if !f(&next) {
		return nil
	}
	b, err := json.Marshal(next)
	if err == nil {
		err = replaceFile(k.path, b)
	}
	if err != nil {
		return fmt.Errorf("keep the cloud's configuration: %w", err)
	}
	k.kept = next
	return nil
}

// replaceFile writes a file that only its owner may read so that, whatever happens, either the
// old or the new one is there whole.
func replaceFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails when it was renamed
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync())
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
