package engine

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
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
//
// There always is a core. flaw says what of the store could not be used: a checkpoint of another
// version that the inputs cannot stand in for, an input that this version does not know or
// refuses, damage. What people have decided (approved and ignored devices), the ledger and the
// undelivered actions are then taken from the checkpoint if anyhow possible.
func Rebuild(src Source, now time.Time) (core *Core, flaw error) {
	state, after, _, err := src.Checkpoint()
	if err != nil {
		flaw = fmt.Errorf("read checkpoint: %w", err)
	}
	if state != nil {
		core, err = RestoreCore(state)
		if core == nil {
			if core, flaw = replayAll(src); flaw == nil {
				return core, nil
			}
			return salvage(state, now), err
		}
		flaw = err
	}
	core, err = follow(core, src, after)
	if core == nil && err != nil {
		core = salvage(state, now)
	}
	if core == nil {
		core, _ = NewCore(Setup{}, now) // nothing to refuse in it
	}
	return core, cmp.Or(flaw, err)
}

// replayAll makes the core from all inputs since the store's first start, if all are kept.
func replayAll(src Source) (*Core, error) {
	if !complete(src) {
		return nil, errors.New("the inputs since the first start are not all kept")
	}
	return follow(nil, src, 0)
}

// follow replays the commits after a number, as far as they can be read, on a core; nil stands
// for that of a first start. What a commit holds that is not understood is left out. The core
// is nil when it was spoilt, or there is none.
func follow(from *Core, src Source, after uint64) (core *Core, flaw error) {
	defer func() {
		if p := recover(); p != nil {
			core, flaw = nil, fmt.Errorf("replay panicked: %v", p)
		}
	}()
	core = from
	for commit, err := range src.Commits(after) {
		if err != nil {
			return core, cmp.Or(flaw, fmt.Errorf("replay: %w", err))
		}
		if core == nil {
			core, _ = NewCore(Setup{}, commit.At) // nothing to refuse in it
		}
		if find(commit, TypeAnew) != nil {
			flaw = cmp.Or(flaw, fmt.Errorf("the state was begun anew in commit %d", commit.Number))
		}
		if _, err := Replay(core, commit); err != nil {
			flaw = cmp.Or(flaw, fmt.Errorf("replay commit %d: %w", commit.Number, err))
		}
	}
	return core, flaw
}

// Replay feeds one commit's inputs to the core and returns what follows from them. The error
// names the first that is not understood; the others are taken all the same.
func Replay(core *Core, commit journal.Commit) (outputs []edge.Event, err error) {
	note := func(r edge.Record, e error) {
		if err == nil {
			err = fmt.Errorf("record %s: %w", r.ID(), e)
		}
	}
	if r := find(commit, TypePause); r != nil {
		p, e := decode[Pause](input{r.Type, r.Subject, r.Data})
		if e == nil {
			core.Begin(p.Since)
			core.Skip(commit.At)
		}
	}
	core.Begin(commit.At)
	var readings []edge.Reading
	for _, r := range commit.Records {
		switch {
		case !r.Input:
		case r.Lane == edge.Readings:
			var rs []edge.Reading
			if e := json.Unmarshal(r.Data, &rs); e != nil {
				note(r, e)
				continue
			}
			readings = append(readings, rs...)
		default:
			if _, e := core.Apply(input{r.Type, r.Subject, r.Data}); e != nil {
				note(r, e)
			}
		}
	}
	for i := range readings {
		if out := core.Take(&readings[i]); out.Status == edge.Duplicate && err == nil {
			err = fmt.Errorf("commit %d holds a reading of %s twice", commit.Number, readings[i].Device)
		}
	}
	return core.End(), err
}

// find returns the commit's first input of a type, or nil.
func find(commit journal.Commit, typ string) *edge.Record {
	i := slices.IndexFunc(commit.Records, func(r edge.Record) bool { return r.Input && r.Type == typ })
	if i < 0 {
		return nil
	}
	return &commit.Records[i]
}

// Verify replays inputs and compares every output byte with what was recorded. It begins with
// the oldest commit when that is the store's first start, else with the newest checkpoint, as
// the state before the oldest commit is then not known. Where the hub had to go on with another
// state than the inputs give ([Anew]), it goes on with the newest checkpoint; so it does after
// inputs that this version does not understand. It returns how many outputs it compared.
func Verify(src Source) (outputs int, err error) {
	core, after, err := beginning(src)
	if err != nil {
		return 0, err
	}
	for commit, err := range src.Commits(after) {
		if err != nil {
			return outputs, err
		}
		if commit.Number <= after {
			continue
		}
		if find(commit, TypeAnew) != nil {
			if core, after, err = checkpointFrom(src, commit.Number); err != nil {
				return outputs, err
			}
			continue
		}
		if core == nil {
			if core, err = NewCore(Setup{}, commit.At); err != nil {
				return outputs, err
			}
		}
		events, err := Replay(core, commit)
		if err != nil {
			anew, found := nextAnew(src, commit.Number)
			if !found {
				return outputs, fmt.Errorf("commit %d: %w", commit.Number, err)
			}
			after = anew - 1 // what the hub did not understand either cannot be compared
			continue
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
	if complete(src) {
		return nil, 0, nil
	}
	return checkpointFrom(src, 0)
}

// nextAnew finds the first commit after a number with which the state was begun anew.
func nextAnew(src Source, after uint64) (uint64, bool) {
	for commit, err := range src.Commits(after) {
		if err == nil && find(commit, TypeAnew) != nil {
			return commit.Number, true
		}
	}
	return 0, false
}

// complete tells whether all inputs since the store's first start are kept.
func complete(src Source) bool {
	for commit, err := range src.Commits(0) {
		if err != nil {
			return false
		}
		var b Boot
		if r := find(commit, TypeBoot); r != nil {
			b, _ = decode[Boot](input{r.Type, r.Subject, r.Data})
		}
		return b.First
	}
	return false
}

// checkpointFrom restores the newest checkpoint, which must not be of before a commit.
func checkpointFrom(src Source, commit uint64) (*Core, uint64, error) {
	state, after, _, err := src.Checkpoint()
	switch {
	case err != nil:
		return nil, 0, err
	case state == nil && commit == 0:
		return nil, 0, nil
	case state == nil || after < commit:
		return nil, 0, fmt.Errorf("the state was begun anew in commit %d, and there is no checkpoint since", commit)
	}
	core, err := RestoreCore(state)
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
