package hub

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/edge/journal"
	"github.com/headcount-hub/headcount/sync/natslink"
	"github.com/headcount-hub/headcount/sync/uplink"
	"github.com/headcount-hub/headcount/sync/wire"
)

// link is the connection to the cloud: the NATS link, the pump, and what the engine is told.
type link struct {
	hub  *Hub
	org  string
	nats *natslink.Link
	pump *uplink.Pump
	log  *slog.Logger

	status   atomic.Pointer[uplink.Status] // newest
	news     chan struct{}                 // size 1: status has changed
	conflict chan string                   // size 1: why a new epoch must begin
	lost     chan engine.Lost              // size lostQueue, filled at the pace of restored clouds
}

// lostQueue is how many ranges the cloud may lose while the engine is busy; more are in the log.
const lostQueue = 16

// openLink opens the connection, if there is to be one.
func (h *Hub) openLink() error {
	c := h.cfg.Uplink
	if c == nil {
		return nil
	}
	org := c.Org
	if org == "" {
		var err error
		if org, err = credentialsOrg(c.CredentialsFile, h.cfg.Site.ID); err != nil {
			return err
		}
	}
	l := &link{
		hub: h, org: org, log: h.log.With("part", "uplink"), news: make(chan struct{}, 1),
		conflict: make(chan string, 1), lost: make(chan engine.Lost, lostQueue),
	}
	var err error
	l.nats, err = natslink.Open(natslink.Options{
		URL: c.URL, Org: org, Site: h.cfg.Site.ID, CredentialsFile: c.CredentialsFile, CAFile: c.CAFile, Header: h.traceHeader, Log: l.log,
	})
	if err != nil {
		return err
	}
	h.uplink = l
	return nil
}

// buildPump makes the pump, when there is a store to pump from. The API asks for its status as
// soon as it is built.
func (h *Hub) buildPump() error {
	l := h.uplink
	if l == nil {
		return nil
	}
	if err := h.steered.open(l.nats, l.org, h.clock.Now); err != nil {
		return err
	}
	l.pump = uplink.New(uplink.Options{
		Journal: pumped{h.journal}, Link: l.nats, Heartbeat: h.heartbeat, Snapshot: h.snapshot, OnReply: h.steered.down.Heard,
		OnStatus: l.onStatus, OnConflict: l.onConflict, OnLost: l.onLost, Log: l.log,
	})
	return nil
}

// credentialsOrg reads the organisation out of a site's credentials: the subject up.ORG.SITE.>
// that they allow to publish.
func credentialsOrg(file, site string) (string, error) {
	if file == "" {
		return "", fmt.Errorf("uplink: set org, or credentials_file, which names it")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("uplink.credentials_file: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		parts := strings.Split(strings.TrimSpace(line), ".")
		if len(parts) != 3 {
			continue
		}
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			continue
		}
		var claims struct {
			Nats struct {
				Pub struct{ Allow []string }
			}
		}
		if json.Unmarshal(payload, &claims) != nil {
			continue
		}
		for _, subject := range claims.Nats.Pub.Allow {
			org, of, _, ok := wire.ParseUp(strings.TrimSuffix(subject, ">") + "events")
			if ok && of == site {
				return org, nil
			}
			if ok {
				return "", fmt.Errorf("uplink.credentials_file %s is for site %s, this site is %s", file, of, site)
			}
		}
	}
	return "", fmt.Errorf("uplink.credentials_file %s names no organisation; make it with headcount-cloud enrol, or set uplink.org", file)
}

func (l *link) close() { l.nats.Close() }

