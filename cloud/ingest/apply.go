package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// maxSeq keeps sequences within what SQL integers hold.
const maxSeq = 1 << 62

// item is a message that was decoded outside the transaction.
type item struct {
	message
	batch wire.Batch
	err   error // why it is no batch
}

func decode(m message) item {
	it := item{message: m}
	it.batch, it.err = wire.Decode(m.header, m.body)
	switch {
	case it.err != nil:
	case string(it.batch.Lane) != m.what:
		it.err = fmt.Errorf("%w: lane %s on the subject of %s", wire.ErrMalformed, it.batch.Lane, m.what)
	case it.batch.Last() > maxSeq:
		it.err = fmt.Errorf("%w: sequence %d is too large", wire.ErrMalformed, it.batch.Last())
	}
	return it
}

// apply applies a group in one transaction and then tells the hubs their marks. When the group
// as a whole fails, each message is tried alone, so that one that cannot be applied holds up
// its own site only. Failing to write at all is the error.
func (in *Ingest) apply(ctx context.Context, follower string, place store.Cursor, group []message) error {
	items := make([]item, len(group))
	for i, m := range group {
		items[i] = decode(m)
	}
	err := in.commit(ctx, follower, place, items)
	if err == nil || len(items) == 0 || ctx.Err() != nil {
		return err
	}
	in.stats.Failures.Add(1)
	in.cfg.Log.Warn("group failed; applying its messages one by one", "stream", follower, "messages", len(items), "err", err)
	for _, it := range items {
		own := store.Cursor{Position: it.seq, Tag: place.Tag}
		err := in.commit(ctx, follower, own, []item{it})
		if err == nil {
			continue
		}
		it.err = fmt.Errorf("could not be applied: %w", err)
		if err := in.commit(ctx, follower, own, []item{it}); err != nil {
			return err
		}
	}
	return nil
}

// commit is one transaction.
func (in *Ingest) commit(ctx context.Context, follower string, place store.Cursor, items []item) error {
	var g *group
	end := in.begin(items)
	err := in.cfg.DB.Update(ctx, func(tx *store.Tx) error {
		g = newGroup(in, tx)
		for i := range items {
			if err := g.add(&items[i]); err != nil {
				return err
			}
		}
		if err := g.flush(); err != nil {
			return err
		}
		return movePlace(tx, follower, place)
	})
	end(err)
	if err != nil {
		return err
	}
	g.count(&in.stats)
	for site, resend := range g.tell {
		in.push(ctx, site, resend)
	}
	return nil
}

// begin tells whoever traces of the batches, and later what became of them.
func (in *Ingest) begin(items []item) (end func(error)) {
	var ends []func(error)
	for i := range items {
		it := &items[i]
		if in.cfg.Begin == nil || it.err != nil {
			continue
		}
		if f := in.cfg.Begin(it.org, it.site, it.header, &it.batch); f != nil {
			ends = append(ends, f)
		}
	}
	return func(err error) {
		for _, f := range ends {
			f(err)
		}
	}
}

// movePlace notes how far the stream was read; another replica may be further already.
func movePlace(tx *store.Tx, follower string, place store.Cursor) error {
	was, err := tx.Cursor(follower)
	if err != nil || was.Tag == place.Tag && was.Position >= place.Position {
		return err
	}
	return tx.PutCursor(follower, place)
}

// push tells a hub how far its lanes are applied, and of which lane a batch was refused because
// it did not follow. It may get lost: the heartbeat's answer says the same.
func (in *Ingest) push(ctx context.Context, h hub, resend edge.Lane) {
	marks, err := in.cfg.DB.Marks(ctx, h.org, h.site, h.epoch)
	if err == nil {
		marks.Resend = resend
		var body []byte
		if body, err = json.Marshal(marks); err == nil {
			err = in.cfg.Conn.Publish(wire.DownSubject(h.org, h.site, wire.DownMark), body)
		}
	}
	if err != nil && ctx.Err() == nil {
		in.cfg.Log.Warn("mark not pushed; the next heartbeat tells it", "org", h.org, "site", h.site, "err", err)
	}
}

// hub is one journal that talks to us.
type hub struct{ org, site, epoch string }

// laneKey names a mark.
type laneKey struct {
	epoch int64
	lane  edge.Lane
}

// group is the work of one transaction.
type group struct {
	in  *Ingest
	tx  *store.Tx
	now time.Time

	sites    map[[2]string]*siteWork
	order    []*siteWork
	tell     map[hub]edge.Lane // the lane to be sent again, if any
	readings []store.Reading

	batches, duplicates, gaps, conflicts, unreadable, lost int64
	eventCount, readingCount                               int64
}

