package twin

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/wire"
)

//go:embed migrations
var migrations embed.FS

// Hooks are what the twin needs of others; each may be nil.
type Hooks struct {
	// Desired is what a site's hub is to run.
	Desired func(ctx context.Context, s store.Site) (Desired, error)
	// Acknowledged is told within the transaction that somebody has acknowledged a hub's alert.
	Acknowledged func(tx *store.Tx, s store.Site, alert, note string, who *token.Identity) error
	// Enrolled tells whether a site has credentials for a hub; Revoke ends them.
	Enrolled func(org, site string) bool
	Revoke   func(org, site string) error
	// Forget removes what modules keep of a site that is deleted.
	Forget []func(tx *store.Tx, s store.Site) error
	// Moved is told that a site belongs to other domains now.
	Moved func(s store.Site)
}

// Open brings the twin's own tables up to date. Routes need it; projection does not.
func (t *Twin) Open(ctx context.Context, h Hooks) error {
	t.hooks = h
	return t.db.Migrate(ctx, "twin", migrations, "migrations")
}

// Facts are what people say of a site: the body of a request that makes or changes one.
type Facts struct {
	Name      string   `json:"name,omitempty"`
	Address   string   `json:"address,omitempty"`
	City      string   `json:"city,omitempty"`
	Country   string   `json:"country,omitempty"` // ISO 3166, such as NO
	Timezone  string   `json:"timezone,omitempty"`
	Latitude  *float64 `json:"latitude,omitempty"`
	Longitude *float64 `json:"longitude,omitempty"`
	Tags      []string `json:"tags,omitempty"`
	External  string   `json:"external_id,omitempty"` // in another system
}

// Building is a site as people see it. A site is one building unless its hub says otherwise: then
// the spaces of kind building are its Parts, with ids SITE.SPACE.
type Building struct {
	ID  string `json:"id"`
	Org string `json:"org"`
	Facts
	Domains       []string  `json:"domains"` // the owner first, then those it is shared with
	CreatedAt     time.Time `json:"created_at"`
	CreatedBy     string    `json:"created_by,omitempty"` // empty: its hub was heard first
	Online        bool      `json:"online"`
	Stale         bool      `json:"stale"`
	LastHeartbeat time.Time `json:"last_heartbeat,omitzero"`
	People        *int      `json:"people"` // null = not known
	Rooms         int       `json:"rooms"`
	Parts         []string  `json:"parts,omitempty"`
	rev           int64
}

func (t *Twin) siteRoutes() []route.Route {
	see, manage := route.Need{Of: t.OfSite, Role: token.Viewer}, route.Need{Of: t.ofOwned, Role: token.Manager}
	own, in := route.Need{Of: t.ofOwned, Role: token.Admin}, route.Need{Of: t.ofNew, Role: token.Manager}
	var routes []route.Route
	add := func(method, path, summary string, need route.Need, body, out any, h func(*route.Request) (any, error)) {
		routes = append(routes, route.Route{Method: method, Path: path, Tag: "twin", Summary: summary, Need: need, In: body, Out: out, Handle: h})
	}
	for _, base := range []string{"/v1/sites", "/twin/buildings"} {
		one := base + "/{site}"
		add(http.MethodPost, base, "Make a site, before its hub is heard", in, newSite{}, Building{}, t.createSite)
		add(http.MethodPatch, one, "Change what is said of a site: merge patch, If-Match", manage, Facts{}, Building{}, t.patchSite)
		add(http.MethodDelete, one, "Delete a site with everything it sent; ?force=1 although it has a hub", own, nil, Deleted{}, t.deleteSite)
	}
	add(http.MethodGet, "/twin/buildings", "The buildings that the caller may see; ?q= searches", route.Need{SignedIn: true}, nil, nil, t.buildings)
	add(http.MethodGet, "/twin/buildings/{site}", "One building: a site, or SITE.SPACE", route.Need{Of: t.ofBuilding, Role: token.Viewer}, nil, Building{}, t.building)
	add(http.MethodGet, "/twin/buildings/{site}/rooms", "Its rooms", route.Need{Of: t.ofBuilding, Role: token.Viewer}, nil, nil, t.buildingRooms)
	add(http.MethodGet, "/twin/rooms/{id}", "One room", route.Need{Of: t.ofThing("spaces", "space", "room"), Role: token.Viewer}, nil, Document{}, t.room)
	add(http.MethodGet, "/v1/sites/{site}/facts", "What people say of a site, and whose it is", see, nil, Building{}, t.building)
	add(http.MethodGet, "/v1/sites/{site}/domains", "Whose a site is, and with whom it is shared", see, nil, Ownership{}, t.ownership)
	add(http.MethodPut, "/v1/sites/{site}/domains", "Give a site to another domain, or share it", own, Ownership{}, Ownership{}, t.putOwnership)
	add(http.MethodGet, "/v1/sites/{site}/twin", "A document per space, door and sensor: reported and desired; ?kind= and ?q= choose", see, nil, nil, t.documents)
	return routes
}

