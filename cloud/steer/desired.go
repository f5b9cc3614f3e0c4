package steer

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Desired is what a site is to run and what became of it.
type Desired struct {
	Site       string          `json:"site"`
	Rev        uint64          `json:"desired_rev"` // 0 = the hub's own file alone
	Document   json.RawMessage `json:"document"`
	Author     string          `json:"author,omitempty"`
	Note       string          `json:"note,omitempty"`
	At         time.Time       `json:"at,omitzero"`
	Applied    *uint64         `json:"applied_rev"` // that the hub runs; null = it never said
	State      string          `json:"state"`       // "unknown", "pending", "trial", "applied" or "refused"
	Refused    uint64          `json:"refused_rev,omitempty"`
	Reasons    []string        `json:"reasons,omitempty"` // of the refusal
	ReportedAt time.Time       `json:"reported_at,omitzero"`
	Diff       *Diff           `json:"diff,omitempty"`    // what a change changes
	DryRun     bool            `json:"dry_run,omitempty"` // nothing was changed
}

// Revision is one of the history of a desired configuration.
type Revision struct {
	Rev      uint64          `json:"rev"`
	Author   string          `json:"author"`
	Note     string          `json:"note,omitempty"`
	At       time.Time       `json:"at"`
	Bytes    int             `json:"bytes"`
	Document json.RawMessage `json:"document,omitempty"` // with ?rev=
}

func (s *Steer) desiredRoutes() []route.Route {
	see, change := route.Need{Of: s.opts.OfSite, Role: token.Viewer}, route.Need{Of: s.ofOwned, Role: token.Manager}
	r := func(method, path, summary string, need route.Need, out any, h func(*route.Request) (any, error)) route.Route {
		return route.Route{Method: method, Path: path, Tag: "twin", Summary: summary, Need: need, MaxBody: 2 * wire.MaxLayer, Out: out, Handle: h}
	}
	const path = "/v1/sites/{site}/twin/desired"
	return []route.Route{
		r(http.MethodGet, path, "What the site is to run over its hub's own file, and whether it does", see, Desired{}, s.getDesired),
		r(http.MethodPut, path, "Replace it (If-Match)", change, Desired{}, s.putDesired),
		r(http.MethodPatch, path, "Lay a fragment over it: elements by id; a section that is null is withdrawn (If-Match)", change, Desired{}, s.patchDesired),
		r(http.MethodGet, path+"/history", "Its revisions, newest first; ?rev= with the document", see, []Revision{}, s.history),
		r(http.MethodPost, "/v1/sites/{site}/import", "Lay spaces, doors and sensors over it: JSON, YAML or CSV; ?dry_run=1 only says what would change", change, Desired{}, s.importDesired),
		r(http.MethodGet, "/v1/sites/{site}/export", "Spaces, doors and sensors as they are, in the form of the import; ?format=csv", see, nil, s.export),
	}
}

// ofOwned is the policy of changes: those who see a site because it is shared with them do not
// decide about it.
func (s *Steer) ofOwned(r *route.Request) ([]string, error) {
	if _, err := s.opts.OfSite(r); err != nil {
		return nil, err
	}
	site := r.Found.(store.Site)
	if r.Who.Role(site.Owner()) == token.None {
		return nil, problem(http.StatusForbidden, "the site belongs to %s; it is shared with you to look at", site.Owner())
	}
	return []string{site.Owner()}, nil
}

func etag(rev uint64) string { return `"` + strconv.FormatUint(rev, 10) + `"` }

func (s *Steer) getDesired(r *route.Request) (any, error) {
	d, err := s.Desired(r.Context(), r.Found.(store.Site))
	if err != nil {
		return nil, err
	}
	return tagged(d), nil
}

func tagged(d Desired) *route.Response {
	return &route.Response{Header: http.Header{"Etag": {etag(d.Rev)}}, Body: d}
}

