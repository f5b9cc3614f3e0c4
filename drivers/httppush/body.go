package httppush

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
)

// body is what a request carried, read into a buffer that is used again.
type body struct {
	bytes.Buffer
	driver *Driver
	took   int64 // bytes counted in driver.inFlight
}

var bodies = sync.Pool{New: func() any { return new(body) }}

// read takes the whole body, decompressed. The caller must release what it gets.
func (d *Driver) read(r *http.Request) (*body, *problem) {
	if r.ContentLength > maxBody {
		return nil, tooLarge()
	}
	b := bodies.Get().(*body)
	b.driver = d
	b.Reset()
	if p := b.fill(r); p != nil {
		b.release()
		return nil, p
	}
	return b, nil
}

func (b *body) fill(r *http.Request) *problem {
	var src io.Reader = io.LimitReader(r.Body, maxBody+1)
	switch enc := r.Header.Get("Content-Encoding"); strings.ToLower(enc) {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(src)
		if err != nil {
			return problemf(http.StatusBadRequest, "malformed", "body is not gzip: %v", err)
		}
		src = io.LimitReader(z, maxBody+1)
	default:
		return problemf(http.StatusUnsupportedMediaType, "unknown format", "content encoding %q: send gzip or none", enc)
	}
	if want := r.ContentLength; want > 0 && b.Cap() < int(want) && want <= 64<<10 {
		b.Grow(int(want) + bytes.MinRead) // a small promise is believed, a big one has to be kept first
	}
	_, err := b.Buffer.ReadFrom(&counted{src, b})
	switch {
	case errors.Is(err, errCrowded):
		return again(http.StatusTooManyRequests, "too many readings at once; send again in a second")
	case err != nil && b.Len() <= maxBody:
		return problemf(http.StatusBadRequest, "incomplete", "body ended early: %v", err)
	case b.Len() > maxBody:
		return tooLarge()
	}
	return nil
}

func tooLarge() *problem {
	return problemf(http.StatusRequestEntityTooLarge, "too large", "body is larger than 1 MiB (decompressed); send smaller batches")
}

var errCrowded = errors.New("too many bytes in flight")

// counted counts what is read against the driver's bound.
type counted struct {
	src io.Reader
	b   *body
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.b.took += int64(n)
	if c.b.driver.inFlight.Add(int64(n)) > c.b.driver.maxInFlight {
		return n, errCrowded
	}
	return n, err
}

// release gives the buffer back. Nothing may refer to its bytes afterwards.
func (b *body) release() {
	b.driver.inFlight.Add(-b.took)
	b.took, b.driver = 0, nil
	if b.Cap() <= 256<<10 { // big ones are rare and not worth keeping
		bodies.Put(b)
	}
}

// Content types.
type content int

const (
	anyJSON content = iota // one object, an array, or lines
	ndjson
	other
)

func contentOf(r *http.Request) (content, *problem) {
	ct := r.Header.Get("Content-Type")
	if ct == "" || ct == "application/json" {
		return anyJSON, nil
	}
	media, params, err := mime.ParseMediaType(ct)
	if err != nil {
		return other, problemf(http.StatusUnsupportedMediaType, "unknown format", "content type %q: %v", ct, err)
	}
	if cs := params["charset"]; cs != "" && !strings.EqualFold(cs, "utf-8") && !strings.EqualFold(cs, "us-ascii") {
		return other, problemf(http.StatusUnsupportedMediaType, "unknown format", "charset %q: send UTF-8", cs)
	}
	switch {
	case media == "application/json", strings.HasSuffix(media, "+json"), media == "text/plain", media == "text/json",
		media == "application/x-www-form-urlencoded": // what curl -d and small devices say of any body
		return anyJSON, nil
	case media == "application/x-ndjson", media == "application/ndjson", media == "application/jsonl", media == "application/x-jsonlines":
		return ndjson, nil
	}
	return other, nil
}