// ofOwned is the policy of changes: those with whom a site is shared look at it only.
func (t *Twin) ofOwned(r *route.Request) ([]string, error) {
	if _, err := t.OfSite(r); err != nil {
		return nil, err
	}
	owner := r.Found.(store.Site).Owner()
	if r.Who.Role(owner) == token.None {
		return nil, problem(http.StatusForbidden, "the site belongs to %s; it is shared with you to look at", owner)
	}
	return []string{owner}, nil
}

// newSite is the body of a request that makes a site.
type newSite struct {
	ID     string `json:"id,omitempty"`     // [a-z0-9_-]{1,64}; a new UUID when empty
	Domain string `json:"domain,omitempty"` // the owner; the caller's own domain when it has one only
	Facts
}

// ofNew is the policy of making a site: the role counts in the domain that the body names.
func (t *Twin) ofNew(r *route.Request) ([]string, error) {
	var n newSite
	if err := r.Decode(&n); err != nil {
		return nil, err
	}
	if n.Domain == "" && len(r.Who.Memberships) == 1 {
		n.Domain = r.Who.Memberships[0].Domain
	}
	if n.Domain == "" {
		return nil, problem(http.StatusUnprocessableEntity, `say whose the site is: {"domain": "ORGANISATION"}, or a domain below it`)
	}
	r.Found = n
	return []string{n.Domain}, nil
}

func (t *Twin) createSite(r *route.Request) (any, error) {
	n := r.Found.(newSite)
	if n.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		n.ID = id.String()
	}
	org := token.Organisation(n.Domain)
	if !wire.ValidToken(n.ID) || n.ID == store.OrgSite {
		return nil, problem(http.StatusUnprocessableEntity, "id %.80q: want 1 to 64 of a-z 0-9 _ -", n.ID)
	}
	if err := checkDomain(n.Domain); err != nil {
		return nil, err
	}
	if err := n.Facts.check(); err != nil {
		return nil, err
	}
	var site store.Site
	now := edge.Millis(t.now())
	err := t.db.Update(r.Context(), func(tx *store.Tx) error {
		var there int
		if err := tx.QueryRow(`SELECT count(*) FROM sites WHERE org = ? AND site = ?`, org, n.ID).Scan(&there); err != nil {
			return err
		}
		if there > 0 {
			return problem(http.StatusConflict, "there is already a site %q in %s", n.ID, org)
		}
		var err error
		if site, err = tx.Site(org, n.ID, now); err != nil {
			return err
		}
		if n.Domain != org {
			if err := tx.PutDomains(site.ID, []string{n.Domain}); err != nil {
				return err
			}
		}
		if err := putFacts(tx, site.ID, 0, n.Facts, r.Who.Who(), now); err != nil {
			return err
		}
		return t.tell(tx, site, "site.created", map[string]any{"site": n.ID, "domain": n.Domain, "by": r.Who.Who()})
	})
	if err != nil {
		return nil, err
	}
	b, err := t.read(r.Context(), org, n.ID)
	if err != nil {
		return nil, err
	}
	res := route.Created("/v1/sites/"+n.ID, b)
	res.Header.Set("Etag", b.etag())
	return res, nil
}