// Desired reads where a site's configuration stands.
func (s *Steer) Desired(ctx context.Context, site store.Site) (Desired, error) {
	st, err := s.state(ctx, site.ID)
	if err != nil {
		return Desired{}, err
	}
	d := Desired{Site: site.Site, Rev: st.Rev, Document: json.RawMessage("{}"), State: "unknown", ReportedAt: st.Reported}
	if !st.Reported.IsZero() {
		d.Applied, d.Refused, d.Reasons = &st.Runs, st.Refused, st.Reasons
		switch {
		case st.Refused == st.Rev && st.Rev != 0:
			d.State = "refused"
		case st.Runs != st.Rev:
			d.State = "pending"
		case st.OnTrial:
			d.State = "trial"
		default:
			d.State = "applied"
		}
	}
	if st.Rev == 0 {
		return d, nil
	}
	rev, err := s.revision(ctx, site.ID, st.Rev)
	d.Document, d.Author, d.Note, d.At = rev.Document, rev.Author, rev.Note, rev.At
	return d, err
}

func (s *Steer) revision(ctx context.Context, site int64, rev uint64) (Revision, error) {
	out := Revision{Rev: rev}
	var doc string
	var at int64
	err := s.db.QueryRow(ctx, `SELECT doc, author, note, at FROM steer_desired WHERE site = ? AND rev = ?`, site, int64(rev)).Scan(&doc, &out.Author, &out.Note, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return out, problem(http.StatusNotFound, "there is no revision %d", rev)
	}
	out.Document, out.At, out.Bytes = json.RawMessage(doc), store.FromMillis(at), len(doc)
	return out, err
}

func (s *Steer) document(ctx context.Context, site int64, rev uint64) (json.RawMessage, error) {
	r, err := s.revision(ctx, site, rev)
	return r.Document, err
}

func (s *Steer) putDesired(r *route.Request) (any, error) {
	return s.change(r, true, func(d *Document, body []byte) (Diff, error) {
		next, err := parseDocument(body, r.Header.Get("Content-Type"))
		if err != nil {
			return Diff{}, err
		}
		was := *d
		diff := was.lay(next) // what is new; what is gone follows
		own := d.sections()
		for i, sec := range next.sections() {
			for _, e := range *own[i].list {
				if !hasID(*sec.list, sec.key, e.id(sec.key)) {
					diff.Removed = append(diff.Removed, sec.name+"/"+e.id(sec.key))
				}
			}
		}
		*d = next
		return diff, nil
	})
}

func hasID(list []Element, key, id string) bool {
	for _, e := range list {
		if e.id(key) == id {
			return true
		}
	}
	return false
}

func (s *Steer) patchDesired(r *route.Request) (any, error) {
	return s.change(r, true, func(d *Document, body []byte) (Diff, error) { return d.patch(body, r.Header.Get("Content-Type")) })
}

func (s *Steer) importDesired(r *route.Request) (any, error) {
	return s.change(r, r.Header.Get("If-Match") != "", func(d *Document, body []byte) (Diff, error) {
		over, err := parseImport(body, r.Header.Get("Content-Type"))
		if err != nil {
			return Diff{}, err
		}
		return d.lay(over), nil
	})
}

// change makes the next revision of a site's desired configuration, unless nothing changes.
func (s *Steer) change(r *route.Request, match bool, f func(*Document, []byte) (Diff, error)) (any, error) {
	site := r.Found.(store.Site)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, problem(http.StatusRequestEntityTooLarge, "the body could not be read, or is larger than %d bytes", 2*wire.MaxLayer)
	}
	note := r.URL.Query().Get("note")
	if len(note) > 500 {
		return nil, problem(http.StatusBadRequest, "the note has %d bytes, at most 500 are possible", len(note))
	}
	was, err := s.Desired(r.Context(), site)
	if err != nil {
		return nil, err
	}
	if match {
		if err := r.IfMatch(etag(was.Rev)); err != nil {
			return nil, err
		}
	}
	var doc Document
	if err := json.Unmarshal(was.Document, &doc); err != nil {
		return nil, fmt.Errorf("read revision %d: %w", was.Rev, err)
	}
	diff, err := f(&doc, body)
	if err != nil {
		return nil, err
	}
	text, err := doc.text()
	if err != nil {
		return nil, err
	}
	if r.URL.Query().Get("dry_run") == "1" || string(text) == string(was.Document) {
		was.Document, was.Diff, was.DryRun = text, &diff, r.URL.Query().Get("dry_run") == "1"
		return tagged(was), nil
	}
	if err := s.save(r.Context(), site, was.Rev, text, r.Who.Who(), note); err != nil {
		return nil, err
	}
	now, err := s.Desired(r.Context(), site)
	if err != nil {
		return nil, err
	}
	s.push(site, wire.DownConfigNew, wire.ConfigNews{Rev: now.Rev})
	now.Diff = &diff
	return tagged(now), nil
}