// siteWork is what a group does to one site.
type siteWork struct {
	store.Site
	epochs map[string]int64
	marks  map[laneKey]*markMove
	events []store.Event
	newest map[string]edge.Reading // by sensor
}

// markMove is a mark as it was read and as it will be.
type markMove struct{ was, is store.Mark }

func newGroup(in *Ingest, tx *store.Tx) *group {
	return &group{in: in, tx: tx, now: in.now(), sites: map[[2]string]*siteWork{}, tell: map[hub]edge.Lane{}}
}

func (g *group) site(org, site string) (*siteWork, error) {
	key := [2]string{org, site}
	if w := g.sites[key]; w != nil {
		return w, nil
	}
	row, err := g.tx.Site(org, site, g.now)
	if err != nil {
		return nil, err
	}
	w := &siteWork{Site: row, epochs: map[string]int64{}, marks: map[laneKey]*markMove{}, newest: map[string]edge.Reading{}}
	g.sites[key] = w
	g.order = append(g.order, w)
	return w, nil
}

// mark reads a mark once per group.
func (g *group) mark(w *siteWork, epoch string, lane edge.Lane) (*markMove, error) {
	id, ok := w.epochs[epoch]
	if !ok {
		var err error
		if id, _, err = g.tx.Epoch(w.ID, epoch, g.now); err != nil {
			return nil, err
		}
		w.epochs[epoch] = id
	}
	key := laneKey{id, lane}
	if m := w.marks[key]; m != nil {
		return m, nil
	}
	row, err := g.tx.Mark(id, lane)
	if err != nil {
		return nil, err
	}
	m := &markMove{was: row, is: row}
	w.marks[key] = m
	return m, nil
}

// add takes one message into the group.
func (g *group) add(it *item) error {
	g.batches++
	if it.site == "" { // the stream takes no such subject; nothing can be done with it
		g.unreadable++
		return nil
	}
	w, err := g.site(it.org, it.site)
	if err != nil {
		return err
	}
	if it.err != nil {
		return g.park(w, it)
	}
	b := &it.batch
	from := hub{it.org, it.site, b.Epoch}
	if _, ok := g.tell[from]; !ok {
		g.tell[from] = ""
	}
	m, err := g.mark(w, b.Epoch, b.Lane)
	if err != nil {
		return err
	}
	rest, next, err := b.After(wire.Mark{Epoch: b.Epoch, Seq: m.is.Seq, CRC: m.is.CRC})
	g.duplicates += int64(len(b.Records) - len(rest.Records))
	switch {
	case errors.Is(err, wire.ErrGap):
		g.gaps++
		g.tell[from] = b.Lane
		g.duplicates -= int64(len(b.Records))
		g.in.cfg.Log.Info("batch refused", "org", it.org, "site", it.site, "lane", b.Lane, "err", err)
		return nil
	case err != nil:
		g.conflicts++
		g.duplicates -= int64(len(b.Records))
		return g.conflict(w, m, err)
	case len(rest.Records) == 0:
		return nil
	}
	if err := g.enter(w, m, b.Epoch); err != nil {
		return err
	}
	return g.take(w, m, rest, next)
}

// park keeps a message that is no batch.
func (g *group) park(w *siteWork, it *item) error {
	g.unreadable++
	g.in.cfg.Log.Warn("message cannot be read", "org", it.org, "site", it.site, "lane", it.what, "err", it.err)
	err := g.tx.AddUnreadable(store.Unreadable{
		Site: w.ID, Lane: edge.Lane(it.what), Seq: it.seq, Reason: it.err.Error(), At: g.now, Body: it.body,
	})
	if err != nil {
		return err
	}
	return g.alarm(w, store.RuleUnreadable, edge.Warning, "the hub sends what cannot be read: "+it.err.Error())
}

// conflict flags the epoch: the hub is to begin a new one.
func (g *group) conflict(w *siteWork, m *markMove, cause error) error {
	if m.is.Conflict != "" {
		return nil
	}
	m.is.Conflict = cause.Error()
	return g.alarm(w, store.RuleHubConflict, edge.Critical,
		"the hub's journal does not continue what was applied; is its store a copy or was its disk restored? "+cause.Error())
}

func (g *group) alarm(w *siteWork, rule string, severity edge.Severity, message string) error {
	raised, err := g.tx.RaiseCloudAlert(w.Site, rule, severity, message, g.now, g.now)
	if raised {
		g.in.cfg.Log.Warn("alert raised", "org", w.Org, "site", w.Site.Site, "rule", rule, "message", message)
	}
	return err
}

