package feed

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/live"
)

// board is the present occupancy of a building: the sum of the spaces at its top.
type board struct {
	building Building
	capacity int
	spaces   map[string]bool // all in it; of the whole site: all
	tops     map[string]*int // persons in the spaces that are summed; nil = not known
	at       time.Time
}

// newBoard makes a board from a live.State. A space of kind building is itself; a site is the sum
// of its outermost spaces.
func newBoard(b Building, state json.RawMessage) (*board, error) {
	var s live.State
	if err := json.Unmarshal(state, &s); err != nil {
		return nil, fmt.Errorf("state of %s: %w", b.Site, err)
	}
	out := &board{building: b, spaces: map[string]bool{}, tops: map[string]*int{}, at: s.AsOf}
	parents := map[string]string{}
	for _, v := range s.Spaces {
		parents[v.ID] = v.Parent
	}
	inner := 0
	for _, v := range s.Spaces {
		if v.ID == edge.Outside || !lies(v.ID, b.Space, parents) {
			continue
		}
		out.spaces[v.ID] = true
		if b.Space == "" && v.Parent == "" || v.ID == b.Space {
			out.tops[v.ID] = v.Occupancy.Count
			out.capacity += v.Capacity
		} else if v.Kind == edge.Room {
			inner += v.Capacity
		}
	}
	if out.capacity == 0 {
		out.capacity = inner // what is not said of the whole is the sum of its rooms
	}
	return out, nil
}

// lies tells whether a space is another one or in it; all are in none.
func lies(id, in string, parents map[string]string) bool {
	for range len(parents) + 1 {
		if id == in || in == "" {
			return true
		}
		if id = parents[id]; id == "" {
			return false
		}
	}
	return false
}

// take notes an occupancy and tells whether the building's has changed by it.
func (b *board) take(o edge.Occupancy) bool {
	if _, top := b.tops[o.Space]; !top {
		return false
	}
	b.tops[o.Space] = o.Count
	if o.AsOf.After(b.at) {
		b.at = o.AsOf
	}
	return true
}

// id is the building's as clients know it.
func (b Building) id() string {
	if b.Space != "" {
		return b.Site + "/" + b.Space
	}
	return b.Site
}

// Update is the data of occupancy:update. What is not known is null.
type Update struct {
	BuildingID       string    `json:"buildingId"`
	CurrentOccupancy *int      `json:"currentOccupancy"` // persons
	MaxOccupancy     *int      `json:"maxOccupancy"`     // persons; null without capacity
	OccupancyRate    *float64  `json:"occupancyRate"`    // CurrentOccupancy / MaxOccupancy
	Timestamp        time.Time `json:"timestamp"`
}

func (b *board) update() Update {
	u := Update{BuildingID: b.building.id(), Timestamp: b.at}
	sum, known := 0, len(b.tops) > 0
	for _, n := range b.tops {
		if n == nil {
			known = false
			break
		}
		sum += *n
	}
	if known {
		u.CurrentOccupancy = &sum
	}
	if b.capacity > 0 {
		u.MaxOccupancy = &b.capacity
	}
	if known && b.capacity > 0 {
		rate := float64(sum) / float64(b.capacity)
		u.OccupancyRate = &rate
	}
	return u
}
