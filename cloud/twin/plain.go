package twin

import (
	"bytes"
	"context"
	"database/sql"
	"net/http"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// PlainRoutes are views of the same data under the names that other systems use, over all sites
// that the caller may see: ?site= and ?org= narrow them. GET /v1/overview is what a dashboard
// begins with.
func (t *Twin) PlainRoutes() []route.Route {
	var routes []route.Route
	add := func(method, path, summary string, need route.Need, out any, h func(*route.Request) (any, error)) {
		routes = append(routes, route.Route{Method: method, Path: path, Tag: "plain names", Summary: summary, Need: need, Out: out, Handle: h})
	}
	of := func(table, column, noun string) route.Need {
		return route.Need{Of: t.ofThing(table, column, noun), Role: token.Viewer}
	}
	signedIn, ofSensor, ofRoom := route.Need{SignedIn: true}, of("sensors", "sensor", "sensor"), of("spaces", "space", "room")
	add(http.MethodGet, "/sensors", "The sensors of all sites", signedIn, PlainSensors{}, t.plainSensors)
	add(http.MethodGet, "/sensors/{id}/data", "What a sensor said, oldest first, in pages", ofSensor, SensorPage{}, t.sensorData)
	add(http.MethodPost, "/sensors/data", "Says which server takes readings: the site's hub, not the cloud", route.Need{Public: true}, nil, noReadings)
	add(http.MethodGet, "/rooms", "The rooms of all sites with their present occupancy", signedIn, Rooms{}, t.rooms)
	add(http.MethodGet, "/rooms/{id}/metrics", "One room's present occupancy", ofRoom, Room{}, t.roomMetrics)
	add(http.MethodGet, "/rooms/{id}/history", "Past occupancy of a room, ?interval= apart", ofRoom, History{}, t.roomHistory)
	add(http.MethodGet, "/v1/overview", "What a dashboard begins with: one ?site= with its spaces, open alerts and status", route.Need{Of: t.ofQuerySite, Role: token.Viewer}, Overview{}, t.overview)
	return routes
}

// noReadings: the hub's "accepted" means that a reading is on its disk, in order and counted;
// the cloud has no place for one that came past the hub.
func noReadings(*route.Request) (any, error) {
	return nil, problem(http.StatusMisdirectedRequest, "readings are taken by the hub of the site: POST them to http://HUB:8080/v1/readings (or /sensors/data there); they come here by themselves")
}

// visible lists the sites that the caller may see, narrowed by ?site= and ?org=.
func (t *Twin) visible(r *route.Request) ([]store.Site, error) {
	rows, err := t.db.Sites(r.Context())
	site, org := r.URL.Query().Get("site"), r.URL.Query().Get("org")
	return slices.DeleteFunc(rows, func(s store.Site) bool {
		return r.Who.RoleIn(Domains(s)) < token.Viewer || site != "" && site != s.Site || org != "" && org != s.Org
	}), err
}

// ofThing is the Need.Of of routes about a sensor or space by its id alone: it leaves the site
// that has it in Found. Only sites that the caller may see count.
func (t *Twin) ofThing(table, column, noun string) func(*route.Request) ([]string, error) {
	query := "SELECT site FROM " + table + " WHERE " + column + " = ?"
	return func(r *route.Request) ([]string, error) {
		id := r.PathValue("id")
		having, err := t.sitesOf(r.Context(), query, id)
		if err != nil {
			return nil, err
		}
		sites, err := t.visible(r)
		if err != nil {
			return nil, err
		}
		sites = slices.DeleteFunc(sites, func(s store.Site) bool { return !slices.Contains(having, s.ID) && !modelHas(s, noun, id) })
		switch len(sites) {
		case 0:
			return nil, problem(http.StatusNotFound, "there is no %s %q that you may see; GET /%ss lists those there are", noun, id, noun)
		case 1:
			r.Found = sites[0]
			return Domains(sites[0]), nil
		}
		return nil, problem(http.StatusConflict, "%d sites have a %s %q; say which one with ?site= (and ?org=)", len(sites), noun, id)
	}
}

// modelHas tells whether a site's model has a room of which nothing was heard yet.
func modelHas(s store.Site, noun, id string) bool {
	if noun != "room" || !bytes.Contains(s.Model, []byte(id)) {
		return false
	}
	v := View{Site: s}
	return v.decode() == nil && slices.ContainsFunc(v.Model.Spaces, func(sp edge.Space) bool { return sp.ID == id })
}

func (t *Twin) sitesOf(ctx context.Context, query, id string) ([]int64, error) {
	rows, err := t.db.Query(ctx, query, id)
	return store.Collect(rows, err, func(r *sql.Rows) (id int64, err error) { return id, r.Scan(&id) })
}

// ofQuerySite is OfSite for ?site=, which may be left out by who sees one site only.
func (t *Twin) ofQuerySite(r *route.Request) ([]string, error) {
	if id := r.URL.Query().Get("site"); id != "" {
		r.SetPathValue("site", id)
		return t.OfSite(r)
	}
	sites, err := t.visible(r)
	if err != nil {
		return nil, err
	}
	if len(sites) != 1 {
		return nil, problem(http.StatusBadRequest, "say which site with ?site=; GET /v1/sites lists those that you may see")
	}
	r.Found = sites[0]
	return Domains(sites[0]), nil
}

// PlainSensor is a sensor and where it is.
type PlainSensor struct {
	Org  string `json:"org"`
	Site string `json:"site"`
	edge.SensorStatus
	Stale bool `json:"stale"` // its hub is not heard
}

// PlainSensors is the answer of GET /sensors.
type PlainSensors struct {
	Sensors []PlainSensor `json:"sensors"`
}

func (t *Twin) plainSensors(r *route.Request) (any, error) {
	out := PlainSensors{Sensors: []PlainSensor{}}
	err := t.eachView(r, func(v *View) {
		for _, s := range v.Sensors {
			out.Sensors = append(out.Sensors, PlainSensor{Org: v.Org, Site: v.Site.Site, SensorStatus: s, Stale: v.Stale})
		}
	})
	return out, err
}

// eachView looks at all sites that the caller may see.
func (t *Twin) eachView(r *route.Request, look func(*View)) error {
	sites, err := t.visible(r)
	if err != nil {
		return err
	}
	for _, s := range sites {
		v, err := t.View(r.Context(), s)
		if err != nil {
			return err
		}
		look(&v)
	}
	return nil
}

// Room is a room in the flat shape of GET /rooms. Counts of an unknown room are null.
type Room struct {
	Org         string                `json:"org"`
	Site        string                `json:"site"`
	ID          string                `json:"id"`
	Name        string                `json:"name,omitempty"`
	Floor       string                `json:"floor,omitempty"` // id of the space that encloses it
	Capacity    int                   `json:"capacity,omitempty"`
	State       edge.OccupancyState   `json:"state"`
	Count       *int                  `json:"count"`
	Low         *int                  `json:"low"`
	High        *int                  `json:"high"`
	POccupied   *float64              `json:"p_occupied"`
	Utilisation *float64              `json:"utilisation"`
	Quality     edge.OccupancyQuality `json:"quality"` // "stale" when the hub is not heard
	AsOf        time.Time             `json:"as_of,omitzero"`
	Stale       bool                  `json:"stale"`
	Sources     []string              `json:"sources"`
}

// Rooms is the answer of GET /rooms.
type Rooms struct {
	Rooms []Room `json:"rooms"`
}

func (t *Twin) rooms(r *route.Request) (any, error) {
	out := Rooms{Rooms: []Room{}}
	err := t.eachView(r, func(v *View) {
		for _, s := range v.Spaces {
			if isRoom(s) {
				out.Rooms = append(out.Rooms, v.room(s))
			}
		}
	})
	return out, err
}

// isRoom takes in what the model does not have (yet): its kind is not known.
func isRoom(s edge.SpaceView) bool { return s.Kind == edge.Room || s.Kind == edge.Zone || s.Kind == "" }

func (v *View) room(s edge.SpaceView) Room {
	o := s.Occupancy
	sources := o.Sources
	if sources == nil {
		sources = []string{}
	}
	return Room{
		Org: v.Org, Site: v.Site.Site, ID: s.ID, Name: s.Name, Floor: s.Parent, Capacity: s.Capacity, State: o.State, Count: o.Count, Low: o.Low,
		High: o.High, POccupied: o.POccupied, Utilisation: o.Utilisation, Quality: o.Quality, AsOf: o.AsOf, Stale: v.Stale, Sources: sources,
	}
}

func (t *Twin) roomMetrics(r *route.Request) (any, error) {
	v, s, err := t.foundRoom(r)
	if err != nil {
		return nil, err
	}
	return v.room(s), nil
}

// foundRoom is the room that the path names, on the site that was found to have it.
func (t *Twin) foundRoom(r *route.Request) (View, edge.SpaceView, error) {
	site, id := r.Found.(store.Site), r.PathValue("id")
	v, err := t.View(r.Context(), site)
	if err != nil {
		return v, edge.SpaceView{}, err
	}
	i := slices.IndexFunc(v.Spaces, func(s edge.SpaceView) bool { return s.ID == id })
	switch {
	case i < 0:
		return v, edge.SpaceView{}, route.ErrNotFound
	case !isRoom(v.Spaces[i]):
		return v, edge.SpaceView{}, problem(http.StatusNotFound, "%q is a %s, not a room; /v1/sites/%s/spaces/%s has it", id, v.Spaces[i].Kind, site.Site, id)
	}
	return v, v.Spaces[i], nil
}

func (t *Twin) roomHistory(r *route.Request) (any, error) {
	if _, _, err := t.foundRoom(r); err != nil {
		return nil, err
	}
	asked := r.Clone(r.Context())
	q := asked.URL.Query()
	if every := q.Get("interval"); every != "" {
		q.Set("every", every)
	}
	asked.URL.RawQuery = q.Encode()
	return t.history(asked, r.Found.(store.Site))
}

// Overview is the answer of GET /v1/overview.
type Overview struct {
	Site   any              `json:"site"`   // as GET /v1/sites/{site}
	Status any              `json:"status"` // as GET /v1/sites/{site}/status
	Spaces []edge.SpaceView `json:"spaces"`
	Alerts []edge.Alert     `json:"alerts"` // the open ones
	Counts Counts           `json:"counts"`
}

// Counts are the numbers of a dashboard.
type Counts struct {
	Spaces   int  `json:"spaces"`
	Occupied int  `json:"occupied"` // spaces
	Unknown  int  `json:"unknown"`  // spaces
	Sensors  int  `json:"sensors"`
	Silent   int  `json:"silent"` // sensors that are not ok
	Alerts   int  `json:"alerts"`
	People   *int `json:"people"` // null = not known
}

func (t *Twin) overview(r *route.Request) (any, error) {
	s := r.Found.(store.Site)
	v, err := t.View(r.Context(), s)
	if err != nil {
		return nil, err
	}
	out := Overview{Spaces: v.Spaces, Alerts: slices.DeleteFunc(v.Alerts, func(a edge.Alert) bool { return a.State == edge.StateCleared })}
	if out.Site, err = t.site(r.Request, s); err != nil {
		return nil, err
	}
	if out.Status, err = t.status(r.Request, s); err != nil {
		return nil, err
	}
	out.Counts = Counts{Spaces: len(v.Spaces), Sensors: len(v.Sensors), Alerts: len(out.Alerts), People: v.People()}
	for _, sp := range v.Spaces {
		switch sp.Occupancy.State {
		case edge.Occupied:
			out.Counts.Occupied++
		case edge.Unknown, "":
			out.Counts.Unknown++
		}
	}
	for _, sensor := range v.Sensors {
		if sensor.Status != "ok" {
			out.Counts.Silent++
		}
	}
	return out, nil
}