// keepRevisions is how many revisions of a site are kept.
const keepRevisions = 200

// save writes the revision after was, if that still is the newest. Its number is above all that
// the hub has ever named, so that a restored database does not give one twice.
func (s *Steer) save(ctx context.Context, site store.Site, was uint64, doc []byte, author, note string) error {
	now := s.opts.Now()
	return s.db.Update(ctx, func(tx *store.Tx) error {
		st, err := scanState(tx.QueryRow(stateQuery, site.ID))
		if err != nil {
			return err
		}
		if st.Rev != was {
			return problem(http.StatusPreconditionFailed, "it was changed in the meantime; read it again")
		}
		rev := int64(max(st.Rev, st.Runs, st.Refused) + 1)
		const insert = `INSERT INTO steer_desired (site, rev, doc, author, note, at) VALUES (?, ?, ?, ?, ?, ?)`
		if err := tx.Exec(insert, site.ID, rev, string(doc), author, note, store.Millis(now)); err != nil {
			return fmt.Errorf("store revision %d: %w", rev, err)
		}
		const surplus = `DELETE FROM steer_desired WHERE site = ? AND rev NOT IN (SELECT rev FROM steer_desired WHERE site = ? ORDER BY rev DESC LIMIT ?)`
		if err := tx.Exec(surplus, site.ID, site.ID, keepRevisions); err != nil {
			return fmt.Errorf("forget old revisions: %w", err)
		}
		const upsert = `INSERT INTO steer_sites (site, rev) VALUES (?, ?) ON CONFLICT (site) DO UPDATE SET rev = excluded.rev`
		if err := tx.Exec(upsert, site.ID, rev); err != nil {
			return fmt.Errorf("note revision %d: %w", rev, err)
		}
		e, err := store.EventOf("twin.desired", site.Site, now, map[string]any{"site": site.Site, "desired_rev": rev, "author": author, "note": note})
		if err != nil {
			return err
		}
		return tx.AddSiteEvent(site, "", e)
	})
}

// push tells a hub that there is something new. It may be lost: heartbeats say so, too.
func (s *Steer) push(site store.Site, what string, body any) {
	b, err := json.Marshal(body)
	if err == nil {
		err = s.opts.Conn.Publish(wire.DownSubject(site.Org, site.Site, what), b)
	}
	if err != nil {
		s.log.Warn("a hub is not told at once; its next heartbeat does", "site", site.Site, "what", what, "err", err)
	}
}

// PushAuth tells hubs at once that keys, domains or revocations have changed.
func (s *Steer) PushAuth(sites ...store.Site) {
	for _, site := range sites {
		s.push(site, wire.DownAuthNew, struct{}{})
	}
}

func (s *Steer) history(r *route.Request) (any, error) {
	site := r.Found.(store.Site)
	if q := r.URL.Query().Get("rev"); q != "" {
		rev, err := strconv.ParseUint(q, 10, 63)
		if err != nil {
			return nil, problem(http.StatusBadRequest, "rev %q: want a number", q)
		}
		return s.revision(r.Context(), site.ID, rev)
	}
	rows, err := s.db.Query(r.Context(), `SELECT rev, author, note, at, length(doc) FROM steer_desired WHERE site = ? ORDER BY rev DESC LIMIT ?`, site.ID, keepRevisions)
	list, err := store.Collect(rows, err, func(row *sql.Rows) (Revision, error) {
		var rev, at int64
		var x Revision
		err := row.Scan(&rev, &x.Author, &x.Note, &at, &x.Bytes)
		x.Rev, x.At = uint64(rev), store.FromMillis(at)
		return x, err
	})
	if list == nil {
		list = []Revision{}
	}
	return map[string]any{"revisions": list}, err
}
