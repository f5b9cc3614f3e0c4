package sim

import (
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

const (
	maxVisitors = 5000
	arriveOver  = 2 * time.Minute // a crowd comes within this time
)

// planScript plans the day's happenings.
func (b *Building) planScript() {
	for i, h := range b.layout.script {
		b.push(b.wall(h.At), happen, i, "")
	}
}

func (b *Building) happen(h Happening) {
	switch {
	case h.Crowd != "":
		b.invite(h.Crowd, h.Count, h.For, arriveOver)
	case h.People != "":
		b.settle(h.People, h.Count)
	case h.Fail != "":
		b.sensors[h.Fail].failure = h.How
		if h.For > 0 {
			b.push(b.after(h.For), mend, 0, h.Fail)
		}
	case h.Mend != "":
		b.sensors[h.Mend].failure = Working
	}
}

// after is the wall time that is so much later for the people.
func (b *Building) after(d time.Duration) time.Time {
	return b.now.Add(time.Duration(float64(d) / b.o.Speed))
}

// Crowd lets n visitors come to a space from outside and leave after stay, a time of the people;
// 0 = they stay. It refuses spaces behind no door and crowds that are too large.
func (b *Building) Crowd(space string, n int, stay time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.reachable(space, n); err != nil {
		return err
	}
	if stay < 0 {
		return fmt.Errorf("stay %v: want a time of at least 0", stay)
	}
	b.invite(space, n, stay, arriveOver)
	return nil
}

// SetPeople makes people come to a space from outside, or leave it, so that n are in it once all
// have arrived. They go through the doors, and its sensors see them.
func (b *Building) SetPeople(space string, n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.reachable(space, n); err != nil {
		return err
	}
	b.settle(space, n)
	return nil
}

func (b *Building) reachable(space string, n int) error {
	if _, ok := b.layout.up[space]; !ok {
		return fmt.Errorf("no door leads to a space %q", space)
	}
	if n < 0 || n > maxVisitors || len(b.people)-b.staff+n > 2*maxVisitors {
		return fmt.Errorf("count %d: want 0 to %d", n, maxVisitors)
	}
	return nil
}

// invite sends visitors to a space, at once or spread over a time of the people.
func (b *Building) invite(space string, n int, stay, within time.Duration) {
	for range n {
		who := b.visitor()
		b.people[who].booked = true
		late := time.Duration(b.chance(who) * float64(within))
		if late == 0 {
			b.setOut(who, space)
		} else {
			b.push(b.after(late), setOut, who, space)
		}
		if stay > 0 {
			b.push(b.after(late+stay), goHome, who, "")
		}
	}
}

// visitor is one who is outside and has nothing to do, or a new one.
func (b *Building) visitor() int {
	for i := b.staff; i < len(b.people); i++ {
		if p := b.people[i]; !p.booked && !p.walk && p.at == edge.Outside {
			return i
		}
	}
	b.people = append(b.people, person{at: edge.Outside, to: edge.Outside})
	b.count[edge.Outside]++
	return len(b.people) - 1
}

// settle makes n the number of those who are in a space or on the way to it.
func (b *Building) settle(space string, n int) {
	for i := len(b.people) - 1; i >= 0; i-- { // visitors leave first
		if b.people[i].to != space {
			continue
		}
		if n--; n < 0 {
			b.people[i].booked = false
			b.setOut(i, edge.Outside)
		}
	}
	b.invite(space, max(n, 0), 0, 0)
}
