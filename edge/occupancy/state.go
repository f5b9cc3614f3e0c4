package occupancy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/headcount-hub/headcount/edge"
)

// stateVersion is the first byte of a marshalled state. A change of the form, or of what it
// means, takes the next one.
const stateVersion = 2

// errState is the cause of all errors of reading a state.
var errState = errors.New("occupancy state is damaged or of another version")

// The times, in ms since 1970, that a state can be of: the years 1970 to 2200.
const earliest, latest = 0, 7_258_118_400_000

// coder writes or reads a state. One function per type serves both directions, so that they
// cannot differ.
type coder struct {
	b    []byte
	read bool
	err  error
}

// MarshalState returns everything that was learnt from readings. A model restored from it goes
// on bit for bit.
func (m *Model) MarshalState() ([]byte, error) {
	c := &coder{b: []byte{stateVersion}}
	c.model(m)
	for i := range m.spaces {
		c.text(&m.spaces[i].ID)
		c.space(&m.spaces[i])
	}
	for i := range m.sensors {
		c.text(&m.sensors[i].ID)
		c.sensor(&m.sensors[i])
	}
	return c.b, c.err
}

// Restore makes the model that MarshalState described. Where the site has changed since,
// spaces and sensors with the same ids keep what they knew; others begin anew.
func Restore(site *edge.Site, state []byte) (*Model, error) {
	if len(state) == 0 || state[0] != stateVersion {
		return nil, errState
	}
	var head Model
	c := &coder{b: state[1:], read: true}
	spaces, sensors := c.model(&head)
	if head.now < earliest || head.now > latest {
		return nil, errState
	}
	m, err := New(site, timeOf(head.now))
	if err != nil {
		return nil, err
	}
	m.faults, m.paused, m.resumed = head.faults, head.paused, head.resumed
	for i := 0; i < spaces && c.err == nil; i++ {
		m.restoreSpace(c)
	}
	for i := 0; i < sensors && c.err == nil; i++ {
		m.restoreSensor(c)
	}
	if c.err == nil && len(c.b) > 0 {
		c.err = errState
	}
	if c.err != nil {
		return nil, fmt.Errorf("restore: %w", c.err)
	}
	return m, nil
}

func (m *Model) restoreSpace(c *coder) {
	var id string
	c.text(&id)
	if i := m.spaceIndex(id); i >= 0 && c.err == nil {
		c.space(&m.spaces[i])
		return
	}
	c.space(&space{})
}

func (m *Model) restoreSensor(c *coder) {
	var id string
	c.text(&id)
	if i, ok := m.byID[id]; ok && c.err == nil {
		c.sensor(&m.sensors[i])
		return
	}
	c.sensor(&sensor{})
}

// model is the head of a state; it returns how many spaces and sensors follow.
func (c *coder) model(m *Model) (spaces, sensors int) {
	spaces, sensors = len(m.spaces), len(m.sensors)
	faults := len(m.faults)
	c.integer(&m.now)
	c.integer(&m.paused)
	c.integer(&m.resumed)
	c.size(&spaces)
	c.size(&sensors)
	c.size(&faults)
	if c.read {
		m.faults = nil
		for i := 0; i < faults && c.err == nil; i++ {
			m.faults = append(m.faults, c.fault(Fault{}))
		}
		return spaces, sensors
	}
	for _, f := range m.faults {
		c.fault(f)
	}
	return spaces, sensors
}

func (c *coder) fault(f Fault) Fault {
	at := millis(f.At)
	c.text(&f.Sensor)
	c.integer(&at)
	c.text(&f.Cause)
	c.text(&f.Detail)
	f.At = timeOf(at)
	return f
}

func (c *coder) space(s *space) {
	p := &s.pub
	c.text((*string)(&p.state))
	c.integer(&p.since)
	c.flag(&p.dirty)
	c.flag(&p.due)
	c.integer(&p.at)
	c.text((*string)(&p.shown.state))
	c.text((*string)(&p.shown.quality))
	for _, n := range [...]*int{&p.shown.count, &p.shown.low, &p.shown.high} {
		c.size(n)
	}
	var r room
	if s.room != nil {
		r = *s.room
	}
	c.flag(&r.known)
	c.vector(&r.p)
	most := max(cap(r.p)-1, 0)
	c.size(&most)
	if c.read && c.err == nil && s.room != nil && len(r.p) > 0 {
		s.room.restore(&r, most)
	}
}