// tell writes an event about a site for those who manage it.
func (t *Twin) tell(tx *store.Tx, s store.Site, typ edge.EventType, data any) error {
	e, err := store.EventOf(typ, s.Site, t.now(), data)
	if err != nil {
		return err
	}
	return tx.AddSiteEvent(s, "", e)
}

// maxFact bounds a text of the facts, in bytes.
const maxFact = 200

func (f *Facts) check() error {
	for name, s := range map[string]string{"name": f.Name, "address": f.Address, "city": f.City, "country": f.Country, "external_id": f.External} {
		if len(s) > maxFact || strings.ContainsFunc(s, unicode.IsControl) {
			return problem(http.StatusUnprocessableEntity, "%s: want at most %d bytes without control characters", name, maxFact)
		}
	}
	if _, err := time.LoadLocation(f.Timezone); err != nil || f.Timezone == "Local" {
		return problem(http.StatusUnprocessableEntity, "timezone %.80q is none; write for example Europe/Oslo", f.Timezone)
	}
	if f.Latitude != nil && (*f.Latitude < -90 || *f.Latitude > 90) || f.Longitude != nil && (*f.Longitude < -180 || *f.Longitude > 180) || (f.Latitude == nil) != (f.Longitude == nil) {
		return problem(http.StatusUnprocessableEntity, "latitude and longitude belong together, within ±90 and ±180 degrees")
	}
	if len(f.Tags) > 50 || slices.ContainsFunc(f.Tags, func(s string) bool { return s == "" || len(s) > 64 }) {
		return problem(http.StatusUnprocessableEntity, "tags: want at most 50 of 1 to 64 bytes")
	}
	return nil
}

func checkDomain(d string) error {
	for part := range strings.SplitSeq(d, "/") {
		if !wire.ValidToken(part) {
			return problem(http.StatusUnprocessableEntity, "domain %.80q: want an organisation, or a domain below it such as acme/north", d)
		}
	}
	return nil
}

// putFacts writes the facts after revision rev.
func putFacts(tx *store.Tx, site, rev int64, f Facts, author string, now time.Time) error {
	doc, err := json.Marshal(f)
	if err != nil {
		return err
	}
	const upsert = `INSERT INTO twin_sites (site, rev, doc, created, author) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (site) DO UPDATE SET rev = excluded.rev, doc = excluded.doc WHERE twin_sites.rev = ?`
	n, err := tx.ExecCount(upsert, site, rev+1, string(doc), store.Millis(now), author, rev)
	if err == nil && n == 0 {
		err = problem(http.StatusPreconditionFailed, "it was changed in the meantime; read it again")
	}
	return err
}

func (b *Building) etag() string { return `"` + strconv.FormatInt(b.rev, 10) + `"` }

