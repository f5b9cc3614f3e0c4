package downlink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/sync/wire"
)

// follow asks for the configuration until the cloud desires nothing else than what runs, or what
// was refused.
func (d *Downlink) follow(ctx context.Context) {
	for ctx.Err() == nil {
		desired, err := d.ask(ctx)
		if err != nil {
			if ctx.Err() == nil {
				d.opts.Log.Warn("the desired configuration is not known; asked for again with the next heartbeat", "err", err)
			}
			return
		}
		if rev := desired.Rev; rev == d.opts.Kept.Runs().Rev || rev == d.opts.Kept.RefusedRev() && rev != 0 {
			return
		}
		if err := d.take(ctx, Layer{Rev: desired.Rev, Doc: desired.Layer}); err != nil {
			d.opts.Log.Error("the desired configuration was not taken", "revision", desired.Rev, "err", err)
			return
		}
	}
}

// ask tells the cloud what became of the last configuration and asks for the next.
func (d *Downlink) ask(ctx context.Context) (wire.ConfigReply, error) {
	k := d.opts.Kept
	refused, reasons := k.Refusal()
	req := wire.ConfigRequest{Version: wire.Version, Have: k.Runs().Rev, Refused: refused, Reasons: reasons, OnTrial: k.OnTrial()}
	d.report(false)
	var reply wire.ConfigReply
	if err := d.request(ctx, wire.UpConfig, req, &reply); err != nil {
		return reply, err
	}
	if reply.Error != "" {
		return reply, errors.New(reply.Error)
	}
	if n := len(reply.Layer); n > wire.MaxLayer {
		return reply, fmt.Errorf("revision %d has %d bytes, at most %d are taken", reply.Rev, n, wire.MaxLayer)
	}
	d.report(true)
	return reply, nil
}

func (d *Downlink) report(done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reported = done
}

// take lays a configuration and keeps it on trial, or refuses it. Errors are of the store.
func (d *Downlink) take(ctx context.Context, l Layer) error {
	k := d.opts.Kept
	good := k.Good()
	if err := k.Try(l); err != nil { // first: a configuration that kills the hub must not come again
		return err
	}
	if err := d.opts.Site.Lay(ctx, l); err != nil {
		if ctx.Err() != nil {
			return k.Drop() // the hub is stopping; it comes again
		}
		return d.refuse(ctx, d.opts.Kept.Refuse, l.Rev, strings.Split(err.Error(), "\n"), good.Rev)
	}
	d.opts.Log.Info("configuration from the cloud runs on trial", "revision", l.Rev)
	d.prove(ctx)
	return nil
}

// prove waits until the configuration on trial has proved itself, or takes it back.
func (d *Downlink) prove(ctx context.Context) {
	began := time.Now()
	why := errors.New("the hub did not look yet")
	tick := time.NewTicker(d.opts.Timing.Look)
	defer tick.Stop()
	for time.Since(began) < d.opts.Timing.Trial {
		select {
		case <-ctx.Done():
			return
		case <-d.auth: // revocations do not wait for the end of a trial
			d.pullAuth(ctx)
			continue
		case <-tick.C:
		}
		if time.Since(began) < d.opts.Timing.Settle {
			continue
		}
		if why = d.opts.Site.Well(ctx); why != nil {
			continue
		}
		if _, err := d.ask(ctx); err != nil {
			why = fmt.Errorf("the cloud does not answer under it: %w", err)
			continue
		}
		d.accept()
		return
	}
	d.takeBack(ctx, fmt.Sprintf("taken back after %s on trial: %v", d.opts.Timing.Trial, why))
}

// accept makes the configuration on trial the last good one.
func (d *Downlink) accept() {
	rev := d.opts.Kept.Runs().Rev
	if err := d.opts.Kept.Accept(); err != nil {
		d.opts.Log.Error("the configuration is good but could not be kept as such; it is tried again after a restart", "revision", rev, "err", err)
		return
	}
	d.report(false)
	poke(d.config) // to say so
	d.opts.Log.Info("configuration from the cloud is applied", "revision", rev)
}

// takeBack runs the last good configuration again.
func (d *Downlink) takeBack(ctx context.Context, reason string) {
	rev, good := d.opts.Kept.Runs().Rev, d.opts.Kept.Good()
	if err := d.opts.Site.Lay(ctx, good); err != nil {
		reason += fmt.Sprintf("; the last good one, revision %d, does not run either: %v", good.Rev, err)
	}
	if err := d.refuse(ctx, d.opts.Kept.TakeBack, rev, []string{reason}, good.Rev); err != nil {
		d.opts.Log.Error("a refused configuration could not be noted", "revision", rev, "err", err)
	}
}

// refuse notes that a revision does not run.
func (d *Downlink) refuse(ctx context.Context, keep func(uint64, []string) error, rev uint64, reasons []string, runs uint64) error {
	d.opts.Log.Warn("configuration from the cloud refused; the last good one runs", "revision", rev, "reasons", reasons, "runs", runs)
	if err := keep(rev, reasons); err != nil {
		return err
	}
	d.opts.Site.Refused(ctx, rev, reasons, runs)
	d.report(false)
	poke(d.config) // to say so
	return nil
}