// run pumps until ctx ends.
func (l *link) run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := l.pump.Run(ctx); err != nil && ctx.Err() == nil {
			l.log.Error("the pump ended", "err", err)
		}
	}()
	steering := make(chan struct{})
	go func() {
		defer close(steering)
		if err := l.hub.steered.down.Run(ctx); err != nil && ctx.Err() == nil {
			l.log.Error("nothing comes down from the cloud", "err", err)
		}
	}()
	told := engine.Link{}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case reason := <-l.conflict:
			if err := l.hub.engine.NewEpoch(ctx, reason); err != nil {
				l.log.Error("begin a new epoch", "err", err)
			}
		case lost := <-l.lost:
			if err := l.hub.engine.DeclareLost(ctx, lost); err != nil {
				l.log.Error("declare what the cloud lost", "err", err)
			}
		case <-l.news:
			told = l.tell(ctx, told)
		}
	}
	<-steering
	<-done
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// tell reports to the engine what rules care about, when it has changed.
func (l *link) tell(ctx context.Context, told engine.Link) engine.Link {
	s := l.status.Load()
	now := engine.Link{
		Configured: true, Connected: s.Connected, Reason: s.Reason, UnsyncedSince: edge.Millis(s.UnsyncedSince),
		Clock: string(l.hub.clock.State()),
	}
	if now == told {
		return told
	}
	now.Backlog = s.Backlog()
	if err := l.hub.engine.Linked(ctx, now); err != nil {
		return told
	}
	now.Backlog = 0
	return now
}

func (l *link) onStatus(s uplink.Status) {
	l.status.Store(&s)
	poke(l.news)
}

func (l *link) onConflict(reason string) {
	select {
	case l.conflict <- reason:
	default: // one is on its way
	}
}

func (l *link) onLost(lane edge.Lane, from, to uint64) {
	lost := engine.Lost{
		Lost:   journal.Lost{Epoch: l.hub.journal.Epoch(), Lane: lane, From: from, To: to, Count: to - from + 1, Cause: "lost by the cloud"},
		Detail: "these records were deleted here after the cloud had confirmed them, or while there was none, and the cloud does not have them",
	}
	select {
	case l.lost <- lost:
	default:
		l.log.Error("records lost by the cloud are not in the ledger: it is told too many ranges at once", "lost", lost)
	}
}

// describe is the uplink's part of the status.
func (l *link) describe(told engine.Link) api.Uplink {
	s := l.pump.Status()
	return api.Uplink{Configured: true, Since: told.Since, Connected: s.Connected, Reason: s.Reason, LastMarkAt: s.MarkedAt}
}

func (h *Hub) heartbeat() wire.Heartbeat {
	b := wire.Heartbeat{
		Site: h.cfg.Site.ID, Name: h.cfg.Site.Name, Boot: h.boot, Time: h.clock.Now(), Clock: string(h.clock.State()),
		Software: h.opts.Version, StartedAt: h.started, ConfigRev: h.effective().Hash, LayerRev: h.steered.revision(),
	}
	if s := h.Status(); s.HorizonS != nil {
		b.HorizonSec = *s.HorizonS
	}
	return b
}

func (h *Hub) snapshot() wire.Snapshot {
	s := h.engine.Snapshot()
	return wire.Snapshot{Epoch: s.Epoch, Seq: s.Seq, Time: s.At, Site: *s.Site, Spaces: s.Spaces, Alerts: s.Alerts, Sensors: s.Sensors}
}

// pumped is the journal in the uplink's words.
type pumped struct{ *journal.Journal }

// Head is uplink.Journal.
func (p pumped) Head(lane edge.Lane) wire.Mark {
	h := p.Journal.Head(lane)
	return wire.Mark{Epoch: p.Epoch(), Seq: h.Seq, CRC: h.CRC}
}

// Read is uplink.Journal.
func (p pumped) Read(lane edge.Lane, after wire.Mark, maxBytes int) (wire.Batch, error) {
	s, err := p.Journal.Read(lane, journal.Mark(after), maxBytes)
	return wire.Batch{Epoch: s.Epoch, Lane: s.Lane, First: s.First, CRC: s.CRC, Lost: s.Lost, Records: s.Records}, err
}

// Mark is uplink.Journal.
func (p pumped) Mark(lane edge.Lane) wire.Mark { return wire.Mark(p.Journal.Mark(lane)) }

// Release is uplink.Journal.
func (p pumped) Release(lane edge.Lane, m wire.Mark) error {
	return p.Journal.Release(lane, journal.Mark(m))
}

// describe is an input's part of the status.
func (in *input) describe(known []engine.DriverStatus) api.Input {
	in.mu.Lock()
	s := in.status
	if !in.known {
		s.Detail = "starting"
	}
	in.mu.Unlock()
	out := api.Input{ID: in.id, Driver: in.name, Up: s.Up, Detail: s.Detail}
	for _, d := range known {
		if d.ID == in.id && d.Up == s.Up {
			out.Since = d.Since
		}
	}
	return out
}
