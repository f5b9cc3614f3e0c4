package twin

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

// Desired is what a site's hub is to run and what became of it.
type Desired struct {
	Rev      uint64
	Applied  *uint64 // nil: the hub never said
	Reasons  []string
	Elements map[string]json.RawMessage // by "spaces/ID", "doors/ID", "sensors/ID"; null = removed
}

// Document is the twin of one space, door or sensor.
type Document struct {
	Kind     string          `json:"kind"` // building, floor, room, zone, door, sensor
	ID       string          `json:"id"`
	Name     string          `json:"name,omitempty"`
	Parent   string          `json:"parent,omitempty"`
	Reported json.RawMessage `json:"reported"`    // what the hub says of it; null = nothing yet
	Desired  json.RawMessage `json:"desired"`     // what it is to be; null = the hub's own file decides
	Removed  bool            `json:"removed"`     // it is not to be
	Rev      uint64          `json:"desired_rev"` // of the site's whole configuration
	Applied  *uint64         `json:"applied_rev"`
	Reason   string          `json:"reason,omitempty"` // why the newest revision does not run
	AsOf     time.Time       `json:"as_of,omitzero"`
	Stale    bool            `json:"stale"`
}

// ofBuilding is OfSite for an id that may be SITE.SPACE.
func (t *Twin) ofBuilding(r *route.Request) ([]string, error) {
	site, space, part := strings.Cut(r.PathValue("site"), ".")
	r.SetPathValue("site", site)
	domains, err := t.OfSite(r)
	if err != nil || !part {
		return domains, err
	}
	r.SetPathValue("space", space)
	v := View{Site: r.Found.(store.Site)}
	if err := v.decode(); err != nil {
		return nil, err
	}
	if sp, ok := v.Model.Space(space); !ok || sp.Kind != edge.Building {
		return nil, problem(http.StatusNotFound, "site %s has no building %q", site, space)
	}
	return domains, nil
}

func (t *Twin) buildings(r *route.Request) (any, error) {
	sites, err := t.visible(r)
	if err != nil {
		return nil, err
	}
	out, q := []*Building{}, r.URL.Query().Get("q")
	for _, s := range sites {
		b, err := t.describe(r.Context(), s)
		if err != nil {
			return nil, err
		}
		if b.matches(q) {
			out = append(out, b)
		}
	}
	return map[string]any{"buildings": out}, nil
}

// matches tells whether every word of q is somewhere in what is said of the building.
func (b *Building) matches(q string) bool {
	all := strings.ToLower(strings.Join(append([]string{b.ID, b.Org, b.Name, b.Address, b.City, b.Country, b.External}, b.Tags...), "\n"))
	return !slices.ContainsFunc(strings.Fields(strings.ToLower(q)), func(word string) bool { return !strings.Contains(all, word) })
}

func (t *Twin) building(r *route.Request) (any, error) {
	s := r.Found.(store.Site)
	b, err := t.describe(r.Context(), s)
	if err != nil {
		return nil, err
	}
	if part := r.PathValue("space"); part != "" {
		return t.part(r, s, b, part)
	}
	return &route.Response{Header: http.Header{"Etag": {b.etag()}}, Body: b}, nil
}

// part is one of several buildings of a site.
func (t *Twin) part(r *route.Request, s store.Site, b *Building, id string) (any, error) {
	v, err := t.View(r.Context(), s)
	if err != nil {
		return nil, err
	}
	sp, _ := v.Model.Space(id)
	out := *b
	out.ID, out.Facts.Name, out.Parts, out.Rooms, out.People = s.Site+"."+id, sp.Name, nil, len(rooms(&v, id)), nil
	for _, view := range v.Spaces {
		if view.ID == id {
			out.People = view.Occupancy.Count
		}
	}
	return out, nil
}

