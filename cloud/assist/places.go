package assist

import (
	"context"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// siteRow is a site in an answer.
type siteRow struct {
	Site       string    `json:"site"`
	Org        string    `json:"org"`
	Name       string    `json:"name,omitempty"`
	Known      bool      `json:"known"`
	People     *int      `json:"people"` // null = not known
	Quality    string    `json:"quality"`
	Note       string    `json:"note,omitempty"`
	AsOf       time.Time `json:"as_of,omitzero"`
	OpenAlerts int       `json:"open_alerts"`
	Link       string    `json:"link"`
}

// site is what the API says of a site.
type site struct {
	ID         string    `json:"id"`
	Org        string    `json:"org"`
	Name       string    `json:"name"`
	Stale      bool      `json:"stale"`
	AsOf       time.Time `json:"as_of"`
	People     *int      `json:"people"`
	OpenAlerts int       `json:"open_alerts"`
}

// staleNote says why numbers of a silent site are not given.
const staleNote = notKnown + ": the site's hub is not heard; as_of says since when"

func readSites(ctx context.Context, api API, org, query string) (list []site, link string, err error) {
	link = path([]string{"v1", "sites"}, "org", org, "q", query)
	var got struct{ Sites []site }
	err = read(ctx, api, link, &got)
	return got.Sites, link, err
}

func listSites(ctx context.Context, api API, a Arguments, _ time.Time) (Answer, error) {
	list, link, err := readSites(ctx, api, a.Org, a.Query)
	if err != nil {
		return Answer{}, err
	}
	page, next, err := window(list, a)
	if err != nil {
		return Answer{}, err
	}
	out := Answer{Known: len(page) > 0, Next: next, Links: []string{link}}
	for _, s := range page {
		row := siteRow{Site: s.ID, Org: s.Org, Name: s.Name, AsOf: s.AsOf, OpenAlerts: s.OpenAlerts, Quality: string(edge.QualityNone),
			Link: path([]string{"v1", "sites", s.ID}, "org", s.Org)}
		switch {
		case s.Stale:
			row.Quality, row.Note = string(edge.QualityStale), staleNote
		case s.People != nil:
			row.Known, row.People, row.Quality = true, s.People, string(edge.QualityGood)
		default:
			row.Note = notKnown
		}
		out.AsOf = later(out.AsOf, s.AsOf)
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// spaceRow is a space as it is built.
type spaceRow struct {
	Space    string `json:"space"`
	Name     string `json:"name,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Parent   string `json:"parent,omitempty"`
	Capacity int    `json:"capacity,omitempty"`
	Link     string `json:"link"`
}

// occupancyRow is how many people are or were in a space. While Known is false it holds no number.
type occupancyRow struct {
	Space       string    `json:"space"`
	Name        string    `json:"name,omitempty"`
	Known       bool      `json:"known"`
	State       string    `json:"state"`
	Count       *int      `json:"count"` // null = not known
	Low         *int      `json:"low"`
	High        *int      `json:"high"`
	Capacity    int       `json:"capacity,omitempty"`
	Utilisation *float64  `json:"utilisation,omitempty"`
	Quality     string    `json:"quality"`
	AsOf        time.Time `json:"as_of,omitzero"`
	Note        string    `json:"note,omitempty"`
	Link        string    `json:"link"`
}

// newOccupancyRow leaves numbers away that are not to be relied on.
func newOccupancyRow(name string, o edge.Occupancy, stale bool, link string) occupancyRow {
	row := occupancyRow{Space: o.Space, Name: name, State: string(edge.Unknown), Capacity: o.Capacity, Quality: string(o.Quality), AsOf: o.AsOf, Link: link}
	switch {
	case stale:
		row.Quality, row.Note = string(edge.QualityStale), staleNote
	case o.Quality == edge.QualityStale:
		row.Note = notKnown + ": the sensors of this space are silent"
	case o.Count == nil || o.State == edge.Unknown || o.State == "" || o.Quality == edge.QualityNone:
		row.Note = notKnown
	default:
		row.Known, row.State, row.Count, row.Low, row.High, row.Utilisation = true, string(o.State), o.Count, o.Low, o.High, o.Utilisation
	}
	return row
}

// spacesOf is the API's list of the spaces of a site.
type spacesOf struct {
	Spaces []edge.SpaceView `json:"spaces"`
	AsOf   time.Time        `json:"as_of"`
	Stale  bool             `json:"stale"`
}

// readSpaces reads the spaces that the arguments choose.
func readSpaces(ctx context.Context, api API, a Arguments) (got spacesOf, link string, err error) {
	link = path([]string{"v1", "sites", a.Site, "spaces"}, "org", a.Org, "kind", a.Kind)
	if err := read(ctx, api, link, &got); err != nil {
		return got, link, err
	}
	chosen := got.Spaces[:0]
	for _, s := range got.Spaces {
		if (a.Space == "" || s.ID == a.Space) && holds(a.Query, s.ID, s.Name) {
			chosen = append(chosen, s)
		}
	}
	got.Spaces = chosen
	return got, link, nil
}

func listSpaces(ctx context.Context, api API, a Arguments, _ time.Time) (Answer, error) {
	got, link, err := readSpaces(ctx, api, a)
	if err != nil {
		return Answer{}, err
	}
	page, next, err := window(got.Spaces, a)
	if err != nil {
		return Answer{}, err
	}
	out := Answer{Known: len(page) > 0, AsOf: got.AsOf, Next: next, Links: []string{link}}
	for _, s := range page {
		out.Rows = append(out.Rows, spaceRow{Space: s.ID, Name: s.Name, Kind: string(s.Kind), Parent: s.Parent, Capacity: s.Capacity, Link: a.sitePath("spaces", s.ID)})
	}
	return out, nil
}

func occupancyNow(ctx context.Context, api API, a Arguments, _ time.Time) (Answer, error) {
	got, link, err := readSpaces(ctx, api, a)
	if err != nil {
		return Answer{}, err
	}
	if a.Space != "" && len(got.Spaces) == 0 {
		return Answer{}, problem("site %q has no space %q; list_spaces lists those there are", a.Site, a.Space)
	}
	page, next, err := window(got.Spaces, a)
	if err != nil {
		return Answer{}, err
	}
	out := Answer{AsOf: got.AsOf, Next: next, Links: []string{link}}
	for _, s := range page {
		s.Occupancy.Space = s.ID
		row := newOccupancyRow(s.Name, s.Occupancy, got.Stale, a.sitePath("spaces", s.ID))
		out.Known = out.Known || row.Known
		out.Rows = append(out.Rows, row)
	}
	if !out.Known && got.Stale {
		out.Note = staleNote
	}
	if !out.Known && out.Note == "" && len(out.Rows) > 0 {
		out.Note = notKnown
	}
	return out, nil
}
