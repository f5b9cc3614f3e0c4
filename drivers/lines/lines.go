// Package lines reads sensors that print lines of JSON or CSV on a serial port, as small boards
// do.
//
// Options: port (a path, best /dev/serial/by-id/…, or {vid, pid, serial}), baud (115200), what
// the lines look like (format, csv_columns, map and the others of [payload.LineOptions]), prefix
// and ack.
//
// A line ends with LF, CR or both and has at most 4 KiB; empty lines and comments (#) are
// nothing. The id in a line, with the option prefix before it, is the device's address, so that
// a sensor needs no more than {id: door-7}. A line without an id is of the port's only device,
// which is named like the input.
//
// Noise, broken and glued lines cost themselves only: the next end of line begins anew, what
// was unreadable is counted. Lines have no checksum: a digit that flips unseen is a wrong number.
// The first line after the port was opened may be the rest of one: it is taken only if it is a
// JSON object or its id is that of a configured sensor.
//
// Without ack a reading is safe once it was read and the hub had committed it; what a board
// prints while the hub is down is lost. With ack: true each line is answered, after the commit,
// with one line; SEQ is the line's own "seq", "-" where it has none that can be read:
//
//	ok SEQ         stored
//	dup SEQ        was stored before
//	again SEQ      could not be stored now: send it again
//	err SEQ why    can never be stored: do not send it again
//
// A device sends one line, waits for its answer or one with "-", and sends the line again, with
// the same seq, when there is none. Noise is not answered.
package lines

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/payload"
	"github.com/headcount-hub/headcount/drivers/serialport"
	"github.com/headcount-hub/headcount/edge"
)

// Name is the driver's name in the catalog and in rejections.
const Name = "lines"

// Options are the input's own options.
type Options struct {
	Port   serialport.Identity `json:"port"`
	Baud   int                 `json:"baud"`   // bits per second; 0 = 115200
	Prefix string              `json:"prefix"` // before the id in a line
	Ack    bool                `json:"ack"`    // answer each line
	payload.LineOptions
}

// Driver reads one port.
type Driver struct {
	id     string
	o      Options
	keeper serialport.Keeper
	codec  *payload.Lines
	known  map[string]bool // addresses of configured sensors
	log    *slog.Logger
}

var (
	_ drivers.Driver  = (*Driver)(nil)
	_ drivers.Factory = New
)

// New makes the driver from its options.
func New(cfg drivers.Config, log *slog.Logger) (drivers.Driver, error) {
	d := &Driver{id: cfg.ID, known: map[string]bool{}, log: log}
	if err := drivers.DecodeOptions(cfg.Options, &d.o); err != nil {
		return nil, err
	}
	if err := d.o.Port.Check(); err != nil {
		return nil, err
	}
	mode := serialport.Mode{Baud: d.o.Baud}
	if err := mode.Check(); err != nil {
		return nil, err
	}
	var err error
	if d.codec, err = payload.NewLines(d.o.LineOptions); err != nil {
		return nil, err
	}
	d.keeper = serialport.Keeper{ID: d.o.Port, Mode: mode}
	for _, s := range cfg.Sensors {
		d.known[s.Address()] = true
	}
	return d, nil
}

// Run reads the port until ctx ends, opening it again whenever it was lost.
func (d *Driver) Run(ctx context.Context, out drivers.Sink) error {
	status := func(up bool, detail string) { out.Status(drivers.Status{Up: up, Detail: detail}) }
	return d.keeper.Keep(ctx, status, func(ctx context.Context, p *serialport.Port) error {
		s := &session{d: d, out: out, port: p, junk: map[string]junk{}, first: true}
		return s.run(ctx)
	})
}

// session is the time from the opening of the port to its loss.
type session struct {
	d     *Driver
	out   drivers.Sink
	port  *serialport.Port
	frame framer
	first bool // no line has ended yet

	pending []item // lines of the last read
	junk    map[string]junk
	counted time.Time // when junk was handed over last
}

// item is one line that is to be stored, or answered otherwise.
type item struct {
	readings []edge.Reading
	seq      string
	cause    string // not empty: it, or a part of it, is refused for this cause
	detail   string
	hash     string
}

// junk is what could not be understood and is not counted by the hub yet.
type junk struct {
	count        int
	detail, hash string // of the newest
}

const (
	countEvery = time.Second // junk is counted in one go so often, unless it has to be answered
	retryPut   = time.Second // between two tries to store what nobody will send again
)

func (s *session) run(ctx context.Context) error {
	buf := make([]byte, 4<<10)
	for {
		n, err := s.read(ctx, buf)
		if err != nil {
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), countEvery)
			defer cancel()
			return errors.Join(err, s.countJunk(grace, true))
		}
		s.pending = s.pending[:0]
		received := time.Now()
		s.frame.push(buf[:n], func(l line) { s.take(l, received) })
		if err := s.deliver(ctx); err != nil {
			return err
		}
	}
}

