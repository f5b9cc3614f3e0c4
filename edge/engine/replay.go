package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/journal"
)

// Source is what a core is rebuilt from; a *journal.Journal is one.
type Source interface {
	Checkpoint() (state []byte, commit uint64, at time.Time, err error)
	Commits(after uint64) iter.Seq2[journal.Commit, error]
}

// Rebuild makes the core that the newest checkpoint and all inputs after it describe. An empty
// store gives a core without a site that starts at now.
func Rebuild(src Source, now time.Time) (*Core, error) {
	state, after, _, err := src.Checkpoint()
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	var core *Core
	if state != nil {
		if core, err = RestoreCore(state); err != nil {
			return nil, err
		}
	}
	for commit, err := range src.Commits(after) {
		if err != nil {
			return nil, fmt.Errorf("replay after commit %d: %w", after, err)
		}
		if core == nil {
			if core, err = NewCore(Setup{}, commit.At); err != nil {
				return nil, err
			}
		}
		if _, err := Replay(core, commit); err != nil {
			return nil, fmt.Errorf("replay commit %d: %w", commit.Number, err)
		}
	}
	if core == nil {
		return NewCore(Setup{}, now)
	}
	return core, nil
}

// Replay feeds one commit's inputs to the core and returns what follows from them.
func Replay(core *Core, commit journal.Commit) ([]edge.Event, error) {
	core.Begin(commit.At)
	var readings []edge.Reading
	for _, r := range commit.Records {
		switch {
		case !r.Input:
		case r.Lane == edge.Readings:
			var rs []edge.Reading
			if err := json.Unmarshal(r.Data, &rs); err != nil {
				return nil, fmt.Errorf("record %s: %w", r.ID(), err)
			}
			readings = append(readings, rs...)
		default:
			if _, err := core.Apply(input{r.Type, r.Subject, r.Data}); err != nil {
				return nil, fmt.Errorf("record %s: %w", r.ID(), err)
			}
		}
	}
	for i := range readings {
		if out := core.Take(&readings[i]); out.Status == edge.Duplicate {
			return nil, fmt.Errorf("commit %d holds a reading of %s twice", commit.Number, readings[i].Device)
		}
	}
	return core.End(), nil
}

// Verify replays inputs and compares every output byte with what was recorded. It begins with
// the oldest commit when that is the store's first start, else with the newest checkpoint, as
// the state before the oldest commit is then not known. It returns how many outputs it compared.
func Verify(src Source) (outputs int, err error) {
	core, after, err := beginning(src)
	if err != nil {
		return 0, err
	}
	for commit, err := range src.Commits(after) {
		if err != nil {
			return outputs, err
		}
		if core == nil {
			if core, err = NewCore(Setup{}, commit.At); err != nil {
				return outputs, err
			}
		}
		events, err := Replay(core, commit)
		if err != nil {
			return outputs, fmt.Errorf("commit %d: %w", commit.Number, err)
		}
		n, err := compare(commit, events)
		if outputs += n; err != nil {
			return outputs, err
		}
	}
	return outputs, nil
}

// beginning says where Verify starts: with no core at commit 1 if that configures the site, else
// with the newest checkpoint's core.
func beginning(src Source) (core *Core, after uint64, err error) {
	for commit, err := range src.Commits(0) {
		if err == nil && slices.ContainsFunc(commit.Records, func(r edge.Record) bool { return r.Type == TypeConfig }) {
			return nil, 0, nil
		}
		break
	}
	state, after, _, err := src.Checkpoint()
	if err != nil || state == nil {
		return nil, 0, err
	}
	core, err = RestoreCore(state)
	return core, after, err
}

// compare holds a commit's recorded outputs against the replayed ones.
func compare(commit journal.Commit, events []edge.Event) (int, error) {
	i := 0
	for _, r := range commit.Records {
		if r.Input {
			continue
		}
		if i >= len(events) {
			return i, fmt.Errorf("record %s (%s): the replay does not give it", r.ID(), r.Type)
		}
		again := r
		again.Type, again.Subject, again.At, again.Data = string(events[i].Type), events[i].Subject, events[i].At, events[i].Data
		if got, want := again.AppendJSON(nil), r.AppendJSON(nil); !bytes.Equal(got, want) {
			return i, fmt.Errorf("record %s differs:\nreplayed %s\nrecorded %s", r.ID(), got, want)
		}
		i++
	}
	if i != len(events) {
		return i, fmt.Errorf("commit %d: the replay gives %d outputs, recorded are %d; first extra: %s %s", commit.Number, len(events), i, events[i].Type, events[i].Subject)
	}
	return i, nil
}
