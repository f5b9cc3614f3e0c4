package forward

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// Event is an event on its way out.
type Event struct {
	ID   int64
	Org  string
	Site string // empty for one that concerns the organisation as a whole
	Type string
	Body []byte // a CloudEvents 1.0 JSON object
	test string // id of a test event, which is in no table
}

// Key is the same whenever the event is sent.
func (e *Event) Key() string {
	if e.test != "" {
		return e.test
	}
	return strconv.FormatInt(e.ID, 10)
}

// cloudEvent is the form of Body. Its id is the event's number in the table: greater is newer.
type cloudEvent struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject,omitempty"`
	Time        time.Time       `json:"time"`
	ContentType string          `json:"datacontenttype"`
	Org         string          `json:"org"`
	Site        string          `json:"site,omitempty"`
	Record      string          `json:"record,omitempty"`   // as on the hub: epoch-lane-seq
	Backfill    bool            `json:"backfill,omitempty"` // arrived after a newer state was known
	Data        json.RawMessage `json:"data,omitempty"`
}

func newEvent(e store.Event) (Event, error) {
	rec, err := edge.ParseRecord(e.Body)
	if err != nil {
		return Event{}, fmt.Errorf("event %d: %w", e.ID, err)
	}
	out := Event{ID: e.ID, Org: e.Org, Site: e.SiteName, Type: e.Type}
	source := "/" + e.Org + "/" + e.SiteName
	if e.SiteName == store.OrgSite {
		out.Site, source = "", "/"+e.Org
	}
	out.Body, err = json.Marshal(cloudEvent{
		SpecVersion: "1.0", ID: out.Key(), Source: source, Type: e.Type, Subject: e.Subject, Time: e.At.UTC(), ContentType: "application/json",
		Org: e.Org, Site: out.Site, Record: rec.ID(), Backfill: e.Backfill, Data: rec.Data,
	})
	return out, err
}

// stateEvent is of the cloud's own streams: look at the site again. It says nothing outside.
const stateEvent = "site.state"

// filter is which events a target gets.
type filter struct {
	org          string
	types, sites []string  // empty = all
	since, until time.Time // of a replay; zero = no bound
	domains      func(store.Event) ([]string, error)
}

// wants tells whether an event is for the target: the organisation's admins may see it, and it
// was asked for.
func (f *filter) wants(e store.Event) (bool, error) {
	if e.Input || e.Type == stateEvent || !matches(f.types, e.Type) || len(f.sites) > 0 && !slices.Contains(f.sites, e.SiteName) {
		return false, nil
	}
	if !f.since.IsZero() && e.At.Before(f.since) || !f.until.IsZero() && e.At.After(f.until) {
		return false, nil
	}
	domains, err := f.domains(e)
	reader := &token.Identity{Kind: token.Service, Memberships: []token.Membership{{Domain: f.org, Role: token.Admin}}}
	return reader.MaySee(e.Audience, domains), err
}

// matches tells whether a type is one of a list of names and prefixes with "*"; all are when the
// list is empty.
func matches(list []string, typ string) bool {
	if len(list) == 0 {
		return true
	}
	return slices.ContainsFunc(list, func(p string) bool {
		prefix, open := strings.CutSuffix(p, "*")
		return p == typ || open && strings.HasPrefix(typ, prefix)
	})
}

var (
	typePattern = regexp.MustCompile(`^[a-z][a-z0-9_.]{0,63}\*?$|^\*$`)
	sitePattern = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
)

// checkFilter says what is wrong with types and sites.
func checkFilter(types, sites []string) error {
	if len(types) > 50 || len(sites) > 500 {
		return fmt.Errorf("want at most 50 types and 500 sites")
	}
	for _, t := range types {
		if !typePattern.MatchString(t) {
			return fmt.Errorf("type %q: want a type such as alert.raised, or a prefix such as alert.*", t)
		}
	}
	for _, s := range sites {
		if !sitePattern.MatchString(s) {
			return fmt.Errorf("site %q: want the id of a site", s)
		}
	}
	return nil
}
