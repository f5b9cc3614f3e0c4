package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/sync/downlink"
	"github.com/headcount-hub/headcount/sync/token"
)

// steered is the part of a hub that the cloud may decide: what lies over the file, and who may
// give commands. A nil *steered belongs to a hub without an uplink.
type steered struct {
	hub  *Hub
	org  string
	kept *downlink.Kept
	auth *downlink.Auth
	down *downlink.Downlink
	up   []string // inputs that were up before the last Lay
}

// effective is the configuration that runs now.
func (h *Hub) effective() *config.Config { return h.layered.Load() }

// layerOf is a revision as config takes it; nil when there is nothing in it.
func layerOf(l downlink.Layer) *config.Layer {
	if len(l.Doc) == 0 {
		return nil
	}
	var text bytes.Buffer // a line per value, so that places in it can be found
	if json.Indent(&text, l.Doc, "", "  ") != nil {
		text.Reset()
		text.Write(l.Doc)
	}
	return &config.Layer{Name: fmt.Sprintf("cloud rev %d", l.Rev), Data: text.Bytes()}
}

// Effective is the configuration as a hub would run it: with what the cloud has decided over the
// file, as far as it is kept in the storage directory. One that does not fit the file any more is
// left out, with a warning.
func Effective(cfg *config.Config) (*config.Config, error) {
	if cfg.Uplink == nil {
		return cfg, nil
	}
	kept, err := downlink.OpenKept(cloudDir(cfg.Storage.Dir))
	if err != nil {
		return nil, err
	}
	layer := kept.Runs()
	with, err := cfg.WithLayer(layerOf(layer))
	if err != nil {
		cfg.Warnings = append(slices.Clone(cfg.Warnings), fmt.Sprintf("cloud rev %d does not fit the file and is left out: %v", layer.Rev, err))
		return cfg, nil
	}
	return with, nil
}

// recall lays what the cloud has decided before over the file. What does not fit it any more is
// refused, and the next best runs.
func (h *Hub) recall() error {
	h.layered.Store(h.cfg)
	if h.cfg.Uplink == nil {
		return nil
	}
	kept, err := downlink.OpenKept(cloudDir(h.cfg.Storage.Dir))
	if err != nil {
		return err
	}
	h.steered = &steered{hub: h, kept: kept}
	layer, err := kept.Start()
	for ; err == nil && layer.Rev != 0; layer = kept.Runs() {
		cfg, flaw := h.cfg.WithLayer(layerOf(layer))
		if flaw == nil {
			_, flaw = buildDrivers(cfg, slog.New(slog.DiscardHandler))
		}
		if flaw == nil {
			h.opts.Config, h.cfg = h.cfg, cfg
			h.layered.Store(cfg)
			return nil
		}
		h.log.Warn("configuration from the cloud does not fit the file; it is left out", "revision", layer.Rev, "err", flaw)
		err = kept.Refuse(layer.Rev, strings.Split(flaw.Error(), "\n"))
	}
	return err
}

// open makes the downlink, when there is a link and a clock.
func (s *steered) open(link downlink.Link, org string, now func() time.Time) error {
	var err error
	log := s.hub.log.With("part", "downlink")
	if s.auth, err = downlink.OpenAuth(cloudDir(s.hub.cfg.Storage.Dir), now, log); err != nil {
		return err
	}
	s.org = org
	s.down = downlink.New(downlink.Options{Link: link, Site: s, Kept: s.kept, Auth: s.auth, Now: now, Log: log})
	return nil
}

// revision is that of the cloud's part of the configuration; 0 = none.
func (s *steered) revision() uint64 {
	if s == nil {
		return 0
	}
	return s.kept.Runs().Rev
}

// verify tells whose a token is, for the API; nil where no cloud could have issued one.
func (s *steered) verify() func(string) (*token.Identity, error) {
	if s == nil {
		return nil
	}
	return func(raw string) (*token.Identity, error) {
		id, err := s.auth.Verify(raw)
		if err != nil {
			return nil, err
		}
		if !id.DeviceAt(s.org, s.hub.cfg.Site.ID) {
			return nil, fmt.Errorf("the token of device %s is for another site", id.Subject)
		}
		return id, nil
	}
}

// domains lists whom the site belongs to: its organisation, until the cloud has said.
func (s *steered) domains() []string {
	if s == nil {
		return nil
	}
	if d := s.auth.Domains(); len(d) > 0 {
		return d
	}
	return []string{s.org}
}

// Lay is downlink.Site. Validating is building the whole site; drivers are only run anew when
// they have to know other sensors.
func (s *steered) Lay(ctx context.Context, l downlink.Layer) error {
	h := s.hub
	cfg, err := h.opts.Config.WithLayer(layerOf(l))
	if err != nil {
		return err
	}
	built, err := buildDrivers(cfg, h.log)
	if err != nil {
		return err
	}
	s.up = s.up[:0]
	for _, in := range h.inputs {
		if in.isUp() {
			s.up = append(s.up, in.id)
		}
	}
	if err := h.engine.Configure(ctx, setup(cfg, l.Rev)); err != nil {
		return err
	}
	before := h.layered.Swap(cfg)
	if !sameDevices(before.Site.Sensors, cfg.Site.Sensors) {
		for i, in := range h.inputs {
			in.replace(built[i])
		}
	}
	h.uplink.pump.Show()
	return nil
}

// sameDevices tells whether drivers would see a difference.
func sameDevices(a, b []edge.Sensor) bool {
	return slices.EqualFunc(a, b, func(x, y edge.Sensor) bool {
		return x.ID == y.ID && x.Address() == y.Address() && x.Profile == y.Profile && x.Class == y.Class
	})
}

// Well is downlink.Site: the engine answers, and every input that was up is so again.
func (s *steered) Well(ctx context.Context) error {
	if err := s.hub.engine.Ping(ctx); err != nil {
		return fmt.Errorf("the engine does not answer: %w", err)
	}
	var errs []error
	for _, in := range s.hub.inputs {
		if slices.Contains(s.up, in.id) && !in.isUp() {
			errs = append(errs, fmt.Errorf("input %s is down: %s", in.id, in.detail()))
		}
	}
	return errors.Join(errs...)
}

// Refused is downlink.Site.
func (s *steered) Refused(ctx context.Context, rev uint64, reasons []string, runs uint64) {
	if err := s.hub.engine.Refused(ctx, engine.RefusedSetup{Revision: rev, Reasons: reasons, Runs: runs}); err != nil && ctx.Err() == nil {
		s.hub.log.Error("a refused configuration is not in the journal", "revision", rev, "err", err)
	}
}

// Do is downlink.Site.
func (s *steered) Do(ctx context.Context, cmd edge.Command) (edge.CommandResult, error) {
	return commands{s.hub.engine}.Do(ctx, cmd)
}

func (in *input) isUp() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.status.Up
}

func (in *input) detail() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.status.Detail
}