// read waits for bytes; while there is junk to be counted, not for ever.
func (s *session) read(ctx context.Context, buf []byte) (int, error) {
	for {
		within, cancel := ctx, context.CancelFunc(func() {})
		if len(s.junk) > 0 {
			within, cancel = context.WithDeadline(ctx, s.counted.Add(countEvery))
		}
		n, err := s.port.Read(within, buf)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return n, err
		}
		if err := s.countJunk(ctx, true); err != nil {
			return 0, err
		}
	}
}

// take reads one line.
func (s *session) take(l line, received time.Time) {
	first := s.first
	s.first = false
	if l.cause != "" {
		s.pending = append(s.pending, item{cause: l.cause})
		return
	}
	in := payload.Input{Path: s.d.id, Body: l.text, Received: received}
	obs, err := s.d.codec.DecodeLine(in)
	it := item{readings: payload.Group(s.d.o.Prefix, obs, received), seq: seqOf(l.text)}
	if err != nil {
		r := payload.Rejection(Name, s.d.id, err, in)
		it.cause, it.detail, it.hash = r.Cause, r.Detail, r.Hash
	}
	if first && l.text[0] != '{' && !s.known(it.readings) {
		it.readings, it.cause, it.detail = nil, "partial", "first line after opening, of a device that is not configured"
	}
	s.pending = append(s.pending, it)
}

func (s *session) known(rs []edge.Reading) bool {
	for _, r := range rs {
		if !s.d.known[r.Device] {
			return false
		}
	}
	return true
}

// seqOf is the line's own sequence as its answer repeats it, empty when there is none.
func seqOf(text []byte) string {
	if text[0] != '{' {
		return ""
	}
	d, err := payload.ParseJSON(text, payload.Limits{})
	if err != nil {
		return ""
	}
	defer d.Free()
	v := d.Root().Get("seq")
	if t := v.Type(); t != payload.Number && t != payload.String || len(v.Raw()) > 64 {
		return ""
	}
	if bytes.ContainsAny(v.Raw(), " \t\\") {
		return ""
	}
	return string(v.Raw())
}

// deliver stores what the lines of one read said, in one go, and answers them.
func (s *session) deliver(ctx context.Context) error {
	var rs []edge.Reading
	for _, it := range s.pending {
		rs = append(rs, it.readings...)
		if it.cause != "" {
			s.junk[it.cause] = junk{s.junk[it.cause].count + 1, it.detail, it.hash}
		}
	}
	if len(s.pending) == 0 {
		return nil
	}
	if err := s.countJunk(ctx, s.d.o.Ack); err != nil {
		return err
	}
	outcomes, err := s.put(ctx, rs)
	if err != nil || !s.d.o.Ack {
		return err
	}
	return s.answer(outcomes)
}

// put stores the readings. With ack a failure is answered and the device sends again: outcomes
// are nil then. Without, nobody would: it is tried until it works or ctx ends.
func (s *session) put(ctx context.Context, rs []edge.Reading) ([]edge.Outcome, error) {
	for len(rs) > 0 {
		outcomes, err := s.out.Put(ctx, rs...)
		if err == nil {
			return outcomes, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.d.log.Warn("readings not stored", "port", s.port.Path(), "readings", len(rs), "err", err)
		if s.d.o.Ack {
			return nil, nil
		}
		if err := pause(ctx, retryPut); err != nil {
			return nil, err
		}
	}
	return []edge.Outcome{}, nil
}

// answer writes a line for each line.
func (s *session) answer(outcomes []edge.Outcome) error {
	var b []byte
	for _, it := range s.pending {
		if it.cause == causeNoise || it.cause == causeTooLong {
			continue // perhaps no device said that
		}
		var own []edge.Outcome
		if outcomes != nil {
			own, outcomes = outcomes[:len(it.readings)], outcomes[len(it.readings):]
		}
		word, why := it.verdict(own)
		b = fmt.Appendf(b, "%s %s%s\n", word, cmp.Or(it.seq, "-"), why)
	}
	if len(b) == 0 {
		return nil
	}
	_, err := s.port.Write(b)
	return err
}

// verdict is what the device is told about a line: own are the outcomes of its readings, none
// when they could not be stored.
func (it *item) verdict(own []edge.Outcome) (word, why string) {
	if len(own) < len(it.readings) {
		return "again", ""
	}
	if it.cause != "" {
		return "err", " " + it.cause
	}
	word = "ok" // also for a line that says nothing
	for _, o := range own {
		switch o.Status {
		case edge.Rejected:
			return "err", " rejected"
		case edge.Duplicate:
			word = "dup"
		default:
			return "ok", ""
		}
	}
	return word, ""
}

// countJunk hands what could not be understood to the hub's ledger, at once or if it is time.
func (s *session) countJunk(ctx context.Context, now bool) error {
	if len(s.junk) == 0 || !now && time.Since(s.counted) < countEvery {
		return nil
	}
	s.counted = time.Now()
	for cause, j := range s.junk {
		err := s.out.Reject(ctx, edge.Rejection{Driver: Name, Device: s.d.id, Cause: cause, Detail: j.detail, Hash: j.hash, Count: j.count, At: s.counted})
		if err != nil {
			return err
		}
		delete(s.junk, cause)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
