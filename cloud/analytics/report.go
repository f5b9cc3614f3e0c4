package analytics

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// Report is a job that makes a file, and what became of it.
type Report struct {
	ID       string     `json:"id"`
	Site     string     `json:"site"`
	Org      string     `json:"org"`
	State    string     `json:"state"` // queued, running, done or failed
	Reason   string     `json:"reason,omitempty"`
	Attempts int        `json:"attempts"`
	Created  time.Time  `json:"created_at"`
	Finished time.Time  `json:"finished_at,omitzero"`
	Author   string     `json:"created_by"`
	Schedule string     `json:"schedule,omitempty"`
	Rows     int        `json:"rows"`
	Ask      ReportAsk  `json:"report"`
	Download string     `json:"download,omitempty"` // path of the file, when it is done
	site     store.Site // the one it is about
}

// The states of a report.
const (
	queued  = "queued"
	running = "running"
	done    = "done"
	failed  = "failed"
)

// The bounds of reports.
const (
	maxOpen     = 20 // reports of a site that wait or are made
	maxReports  = 500
	maxAttempts = 3
	maxContent  = 32 << 20
	keepReports = 30 * 24 * time.Hour
	lease       = 30 * time.Second // after which the report of a process that died is made by another
	retryAfter  = 10 * time.Second
	longest     = 5 * time.Minute // for one report
)

func (m *Module) postReport(r *route.Request) (any, error) {
	var a ReportAsk
	if err := r.Decode(&a); err != nil {
		return nil, err
	}
	s := r.Found.(store.Site)
	if err := a.check(); err != nil {
		return nil, err
	}
	if err := m.fix(s, &a); err != nil {
		return nil, err
	}
	var id string
	err := m.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		if err := room(tx, s.ID); err != nil {
			return err
		}
		id, err = m.addReport(tx, s.ID, a, "", r.Who.Who())
		return err
	})
	if err != nil {
		return nil, err
	}
	m.kick()
	where := "/analytics/reports/" + id
	rep, err := m.report(r.Context(), id)
	return &route.Response{Status: http.StatusAccepted, Header: http.Header{"Location": {where}}, Body: rep}, err
}

// fix turns what is left open in a question into times, so that it means the same whenever the
// report is made, and refuses what can never be answered.
func (m *Module) fix(s store.Site, a *ReportAsk) error {
	q, err := m.questionOf(s, a.Space, a.From, a.To, 7)
	if err != nil {
		return err
	}
	a.From, a.To = q.From.Format(time.RFC3339Nano), q.To.Format(time.RFC3339Nano)
	return nil
}

// room refuses a report where too many wait.
func room(tx *store.Tx, site int64) error {
	var open, all int
	err := tx.QueryRow(`SELECT count(CASE WHEN state IN ('queued', 'running') THEN 1 END), count(*) FROM analytics_reports WHERE site = ?`, site).Scan(&open, &all)
	switch {
	case err != nil:
		return err
	case open >= maxOpen:
		return route.Problem(http.StatusTooManyRequests, "%d reports of this site wait or are being made; wait for them", open)
	case all >= maxReports:
		return route.Problem(http.StatusConflict, "the site has %d reports; delete some, or wait: they go after %d days", all, int(keepReports.Hours()/24))
	}
	return nil
}

func (m *Module) addReport(tx *store.Tx, site int64, a ReportAsk, schedule, author string) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	doc, err := json.Marshal(a)
	if err != nil {
		return "", err
	}
	const insert = `INSERT INTO analytics_reports (id, site, doc, schedule, state, author, created) VALUES (?, ?, ?, ?, 'queued', ?, ?)`
	return id.String(), tx.Exec(insert, id.String(), site, string(doc), schedule, author, store.Millis(m.now()))
}

// kick says that there is a report to make.
func (m *Module) kick() {
	select {
	case m.work <- struct{}{}:
	default:
	}
}

const reportColumns = `id, site, doc, schedule, state, attempts, reason, author, created, finished, lines`