// rooms lists the rooms within a space, all of the site when it is empty.
func rooms(v *View, within string) []edge.SpaceView {
	parent := map[string]string{}
	for _, s := range v.Spaces {
		parent[s.ID] = s.Parent
	}
	out := []edge.SpaceView{}
	for _, s := range v.Spaces {
		inside := within == ""
		for id, n := s.Parent, 0; id != "" && !inside && n < len(parent); id, n = parent[id], n+1 {
			inside = id == within
		}
		if s.Kind == edge.Room && inside {
			out = append(out, s)
		}
	}
	return out
}

func (t *Twin) buildingRooms(r *route.Request) (any, error) {
	v, err := t.View(r.Context(), r.Found.(store.Site))
	if err != nil {
		return nil, err
	}
	return map[string]any{"rooms": rooms(&v, r.PathValue("space")), "as_of": asOf(v.AsOf), "stale": v.Stale}, nil
}

// asOf is a time in JSON, null when there is none.
func asOf(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at
}

func (t *Twin) room(r *route.Request) (any, error) {
	docs, err := t.allDocuments(r, r.Found.(store.Site))
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		if d.ID == r.PathValue("id") && d.Kind != "door" && d.Kind != "sensor" {
			return route.WithETag(d), nil
		}
	}
	return nil, route.ErrNotFound
}

func (t *Twin) documents(r *route.Request) (any, error) {
	docs, err := t.allDocuments(r, r.Found.(store.Site))
	if err != nil {
		return nil, err
	}
	kind, q := r.URL.Query().Get("kind"), strings.ToLower(r.URL.Query().Get("q"))
	docs = slices.DeleteFunc(docs, func(d Document) bool {
		return kind != "" && d.Kind != kind || !strings.Contains(strings.ToLower(d.ID+"\n"+d.Name), q)
	})
	return route.WithETag(map[string]any{"site": r.Found.(store.Site).Site, "documents": docs}), nil
}

// allDocuments joins what the hub reports with what is desired of it.
func (t *Twin) allDocuments(r *route.Request, s store.Site) ([]Document, error) {
	v, err := t.View(r.Context(), s)
	if err != nil {
		return nil, err
	}
	var want Desired
	if t.hooks.Desired != nil {
		if want, err = t.hooks.Desired(r.Context(), s); err != nil {
			return nil, err
		}
	}
	docs := []Document{}
	add := func(section string, d Document, reported any) {
		if reported != nil {
			if d.Reported, err = json.Marshal(reported); err != nil {
				return
			}
		}
		d.Rev, d.Applied, d.Reason, d.Stale = want.Rev, want.Applied, strings.Join(want.Reasons, "\n"), v.Stale
		key := section + "/" + d.ID
		if e, ok := want.Elements[key]; ok {
			d.Desired, d.Removed = e, string(e) == "null"
			delete(want.Elements, key)
		}
		docs = append(docs, d)
	}
	for _, sp := range v.Spaces {
		add("spaces", Document{Kind: string(sp.Kind), ID: sp.ID, Name: sp.Name, Parent: sp.Parent, AsOf: sp.Occupancy.AsOf}, sp)
	}
	for _, d := range v.Model.Doors {
		add("doors", Document{Kind: "door", ID: d.ID, AsOf: s.SnapshotAt}, d)
	}
	for _, se := range v.Sensors {
		parent := se.Space
		if parent == "" {
			parent = se.Door
		}
		add("sensors", Document{Kind: "sensor", ID: se.ID, Name: se.Name, Parent: parent, AsOf: se.LastAt}, se)
	}
	for _, key := range slices.Sorted(maps.Keys(want.Elements)) { // what the hub does not have (yet)
		section, id, _ := strings.Cut(key, "/")
		var e struct{ Kind, Name, Parent string }
		if string(want.Elements[key]) == "null" || json.Unmarshal(want.Elements[key], &e) != nil {
			continue
		}
		if section != "spaces" {
			e.Kind = strings.TrimSuffix(section, "s")
		}
		add(section, Document{Kind: e.Kind, ID: id, Name: e.Name, Parent: e.Parent}, nil)
	}
	return docs, err
}