func (t *Twin) read(ctx context.Context, org, id string) (*Building, error) {
	found, err := t.db.FindSites(ctx, org, id)
	if err == nil && len(found) != 1 {
		err = route.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return t.describe(ctx, found[0])
}

// describe puts together what is said and what is known of a site.
func (t *Twin) describe(ctx context.Context, s store.Site) (*Building, error) {
	b := &Building{ID: s.Site, Org: s.Org, Domains: Domains(s), CreatedAt: s.FirstSeen, LastHeartbeat: s.LastHeartbeat}
	var doc string
	var created int64
	err := t.db.QueryRow(ctx, `SELECT rev, doc, created, author FROM twin_sites WHERE site = ?`, s.ID).Scan(&b.rev, &doc, &created, &b.CreatedBy)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return nil, fmt.Errorf("read facts of %s: %w", s.Site, err)
	default:
		if err := json.Unmarshal([]byte(doc), &b.Facts); err != nil {
			return nil, fmt.Errorf("read facts of %s: %w", s.Site, err)
		}
		if created != 0 && b.CreatedBy != "" {
			b.CreatedAt = store.FromMillis(created)
		}
	}
	v, err := t.View(ctx, s)
	if err != nil {
		return nil, err
	}
	b.Online, b.Stale, b.People = !v.Stale, v.Stale, v.People()
	if b.Name == "" {
		b.Name = s.Name
	}
	if b.Timezone == "" {
		b.Timezone = v.Model.Timezone
	}
	for _, sp := range v.Spaces {
		switch sp.Kind {
		case edge.Room:
			b.Rooms++
		case edge.Building:
			b.Parts = append(b.Parts, s.Site+"."+sp.ID)
		}
	}
	return b, nil
}

// patchSite changes facts by a merge patch (RFC 7396).
func (t *Twin) patchSite(r *route.Request) (any, error) {
	s := r.Found.(store.Site)
	was, err := t.describe(r.Context(), s)
	if err != nil {
		return nil, err
	}
	if err := r.IfMatch(was.etag()); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, problem(http.StatusBadRequest, "the body could not be read")
	}
	facts, err := mergeFacts(was.Facts, body)
	if err != nil {
		return nil, err
	}
	err = t.db.Update(r.Context(), func(tx *store.Tx) error {
		if err := putFacts(tx, s.ID, was.rev, facts, "", t.now()); err != nil {
			return err
		}
		return t.tell(tx, s, "site.changed", map[string]any{"site": s.Site, "by": r.Who.Who(), "facts": facts})
	})
	if err != nil {
		return nil, err
	}
	b, err := t.describe(r.Context(), s)
	if err != nil {
		return nil, err
	}
	return &route.Response{Header: http.Header{"Etag": {b.etag()}}, Body: b}, nil
}

// mergeFacts lays a patch over facts; null takes a fact away.
func mergeFacts(f Facts, patch []byte) (Facts, error) {
	var checked struct{ Facts } // strict: keys that are none are mistakes
	r := route.Request{Request: &http.Request{Body: io.NopCloser(bytes.NewReader(patch))}}
	if err := r.Decode(&checked); err != nil {
		return f, err
	}
	own, over := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	b, err := json.Marshal(f)
	if err != nil {
		return f, err
	}
	if err := errors.Join(json.Unmarshal(b, &own), json.Unmarshal(patch, &over)); err != nil {
		return f, problem(http.StatusBadRequest, "body: want an object")
	}
	for k, v := range over {
		if string(v) == "null" {
			delete(own, k)
			continue
		}
		own[k] = v
	}
	if b, err = json.Marshal(own); err != nil {
		return f, err
	}
	var out Facts
	if err := json.Unmarshal(b, &out); err != nil {
		return f, problem(http.StatusBadRequest, "body: %v", err)
	}
	return out, out.check()
}

// Deleted says what went with a site.
type Deleted struct {
	Site    string           `json:"site"`
	Org     string           `json:"org"`
	Revoked bool             `json:"revoked"` // its hub was cut off
	Rows    map[string]int64 `json:"deleted"` // by kind
}