// restore takes over a filter that could follow up to most people.
func (r *room) restore(old *room, most int) {
	r.grow(most)
	r.grow(len(old.p) - 1)
	r.p = r.p[:copy(r.p[:cap(r.p)], old.p)]
	r.known = old.known
	r.version++
}

func (c *coder) sensor(s *sensor) {
	c.integer(&s.seen)
	c.integer(&s.newest)
	c.flag(&s.offline)
	c.counter(&s.counter)
	c.motion(&s.motion)
	l, a := &s.level, &s.abs
	c.flag(&l.heard)
	c.flag(&l.on)
	c.integer(&l.edge)
	c.integer(&l.acc)
	c.float(&l.weights)
	c.flag(&a.heard)
	c.float(&a.value)
	c.integer(&a.used)
}

func (c *coder) counter(k *counter) {
	for _, t := range [...]*total{&k.in, &k.out} {
		c.flag(&t.known)
		c.integer(&t.value)
		c.integer(&t.low)
	}
	c.integer(&k.at)
	c.integer(&k.today)
	c.integer(&k.seq)
	c.flag(&k.cum)
	c.size(&k.suspects)
	for i := range k.burst {
		c.size(&k.burst[i].n)
		c.integer(&k.burst[i].last)
	}
	for i := range k.recent {
		c.integer(&k.recent[i].bin)
		for j := range k.recent[i].count {
			n := int(k.recent[i].count[j])
			c.size(&n)
			k.recent[i].count[j] = uint16(n)
		}
	}
}

func (c *coder) motion(s *motion) {
	c.flag(&s.heard)
	c.flag(&s.on)
	c.flag(&s.sendsOff)
	for _, t := range [...]*int64{&s.rise, &s.last, &s.acc, &s.shortest} {
		c.integer(t)
	}
	for i := range s.chain {
		for j := range s.chain[i] {
			c.float(&s.chain[i][j])
		}
	}
	for i := range s.factor {
		c.float(&s.factor[i])
	}
}

func (c *coder) integer(x *int64) {
	if !c.read {
		c.b = binary.AppendVarint(c.b, *x)
		return
	}
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.err, c.b = errState, nil
		return
	}
	*x, c.b = v, c.b[n:]
}

// size is a number that is not negative and not large.
func (c *coder) size(x *int) {
	v := int64(*x)
	c.integer(&v)
	if c.read && (v < 0 || v > 1<<20) {
		c.err, c.b, v = errState, nil, 0
	}
	*x = int(v)
}

func (c *coder) flag(x *bool) {
	n := index(*x)
	c.size(&n)
	*x = n != 0
}

func (c *coder) text(s *string) {
	n := len(*s)
	c.size(&n)
	if !c.read {
		c.b = append(c.b, *s...)
		return
	}
	if n > len(c.b) {
		c.err, c.b, n = errState, nil, 0
	}
	*s, c.b = string(c.b[:n]), c.b[n:]
}

// float keeps all bits; zero, the most frequent value, takes one byte.
func (c *coder) float(x *float64) {
	zero := math.Float64bits(*x) == 0
	c.flag(&zero)
	switch {
	case zero:
		*x = 0
	case !c.read:
		c.b = binary.LittleEndian.AppendUint64(c.b, math.Float64bits(*x))
	case len(c.b) < 8:
		c.err, c.b = errState, nil
	default:
		*x, c.b = math.Float64frombits(binary.LittleEndian.Uint64(c.b)), c.b[8:]
	}
	if c.read && (math.IsNaN(*x) || math.IsInf(*x, 0)) {
		c.err, c.b, *x = errState, nil, 0
	}
}

func (c *coder) vector(p *[]float64) {
	n := len(*p)
	c.size(&n)
	if c.read {
		if n > min(len(c.b), maxPersons+1) {
			c.err, c.b, n = errState, nil, 0
		}
		*p = make([]float64, n)
	}
	for i := range *p {
		c.float(&(*p)[i])
	}
}
