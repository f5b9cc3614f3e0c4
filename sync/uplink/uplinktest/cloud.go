package uplinktest

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Cloud applies batches in memory by the rules of sync/wire and gives the marks back. It may be
// used from any goroutine.
type Cloud struct {
	mu       sync.Mutex
	state    state
	conflict map[string]string        // by epoch
	push     map[int]func(wire.Marks) // of whoever listens
	pushes   int                      //
	beats    []wire.Heartbeat         //
	shots    []wire.Snapshot          //
	repeated int                      // records that came again and were skipped
}

// state is what a backup of the cloud holds.
type state struct {
	marks   map[string]map[edge.Lane]wire.Mark // by epoch
	applied map[edge.Lane][]string
	lost    map[edge.Lane]uint64
}

func (s state) clone() state {
	c := state{marks: map[string]map[edge.Lane]wire.Mark{}, applied: map[edge.Lane][]string{}, lost: maps.Clone(s.lost)}
	for epoch, m := range s.marks {
		c.marks[epoch] = maps.Clone(m)
	}
	for lane, a := range s.applied {
		c.applied[lane] = slices.Clone(a)
	}
	return c
}

// NewCloud makes an empty cloud.
func NewCloud() *Cloud {
	return &Cloud{
		state:    state{marks: map[string]map[edge.Lane]wire.Mark{}, applied: map[edge.Lane][]string{}, lost: map[edge.Lane]uint64{}},
		conflict: map[string]string{}, push: map[int]func(wire.Marks){},
	}
}

// Apply takes a batch in as ingest does, and pushes the marks.
func (c *Cloud) Apply(b wire.Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest, next, err := b.After(c.mark(b.Epoch, b.Lane))
	var resend edge.Lane
	switch {
	case errors.Is(err, wire.ErrGap):
		resend = b.Lane
	case errors.Is(err, wire.ErrConflict):
		c.conflict[b.Epoch] = err.Error()
	case err == nil:
		c.repeated += len(b.Records) - len(rest.Records)
		c.state.lost[b.Lane] += rest.Lost
		for _, r := range rest.Records {
			c.state.applied[b.Lane] = append(c.state.applied[b.Lane], string(r))
		}
		if c.state.marks[b.Epoch] == nil {
			c.state.marks[b.Epoch] = map[edge.Lane]wire.Mark{}
		}
		c.state.marks[b.Epoch][b.Lane] = next
	}
	m := c.marks(b.Epoch)
	m.Resend = resend
	for _, push := range c.push {
		push(m)
	}
}

func (c *Cloud) mark(epoch string, lane edge.Lane) wire.Mark {
	m := c.state.marks[epoch][lane]
	m.Epoch = epoch
	return m
}

func (c *Cloud) marks(epoch string) wire.Marks {
	return wire.Marks{Events: c.mark(epoch, edge.Events), Readings: c.mark(epoch, edge.Readings), Conflict: c.conflict[epoch]}
}

// Answer answers a request.
func (c *Cloud) Answer(what string, body []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch what {
	case wire.UpHeartbeat:
		var h wire.Heartbeat
		if err := json.Unmarshal(body, &h); err != nil {
			return nil, err
		}
		c.beats = append(c.beats, h)
		return json.Marshal(wire.HeartbeatReply{Version: wire.Version, Marks: c.marks(h.Epoch), Time: time.Now()})
	case wire.UpSnapshot:
		var s wire.Snapshot
		if err := json.Unmarshal(body, &s); err != nil {
			return nil, err
		}
		c.shots = append(c.shots, s)
		return []byte("{}"), nil
	}
	return nil, errors.New("no such request: " + what)
}

// Listen calls f with every push until stop is called.
func (c *Cloud) Listen(f func(wire.Marks)) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.pushes
	c.pushes++
	c.push[id] = f
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.push, id)
	}
}

// Applied returns a lane's records in the order in which they were applied.
func (c *Cloud) Applied(lane edge.Lane) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.state.applied[lane])
}

// Lost is how many records of a lane were declared lost.
func (c *Cloud) Lost(lane edge.Lane) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.lost[lane]
}

// Repeated is how many records came again.
func (c *Cloud) Repeated() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.repeated
}

// Heartbeats returns those that were answered, Snapshots those that were taken.
func (c *Cloud) Heartbeats() []wire.Heartbeat {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.beats)
}

// Snapshots returns those that were taken.
func (c *Cloud) Snapshots() []wire.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.shots)
}

// Backup keeps what was applied and the marks; the function it returns restores them.
func (c *Cloud) Backup() (restore func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.state.clone()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.state = kept.clone()
	}
}

// Refuse makes the cloud flag an epoch as in conflict.
func (c *Cloud) Refuse(epoch, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conflict[epoch] = reason
}

// Count is how many records of a lane were applied.
func (c *Cloud) Count(lane edge.Lane) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.state.applied[lane])
}

// Forget empties the cloud.
func (c *Cloud) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = NewCloud().state
}

// Body is marks as they are pushed.
func Body(m wire.Marks) []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // marks are plain values
	}
	return b
}

// Push pushes marks that need not be true.
func (c *Cloud) Push(m wire.Marks) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, push := range c.push {
		push(m)
	}
}