func (m *Module) scanReport(sites map[int64]store.Site) func(*sql.Rows) (Report, error) {
	return func(r *sql.Rows) (rep Report, err error) {
		var site, created, finished int64
		var doc string
		if err = r.Scan(&rep.ID, &site, &doc, &rep.Schedule, &rep.State, &rep.Attempts, &rep.Reason, &rep.Author, &created, &finished, &rep.Rows); err != nil {
			return rep, err
		}
		rep.Created, rep.Finished, rep.site = store.FromMillis(created), store.FromMillis(finished), sites[site]
		rep.Org, rep.Site = rep.site.Org, rep.site.Site
		if rep.State == done {
			rep.Download = "/analytics/reports/" + rep.ID + "/download"
		}
		return rep, json.Unmarshal([]byte(doc), &rep.Ask)
	}
}

func (m *Module) sitesByID(ctx context.Context) (map[int64]store.Site, error) {
	sites, err := m.db.Sites(ctx)
	out := make(map[int64]store.Site, len(sites))
	for _, s := range sites {
		out[s.ID] = s
	}
	return out, err
}

// report reads one; route.ErrNotFound when there is none.
func (m *Module) report(ctx context.Context, id string) (*Report, error) {
	sites, err := m.sitesByID(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := m.db.Query(ctx, `SELECT `+reportColumns+` FROM analytics_reports WHERE id = ?`, id)
	found, err := store.Collect(rows, err, m.scanReport(sites))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 || found[0].site.ID == 0 {
		return nil, route.ErrNotFound
	}
	return &found[0], nil
}

// ofReport is the policy of a report's own paths: it belongs to whom its site does.
func (m *Module) ofReport(r *route.Request) ([]string, error) {
	rep, err := m.report(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	r.Found = rep
	domains := m.o.Domains(rep.site)
	if r.Who.RoleIn(domains) == token.None {
		return nil, route.ErrNotFound
	}
	return domains, nil
}

func (m *Module) getReport(r *route.Request) (any, error) { return r.Found.(*Report), nil }

func (m *Module) listReports(r *route.Request) (any, error) {
	s := r.Found.(store.Site)
	rows, err := m.db.Query(r.Context(), `SELECT `+reportColumns+` FROM analytics_reports WHERE site = ? ORDER BY created DESC, id DESC LIMIT 500`, s.ID)
	list, err := store.Collect(rows, err, m.scanReport(map[int64]store.Site{s.ID: s}))
	if list == nil {
		list = []Report{}
	}
	return map[string]any{"reports": list}, err
}

func (m *Module) download(r *route.Request) (any, error) {
	rep := r.Found.(*Report)
	if rep.State != done {
		return nil, route.Problem(http.StatusConflict, "the report is %s; GET /analytics/reports/%s tells when it is done", rep.State, rep.ID)
	}
	var content []byte
	if err := m.db.QueryRow(r.Context(), `SELECT content FROM analytics_reports WHERE id = ?`, rep.ID).Scan(&content); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s-%s-%s.%s", rep.Site, rep.Ask.Kind, rep.ID[:8], rep.Ask.Format)
	how := "attachment"
	if rep.Ask.Format == "html" {
		how = "inline"
	}
	return &route.Response{ContentType: contentTypes[rep.Ask.Format], Raw: content, Header: http.Header{
		"Content-Disposition":     {how + `; filename="` + name + `"`},
		"X-Content-Type-Options":  {"nosniff"},
		"Content-Security-Policy": {"default-src 'none'; style-src 'unsafe-inline'"},
		"Cache-Control":           {"private, no-store"},
	}}, nil
}

func (m *Module) deleteReport(r *route.Request) (any, error) {
	return nil, m.delete(r.Context(), `DELETE FROM analytics_reports WHERE id = ?`, r.Found.(*Report).ID)
}

// makeReports makes what is asked for until ctx ends.
func (m *Module) makeReports(ctx context.Context) {
	tick := time.NewTicker(retryAfter)
	defer tick.Stop()
	for {
		made, err := m.makeNext(ctx)
		if err != nil && ctx.Err() == nil {
			m.log.Error("report waits; tried again soon", "err", err)
		}
		if made && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-m.work:
		case <-tick.C:
		}
	}
}

// makeNext makes the next report and tells whether there was one.
func (m *Module) makeNext(ctx context.Context) (bool, error) {
	id, err := m.claim(ctx)
	if err != nil || id == "" {
		return false, err
	}
	rep, err := m.report(ctx, id)
	if err != nil {
		return true, m.settle(ctx, &Report{ID: id, Attempts: maxAttempts}, nil, 0, errors.New("its site is gone"))
	}
	work, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	stop := m.hold(work, id)
	content, rows, err := m.make(work, rep)
	stop()
	if ctx.Err() != nil {
		return true, ctx.Err() // stopping: the lease ends, and it is made again
	}
	return true, m.settle(ctx, rep, content, rows, err)
}

// claim takes the next report for this process; empty when there is none.
func (m *Module) claim(ctx context.Context) (id string, err error) {
	now := m.now()
	err = m.db.Update(ctx, func(tx *store.Tx) error {
		const tired = `UPDATE analytics_reports SET state = 'failed', reason = 'whoever made it ended before it was done, each time', finished = ?, owner = ''
			WHERE state = 'running' AND claimed <= ? AND attempts >= ?`
		if err := tx.Exec(tired, store.Millis(now), store.Millis(now), maxAttempts); err != nil {
			return err
		}
		const next = `SELECT id FROM analytics_reports WHERE state IN ('queued', 'running') AND claimed <= ? ORDER BY created, id LIMIT 1`
		err := tx.QueryRow(next, store.Millis(now)).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return tx.Exec(`UPDATE analytics_reports SET state = 'running', owner = ?, claimed = ?, attempts = attempts + 1 WHERE id = ?`, m.owner, store.Millis(now.Add(lease)), id)
	})
	return id, err
}

// hold keeps the claim while a report is made; the caller must call stop.
func (m *Module) hold(ctx context.Context, id string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(lease / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			err := m.db.Update(ctx, func(tx *store.Tx) error {
				return tx.Exec(`UPDATE analytics_reports SET claimed = ? WHERE id = ? AND owner = ? AND state = 'running'`, store.Millis(m.now().Add(lease)), id, m.owner)
			})
			if err != nil && ctx.Err() == nil {
				m.log.Warn("claim of a report not kept", "report", id, "err", err)
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// make makes the file.
func (m *Module) make(ctx context.Context, rep *Report) ([]byte, int, error) {
	q, err := m.questionOf(rep.site, rep.Ask.Space, rep.Ask.From, rep.Ask.To, 7)
	if err != nil {
		return nil, 0, err
	}
	t, err := m.table(ctx, q, rep.Ask)
	if err != nil {
		return nil, 0, err
	}
	content, err := t.encode(rep.Ask.Format)
	if err == nil && len(content) > maxContent {
		err = route.Problem(http.StatusUnprocessableEntity, "the file would have %d MiB, at most %d are possible; ask for a shorter time", len(content)>>20, maxContent>>20)
	}
	return content, len(t.Rows), err
}

// settle notes what became of a report, and mails a finished one of a schedule.
func (m *Module) settle(ctx context.Context, rep *Report, content []byte, rows int, cause error) error {
	now := m.now()
	state, reason, again := done, "", int64(0)
	if cause != nil {
		reason, content = cause.Error(), nil
		if state = queued; refused(cause) || rep.Attempts >= maxAttempts {
			state = failed
		}
		again = store.Millis(now.Add(retryAfter))
		m.log.Warn("report not made", "report", rep.ID, "attempt", rep.Attempts, "err", cause)
	}
	return m.db.Update(ctx, func(tx *store.Tx) error {
		const update = `UPDATE analytics_reports SET state = ?, reason = ?, content = ?, lines = ?, finished = ?, owner = '', claimed = ? WHERE id = ? AND owner = ? AND state = 'running'`
		var finished int64
		if state != queued {
			finished = store.Millis(now)
		}
		n, err := tx.ExecCount(update, state, reason, content, rows, finished, again, rep.ID, m.owner)
		if err != nil || n == 0 || state == queued { // n == 0: deleted, or another process has it by now
			return err
		}
		return m.mail(tx, rep, state, reason)
	})
}

// refused tells whether trying again cannot help.
func refused(err error) bool {
	var p *gateway.Problem
	return errors.As(err, &p) || errors.Is(err, route.ErrNotFound)
}
