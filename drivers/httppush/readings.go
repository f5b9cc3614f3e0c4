package httppush

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// batch is what a body's items became before the hub saw them.
type batch struct {
	readings []edge.Reading
	items    []int // item of each reading; nil while reading i is item i
	refused  []refusal
	n        int    // items so far
	hash     string // of the body, when items are refused
}

// hash is the first 16 hex digits of the SHA-256 of b.
func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func (b *batch) take(r edge.Reading) {
	if b.items != nil {
		b.items = append(b.items, b.n)
	}
	b.readings = append(b.readings, r)
	b.n++
}

func (b *batch) refuse(why error) {
	if b.items == nil {
		b.items = make([]int, len(b.readings), cap(b.readings))
		for i := range b.items {
			b.items[i] = i
		}
	}
	b.refused = append(b.refused, refusal{b.n, why.Error()})
	b.n++
}

func (b *batch) item(i int) int {
	if b.items == nil {
		return i
	}
	return b.items[i]
}

// serveReadings is POST /v1/readings.
func (d *Driver) serveReadings(w http.ResponseWriter, r *http.Request) {
	received := time.Now()
	res, p := d.readings(r, received)
	if p != nil {
		d.refuse(w, r, received, p)
		return
	}
	res.write(w)
}

func (d *Driver) readings(r *http.Request, received time.Time) (*result, *problem) {
	kind, p := contentOf(r)
	if p != nil {
		return nil, p
	}
	if kind == other {
		return nil, problemf(http.StatusUnsupportedMediaType, "unknown format", "content type %q: send application/json or application/x-ndjson", r.Header.Get("Content-Type"))
	}
	b, p := d.read(r)
	if p != nil {
		return nil, p
	}
	defer b.release()
	items, p := parseBody(b.Bytes(), kind, d.names, received)
	if p != nil {
		p.hash = hash(b.Bytes())
		return nil, p
	}
	if len(items.refused) > 0 {
		items.hash = hash(b.Bytes())
	}
	return d.put(r.Context(), r.URL.Path, items, received)
}

// put hands the items to the hub and tells what became of each.
func (d *Driver) put(ctx context.Context, path string, items *batch, received time.Time) (*result, *problem) {
	if p := d.foreign(ctx, items.readings); p != nil {
		return nil, p
	}
	var outcomes []edge.Outcome
	err := d.with(ctx, func(ctx context.Context, out drivers.Sink) (err error) {
		if n := len(items.refused); n > 0 {
			last := items.refused[n-1]
			err := out.Reject(ctx, edge.Rejection{Driver: Name, Device: path, Cause: "invalid reading", Detail: clipDetail(last.Reason), Hash: items.hash, Count: n, At: received})
			if err != nil {
				return err
			}
		}
		if len(items.readings) > 0 {
			outcomes, err = out.Put(ctx, items.readings...)
		}
		return err
	})
	if err != nil {
		return nil, d.unavailable(err)
	}
	res := &result{rejected: items.refused}
	for i, o := range outcomes {
		res.add(items.item(i), o)
	}
	return res, nil
}

// foreign refuses the whole body when a device's token came with readings of another device. A
// token for a sensor of the configuration is one for the device that serves it.
func (d *Driver) foreign(ctx context.Context, readings []edge.Reading) *problem {
	who := token.From(ctx)
	if who == nil || who.Kind != token.Device {
		return nil
	}
	own := *who
	own.Subject = d.names.sensor([]byte(who.Subject))
	for i := range readings {
		if !own.MaySend(readings[i].Device) {
			return problemf(http.StatusForbidden, "not its own device", "reading %d is of another device than %q, whose token this is; nothing was taken", i, who.Subject)
		}
	}
	return nil
}

// unavailable is the answer when the hub did not take a delivery: nothing is acknowledged.
func (d *Driver) unavailable(err error) *problem {
	if errors.Is(err, errStopped) || errors.Is(err, context.Canceled) {
		return again(http.StatusServiceUnavailable, errStopped.Error())
	}
	d.log.Warn("readings not stored", "err", err)
	return again(http.StatusServiceUnavailable, "the hub could not store the readings; send them again")
}