// enter sees to the epoch that new records come from: a new one becomes the lane's current
// one; records from one that was left before mean that two hubs send as one.
func (g *group) enter(w *siteWork, m *markMove, epoch string) error {
	switch {
	case !m.was.Known && !m.is.Known:
		row, err := g.tx.NewMark(w.ID, m.is.Epoch, m.is.Lane, g.now)
		if err != nil {
			return err
		}
		conflict := m.is.Conflict
		m.was, m.is = row, row
		m.is.Conflict = conflict
		for key, other := range w.marks {
			if key.lane == m.is.Lane && other != m {
				other.was.Current, other.is.Current = false, false
			}
		}
		g.in.cfg.Log.Info("epoch begins", "org", w.Org, "site", w.Site.Site, "lane", m.is.Lane, "epoch", epoch)
		return g.tx.ClearCloudAlert(w.Site, store.RuleHubConflict, g.now)
	case !m.is.Current:
		return g.alarm(w, store.RuleHubCloned, edge.Critical,
			"epoch "+epoch+" sends again after a newer one began: two hubs use the credentials of this site; revoke them and enrol anew")
	}
	return nil
}

// take takes the new records of a batch and moves the mark.
func (g *group) take(w *siteWork, m *markMove, rest wire.Batch, next wire.Mark) error {
	if rest.Lost > 0 {
		g.lost += int64(rest.Lost)
		if err := g.tx.AddLost(m.is.Epoch, rest.Lane, m.is.Seq+1, rest.First-1, rest.CRC, g.now); err != nil {
			return err
		}
	}
	for i, body := range rest.Records {
		p := store.Position{Epoch: m.is.Epoch, Seq: rest.First + uint64(i)}
		if err := g.record(w, rest, p, body); err != nil {
			return err
		}
	}
	m.is.Seq, m.is.CRC = next.Seq, next.CRC
	return nil
}

// record sorts one record in; one that cannot be read is kept as it is.
func (g *group) record(w *siteWork, b wire.Batch, p store.Position, body []byte) error {
	rec, err := parse(body, b.Epoch, b.Lane, p.Seq)
	if err == nil && b.Lane == edge.Events {
		e, factErr := event(rec, body)
		if err = factErr; err == nil {
			e.Site, e.Position = w.ID, p
			e.Backfill = w.Snapshot.Epoch != 0 && !w.Snapshot.Before(p)
			w.events = append(w.events, e)
			g.eventCount++
			return nil
		}
	}
	if err == nil {
		sensors, readErr := readings(rec, w.newest)
		if err = readErr; err == nil {
			g.readings = append(g.readings, store.Reading{Site: w.ID, Position: p, Time: rec.Time, Body: body, Sensors: sensors})
			g.readingCount++
			return nil
		}
	}
	g.unreadable++
	g.in.cfg.Log.Warn("record cannot be read; kept as it is", "org", w.Org, "site", w.Site.Site, "lane", b.Lane, "seq", p.Seq, "err", err)
	if err := g.tx.AddUnreadable(store.Unreadable{
		Site: w.ID, Epoch: p.Epoch, Lane: b.Lane, Seq: p.Seq, Reason: err.Error(), At: g.now, Body: body,
	}); err != nil {
		return err
	}
	return g.alarm(w, store.RuleUnreadable, edge.Warning,
		fmt.Sprintf("record %d of lane %s cannot be read: %v", p.Seq, b.Lane, err))
}

// flush writes what the group gathered.
func (g *group) flush() error {
	for _, w := range g.order {
		if err := g.tx.AddEvents(w.events); err != nil {
			return err
		}
		if err := g.in.cfg.Projector.Events(g.tx, w.Site, w.events); err != nil {
			return err
		}
		if err := g.in.cfg.Projector.Readings(g.tx, w.Site, w.newest); err != nil {
			return err
		}
		for _, m := range w.marks {
			if m.is == m.was {
				continue
			}
			if !m.was.Known { // a conflict cannot be in a lane without mark
				continue
			}
			if err := g.tx.MoveMark(m.was, m.is, g.now); err != nil {
				return err
			}
		}
	}
	return g.tx.AddReadings(g.readings)
}

// count adds what was committed.
func (g *group) count(s *Stats) {
	s.Groups.Add(1)
	s.Batches.Add(g.batches)
	s.Events.Add(g.eventCount)
	s.Readings.Add(g.readingCount)
	s.Duplicates.Add(g.duplicates)
	s.Gaps.Add(g.gaps)
	s.Conflicts.Add(g.conflicts)
	s.Unreadable.Add(g.unreadable)
	s.Lost.Add(g.lost)
}