func (t *Twin) deleteSite(r *route.Request) (any, error) {
	s, force := r.Found.(store.Site), r.URL.Query().Get("force") == "1"
	enrolled := t.hooks.Enrolled != nil && t.hooks.Enrolled(s.Org, s.Site)
	if !force && (enrolled || !s.LastHeartbeat.IsZero()) {
		return nil, problem(http.StatusConflict, "site %s has a hub (enrolled: %v, last heard: %s); ?force=1 cuts it off and deletes all it has sent", s.Site, enrolled, heard(s))
	}
	out := Deleted{Site: s.Site, Org: s.Org, Rows: map[string]int64{}}
	if enrolled && t.hooks.Revoke != nil {
		if err := t.hooks.Revoke(s.Org, s.Site); err != nil {
			return nil, problem(http.StatusConflict, "its hub could not be cut off, so that the site would come back: %v", err)
		}
		out.Revoked = true
	}
	err := t.db.Update(r.Context(), func(tx *store.Tx) error {
		for _, table := range []string{"events", "readings", "alerts", "spaces", "sensors"} {
			var n int64
			if err := tx.QueryRow(`SELECT count(*) FROM `+table+` WHERE site = ?`, s.ID).Scan(&n); err != nil {
				return err
			}
			out.Rows[table] = n
		}
		for _, forget := range t.hooks.Forget {
			if err := forget(tx, s); err != nil {
				return err
			}
		}
		if err := tx.Exec(`DELETE FROM twin_sites WHERE site = ?`, s.ID); err != nil {
			return err
		}
		if err := tx.DeleteSite(s.ID); err != nil {
			return err
		}
		e, err := store.EventOf("site.deleted", s.Site, t.now(), map[string]any{"site": s.Site, "by": r.Who.Who(), "deleted": out.Rows})
		if err != nil {
			return err
		}
		return tx.AddOrgEvent(s.Org, "role:manager", e)
	})
	return out, err
}

func heard(s store.Site) string {
	if s.LastHeartbeat.IsZero() {
		return "never"
	}
	return s.LastHeartbeat.Format(time.RFC3339)
}

// Ownership says whose a site is.
type Ownership struct {
	Owner  string   `json:"owner"`
	Shared []string `json:"shared"` // domains that see it, too, each by the roles of its own members
}

func (t *Twin) ownership(r *route.Request) (any, error) {
	d := Domains(r.Found.(store.Site))
	return route.WithETag(Ownership{Owner: d[0], Shared: d[1:]}), nil
}

// putOwnership gives a site to another domain of its organisation, or shares it with any.
func (t *Twin) putOwnership(r *route.Request) (any, error) {
	s := r.Found.(store.Site)
	d := Domains(s)
	if err := r.IfMatch(route.ETag(Ownership{Owner: d[0], Shared: d[1:]})); err != nil {
		return nil, err
	}
	var o Ownership
	if err := r.Decode(&o); err != nil {
		return nil, err
	}
	if o.Shared == nil {
		o.Shared = []string{}
	}
	if token.Organisation(o.Owner) != s.Org {
		return nil, problem(http.StatusUnprocessableEntity, "owner %.80q: want %s or a domain below it, as the hub's credentials are of that organisation", o.Owner, s.Org)
	}
	if r.Who.Role(o.Owner) < token.Admin {
		return nil, problem(http.StatusForbidden, "to give the site to %s needs the role admin there", o.Owner)
	}
	next := append([]string{o.Owner}, o.Shared...)
	for i, domain := range next {
		if err := checkDomain(domain); err != nil {
			return nil, err
		}
		if slices.Contains(next[:i], domain) || len(next) > 32 {
			return nil, problem(http.StatusUnprocessableEntity, "domain %q stands twice, or there are more than 31 to share with", domain)
		}
	}
	err := t.db.Update(r.Context(), func(tx *store.Tx) error {
		now, err := tx.Site(s.Org, s.Site, t.now())
		if err != nil {
			return err
		}
		if now.ID != s.ID || !slices.Equal(Domains(now), d) {
			return problem(http.StatusPreconditionFailed, "it was changed in the meantime; read it again")
		}
		if err := tx.PutDomains(s.ID, next); err != nil {
			return err
		}
		return t.tell(tx, s, "site.shared", map[string]any{"site": s.Site, "owner": o.Owner, "shared": o.Shared, "by": r.Who.Who()})
	})
	if err == nil && t.hooks.Moved != nil {
		t.hooks.Moved(s)
	}
	return route.WithETag(o), err
}
