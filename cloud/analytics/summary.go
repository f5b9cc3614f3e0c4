package analytics

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/usage"
)

// Summary is the answer of GET /v1/sites/{site}/analytics/summary.
type Summary struct {
	Site     string       `json:"site"`
	Org      string       `json:"org"`
	Timezone string       `json:"timezone"`
	From     time.Time    `json:"from"`
	To       time.Time    `json:"to"` // exclusive; what is to come is in no number
	Group    string       `json:"group"`
	AsOf     *time.Time   `json:"as_of"` // the newest occupancy that is in it
	Groups   []GroupUsage `json:"groups"`
}

// GroupUsage is how a space was used, or the spaces of a floor or kind together: then minutes are
// space minutes, average, min and max those of a single space, and capacities are added up.
type GroupUsage struct {
	Group  string         `json:"group"` // id of the space or floor, or a kind
	Name   string         `json:"name,omitempty"`
	Kind   edge.SpaceKind `json:"kind,omitempty"`
	Spaces int            `json:"spaces"`
	usage.Figures
	Opening *Opening     `json:"opening"` // null without opening hours
	Entries *int64       `json:"entries"` // by line counters or badges, in whole hours; null where a door is not counted
	Exits   *int64       `json:"exits"`
	Plan    *PlanFigures `json:"plan"` // null when nothing was planned
}

// Opening is the part of the figures that lies within opening hours.
type Opening struct {
	Minutes         float64  `json:"minutes"`
	KnownMinutes    float64  `json:"known_minutes"`
	Coverage        *float64 `json:"coverage"`
	OccupiedMinutes float64  `json:"occupied_minutes"`
	OccupiedShare   *float64 `json:"occupied_share"` // of known opening hours, 0..1
	Average         *float64 `json:"average"`
	Utilisation     *float64 `json:"utilisation"`
}

func openingOf(t usage.Totals) *Opening {
	f := t.Figures()
	return &Opening{f.Minutes, f.KnownMinutes, f.Coverage, f.OccupiedMinutes, f.OccupiedShare, f.Average, f.Utilisation}
}

// The ways to group spaces.
const (
	bySpace = "space"
	byFloor = "floor"
	byKind  = "kind"
)

func (m *Module) summary(r *route.Request) (any, error) {
	q, err := m.ask(r, 7)
	if err != nil {
		return nil, err
	}
	group := r.URL.Query().Get("group")
	return m.summarise(r.Context(), q, group)
}

func (m *Module) summarise(ctx context.Context, q *question, group string) (*Summary, error) {
	if group == "" {
		group = bySpace
	}
	if !slices.Contains([]string{bySpace, byFloor, byKind}, group) {
		return nil, route.Problem(http.StatusBadRequest, "group %q: want space, floor or kind", group)
	}
	at := q.span()
	heard, err := m.load(ctx, q.Site, q.Loc, q.Space, at.from, at.to)
	if err != nil {
		return nil, err
	}
	spaces, err := q.spaces(heard)
	if err != nil {
		return nil, err
	}
	cal, err := m.calendar(ctx, q.Site, span{at.from, min(at.to, m.now().UnixMilli())})
	if err != nil {
		return nil, err
	}
	crossed, err := m.crossed(ctx, q)
	if err != nil {
		return nil, err
	}
	plans, err := m.planFigures(ctx, q, heard)
	if err != nil {
		return nil, err
	}
	out := &Summary{Site: q.Site.Site, Org: q.Site.Org, Timezone: q.Loc.String(), From: q.From, To: q.To, Group: group, AsOf: newest(heard), Groups: []GroupUsage{}}
	sums := []*groupSum{}
	for _, sp := range spaces {
		g := groupOf(&sums, q.Model, sp, group)
		if g == nil {
			continue
		}
		s := heard[sp.ID]
		if s == nil {
			s = m.none(q.Site, q.Loc, sp.ID)
		}
		if err := g.add(ctx, s, at, sp, cal); err != nil {
			return nil, err
		}
		g.cross(crossed[sp.ID])
		g.Plan = g.Plan.join(plans[sp.ID])
	}
	for _, g := range sums {
		out.Groups = append(out.Groups, g.finish())
	}
	return out, nil
}

func newest(heard map[string]*series) *time.Time {
	var at int64
	for _, s := range heard {
		at = max(at, s.asOf)
	}
	if at == 0 {
		return nil
	}
	t := time.UnixMilli(at).UTC()
	return &t
}

// groupSum gathers a group.
type groupSum struct {
	GroupUsage
	all, open usage.Totals
	seats     int
	hasHours  bool
}

// groupOf finds or makes the group of a space; nil when it is in none.
func groupOf(sums *[]*groupSum, model *edge.Site, sp edge.Space, group string) *groupSum {
	g := GroupUsage{Group: sp.ID, Name: sp.Name, Kind: sp.Kind}
	switch group {
	case byKind:
		g = GroupUsage{Group: string(sp.Kind), Kind: sp.Kind}
	case byFloor: // rooms only: a floor's own number would count people twice
		floor, ok := floorOf(model, sp)
		if sp.Kind != edge.Room || !ok {
			return nil
		}
		g = GroupUsage{Group: floor.ID, Name: floor.Name, Kind: edge.Floor}
	}
	for _, have := range *sums {
		if have.Group == g.Group {
			return have
		}
	}
	*sums = append(*sums, &groupSum{GroupUsage: g})
	return (*sums)[len(*sums)-1]
}

// floorOf is the floor on which a space lies.
func floorOf(model *edge.Site, sp edge.Space) (edge.Space, bool) {
	for range len(model.Spaces) {
		if sp.Kind == edge.Floor {
			return sp, true
		}
		up, ok := model.Space(sp.Parent)
		if !ok {
			break
		}
		sp = up
	}
	return edge.Space{}, false
}

func (g *groupSum) add(ctx context.Context, s *series, at span, sp edge.Space, cal *calendar) error {
	t, err := s.sum(ctx, at.from, at.to)
	if err != nil {
		return err
	}
	if t.Capacity == 0 {
		t.Capacity = sp.Capacity
	}
	g.Spaces++
	g.seats += t.Capacity
	g.all.Add(t)
	open, ok := cal.open(sp)
	if !ok {
		return nil
	}
	if t, err = s.sums(ctx, open); err != nil {
		return err
	}
	g.hasHours = true
	g.open.Add(t)
	return nil
}

// cross adds who came and went.
func (g *groupSum) cross(c crossing) {
	for _, x := range []struct {
		sum **int64
		n   *int64
	}{{&g.Entries, c.entries}, {&g.Exits, c.exits}} {
		if x.n == nil {
			continue
		}
		if *x.sum == nil {
			*x.sum = new(int64)
		}
		**x.sum += *x.n
	}
}

func (g *groupSum) finish() GroupUsage {
	g.Figures = g.all.Figures()
	if g.hasHours {
		g.Opening = openingOf(g.open)
	}
	if g.Spaces > 1 { // peaks are of single spaces and do not add up
		g.Figures.Capacity, g.PeakUtilisation = g.seats, nil
	}
	return g.GroupUsage
}