// refuse counts what arrived in vain, if anything did, and answers.
func (d *Driver) refuse(w http.ResponseWriter, r *http.Request, received time.Time, p *problem) {
	if p.cause != "" {
		rej := edge.Rejection{Driver: Name, Device: r.URL.Path, Cause: p.cause, Detail: clipDetail(p.Detail), Hash: p.hash, At: received}
		err := d.with(r.Context(), func(ctx context.Context, out drivers.Sink) error { return out.Reject(ctx, rej) })
		if err != nil {
			p = d.unavailable(err)
		}
	}
	p.write(w)
}

// clipDetail keeps a detail within the 200 bytes of a rejection.
func clipDetail(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// parseBody reads native readings: one object, an array of them, or one a line. In lines each
// stands for itself; a syntax error elsewhere refuses the whole body, since nobody knows where
// the next item begins.
func parseBody(body []byte, kind content, known *names, received time.Time) (*batch, *problem) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	p := &parser{scanner: scanner{b: body}, names: known, received: received}
	items := &batch{}
	switch c := p.peek(); {
	case p.end():
		return nil, problemf(http.StatusBadRequest, "malformed", "body is empty: send a reading, an array or one reading a line")
	case kind == ndjson || c == '{' && manyLines(body[p.i:]):
		return items, p.lines(items)
	case c == '[':
		return items, p.array(items)
	}
	if err := p.one(items); err != nil {
		return nil, malformed(body, p.i, err)
	}
	if !p.end() {
		return nil, malformed(body, p.i, p.unexpected("the end"))
	}
	return items, nil
}

// manyLines tells whether an object's first line is followed by one that begins another object.
func manyLines(b []byte) bool {
	_, rest, ok := bytes.Cut(b, []byte{'\n'})
	rest = bytes.TrimLeft(rest, " \t\r\n")
	return ok && len(rest) > 0 && rest[0] == '{'
}

// one reads one item.
func (p *parser) one(items *batch) error {
	r, why, err := p.reading()
	switch {
	case err != nil:
		return err
	case why != nil:
		items.refuse(why)
	default:
		items.take(r)
	}
	return nil
}

func (p *parser) array(items *batch) *problem {
	items.readings = make([]edge.Reading, 0, 1+bytes.Count(p.b, []byte("},")))
	over := errors.New("too many")
	err := p.list(']', func() error {
		if items.n == maxItems {
			return over
		}
		return p.one(items)
	})
	if errors.Is(err, over) {
		return tooMany()
	}
	if err == nil && !p.end() {
		err = p.unexpected("the end")
	}
	if err != nil {
		return malformed(p.b, p.i, err)
	}
	return nil
}

func (p *parser) lines(items *batch) *problem {
	rest := p.b
	items.readings = make([]edge.Reading, 0, 1+bytes.Count(rest, []byte{'\n'}))
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		p.b, p.i = line, 0
		if p.end() {
			continue
		}
		if items.n == maxItems {
			return tooMany()
		}
		if len(line) > maxItem {
			items.refuse(errors.New("line is longer than 64 KiB"))
			continue
		}
		before := *items
		err := p.one(items)
		if err == nil && !p.end() {
			*items, err = before, p.unexpected("the end of the line")
		}
		if err != nil {
			items.refuse(errors.New("malformed: " + err.Error()))
		}
	}
	return nil
}

func tooMany() *problem {
	return problemf(http.StatusRequestEntityTooLarge, "too large", "more than %d readings in one body; send smaller batches", maxItems)
}

// malformed is the answer to a body that is not JSON, with the place.
func malformed(body []byte, at int, err error) *problem {
	p := problemf(http.StatusBadRequest, "malformed", "body is malformed at byte %d: %v", at, err)
	offset := int64(at)
	p.Offset, p.Line = &offset, 1+bytes.Count(body[:min(at, len(body))], []byte{'\n'})
	return p
}
