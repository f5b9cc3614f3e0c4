package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headcount-hub/headcount/cloud/tier"
	"github.com/headcount-hub/headcount/drivers/sim"
	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/hub"
)

type options struct {
	speed             float64
	seed              uint64
	dir               string
	http, cloud, mqtt string
	access            bool          // see sim.Options
	day, report       time.Duration // see sim.Options: DayStart, Report
	log               *slog.Logger
}

// demo is the running whole.
type demo struct {
	opts     options
	dir      string
	own      bool   // dir is temporary
	password string // of the cloud's login
	tier     *tier.Tier
	relay    *relay
	building *sim.Building
	runner   *sim.Runner
	cable    *sim.Cable // the serial line; it outlives a restart of the hub
	cfg      *config.Config
	hub      atomic.Pointer[hub.Hub]
	restart  chan struct{} // size 1: the hub is to be stopped and started again
	stop     context.CancelFunc
	wg       sync.WaitGroup
	fatal    chan error // size 1: why the demo cannot go on
}

const org = "demo"

// start starts the cloud, then the hub, then the building. What was started ends with wait, or
// here when something fails.
func start(ctx context.Context, o options) (_ *demo, err error) {
	d := &demo{opts: o, dir: o.dir, restart: make(chan struct{}, 1), fatal: make(chan error, 1)}
	ctx, d.stop = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.dir == "" {
		if d.dir, err = os.MkdirTemp("", "headcount-demo-"); err != nil {
			return nil, err
		}
		d.own = true
	}
	if d.dir, err = filepath.Abs(d.dir); err != nil {
		return nil, err
	}
	if d.building, err = sim.NewBuilding(sim.Options{Seed: o.seed, Speed: o.speed, DayStart: o.day, Report: o.report, Access: o.access}); err != nil {
		return nil, err
	}
	if err := d.startCloud(ctx); err != nil {
		return nil, err
	}
	if err := d.configure(); err != nil {
		return nil, err
	}
	h, err := d.openHub()
	if err != nil {
		return nil, err
	}
	d.wg.Go(func() { d.keepHub(ctx, h) })
	d.runner = sim.NewRunner(d.building, sim.Transports{MQTTURL: d.mqttURL(), HTTPURL: d.hubURL(), Serial: d.cable.Device, Log: o.log})
	d.wg.Go(func() {
		if err := d.runner.Run(ctx); err != nil && ctx.Err() == nil {
			d.fail(fmt.Errorf("simulated building: %w", err))
		}
	})
	return d, nil
}

func (d *demo) startCloud(ctx context.Context) error {
	listen := d.opts.cloud
	if !strings.HasSuffix(listen, ":0") { // else the tier takes any
		listen = free(listen)
	}
	var err error
	d.tier, err = tier.Start(ctx, tier.Config{
		Data: filepath.Join(d.dir, "cloud"), HTTP: tier.HTTP{Listen: listen}, NATS: tier.NATS{Listen: "127.0.0.1:0"},
		Organisations: []tier.Organisation{{ID: org}}, Version: version, Log: d.opts.log,
	})
	if err != nil {
		return fmt.Errorf("start the cloud: %w", err)
	}
	if err := d.createLogin(ctx); err != nil {
		return err
	}
	nats, err := url.Parse(d.tier.NATSURL())
	if err != nil {
		return err
	}
	d.relay, err = newRelay(nats.Host)
	return err
}

// configure writes the hub's configuration as an operator would, and loads it.
func (d *demo) configure() error {
	var err error
	if d.cable, err = sim.OpenCable(); err != nil {
		return err
	}
	creds, err := d.tier.Enrol(org, sim.SiteID)
	if err != nil {
		return err
	}
	credsFile := filepath.Join(d.dir, "site.creds")
	if err := os.WriteFile(credsFile, creds, 0o600); err != nil {
		return err
	}
	y := d.building.ConfigYAML(sim.Addresses{Broker: free(d.opts.mqtt), Serial: d.cable.Path})
	y = fmt.Appendf(y, "uplink: {url: %q, credentials_file: %q}\nstorage: {dir: %q}\nhttp: {listen: %q}\n",
		"nats://"+d.relay.addr(), credsFile, filepath.Join(d.dir, "hub"), free(d.opts.http))
	path := filepath.Join(d.dir, "headcount.yaml")
	if err := os.WriteFile(path, y, 0o600); err != nil {
		return err
	}
	d.cfg, err = config.Load(path, hub.ConfigOptions(nil, ""))
	return err
}

func (d *demo) openHub() (*hub.Hub, error) {
	h, err := hub.Open(hub.Options{Config: d.cfg, Version: version, Log: d.opts.log, Routes: d.routes()})
	if err != nil {
		return nil, fmt.Errorf("start the hub: %w", err)
	}
	d.hub.Store(h)
	return h, nil
}

// keepHub runs the hub, and another one on the same store after each restart, until ctx ends.
func (d *demo) keepHub(ctx context.Context, h *hub.Hub) {
	for {
		run, stop := context.WithCancel(ctx)
		done := make(chan error, 1) // the end of Run, once
		go func() { done <- h.Run(run) }()
		select {
		case err := <-done:
			stop()
			if ctx.Err() == nil {
				d.fail(fmt.Errorf("the hub ended: %w", err))
			}
			return
		case <-d.restart:
		}
		stop()
		<-done
		d.hub.Store(nil)
		var err error
		if h, err = d.openHub(); err != nil {
			d.fail(err)
			return
		}
	}
}

func (d *demo) restartHub() {
	select {
	case d.restart <- struct{}{}:
	default:
	}
}

func (d *demo) fail(err error) {
	select {
	case d.fatal <- err:
	default:
	}
}

// wait lasts until ctx ends or something fails, and ends everything.
func (d *demo) wait(ctx context.Context) (err error) {
	select {
	case <-ctx.Done():
	case err = <-d.fatal:
	case err = <-d.tier.Failed():
	}
	d.close()
	return err
}

// close ends everything and waits for it.
func (d *demo) close() {
	d.stop()
	d.wg.Wait()
	if d.relay != nil {
		d.relay.close()
	}
	if d.tier != nil {
		d.tier.Close()
	}
	if d.cable != nil {
		d.cable.Close()
	}
	if d.own {
		os.RemoveAll(d.dir)
	}
}

func (d *demo) hubURL() string { return "http://" + d.cfg.HTTP.Listen }

func (d *demo) mqttURL() string {
	var o struct{ Listen string }
	_ = json.Unmarshal(d.cfg.Inputs[0].Options, &o) // was checked by the driver
	return "tcp://" + o.Listen
}

// free returns the address if nobody listens there, else one with a free port.
func free(addr string) string {
	for _, a := range []string{addr, "127.0.0.1:0"} {
		if ln, err := net.Listen("tcp", a); err == nil {
			defer ln.Close()
			return ln.Addr().String()
		}
	}
	return addr
}
