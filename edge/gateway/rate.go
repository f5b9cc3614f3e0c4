package gateway

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/headcount-hub/headcount/sync/token"
)

// Rate is how often one client may ask: a bucket of Burst requests that fills again at
// PerSecond. The zero value does not limit.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Rates limits clients: by identity where they have proved one, else by address (IPv6 by /64).
type Rates struct {
	API    Rate
	Login  Rate // requests other than GET and HEAD below /auth/, by address
	Ingest Rate // readings, by device; clients on this machine are not limited
}

// DefaultRates leaves room for a page of many charts, for sensors that send in bursts, and for a
// thousand Socket.IO clients behind one address that come back at once with some polls each.
var DefaultRates = Rates{
	API:    Rate{PerSecond: 500, Burst: 10000},
	Login:  Rate{PerSecond: 1, Burst: 60},
	Ingest: Rate{PerSecond: 500, Burst: 2000},
}

// Limits are rates as people configure them: 0 is the default, a negative number no limit.
type Limits struct {
	PerSecond       float64 // requests of a client
	Burst           int     // how many at once
	LoginPerMinute  float64 // attempts to log in, register or reset, of an address
	IngestPerSecond float64 // readings requests of a device
}

// Rates fills in the defaults. Unless Burst says otherwise, a burst is 5 seconds' worth.
func (l Limits) Rates() Rates {
	out := DefaultRates
	if l.PerSecond != 0 {
		out.API = Rate{l.PerSecond, max(1, int(5*l.PerSecond))}
	}
	if l.Burst != 0 {
		out.API.Burst = l.Burst
	}
	if l.LoginPerMinute != 0 {
		out.Login = Rate{l.LoginPerMinute / 60, max(1, int(l.LoginPerMinute))}
	}
	if l.IngestPerSecond != 0 {
		out.Ingest = Rate{l.IngestPerSecond, max(1, int(4*l.IngestPerSecond))}
	}
	return out
}

// bucket says which bucket a request is taken from, and its rate.
type bucket struct {
	key  string
	rate Rate
}

func (g *Gateway) bucket(r *http.Request, c *Call) bucket {
	rates := g.opts.Rates
	switch {
	case strings.HasPrefix(r.URL.Path, "/auth/") && r.Method != http.MethodGet && r.Method != http.MethodHead:
		return bucket{"login " + network(c.Remote), rates.Login}
	case g.opts.Ingest != nil && g.opts.Ingest(r):
		if addr, err := netip.ParseAddr(c.Remote); err == nil && addr.IsLoopback() {
			return bucket{}
		}
		return bucket{"ingest " + c.client(), rates.Ingest}
	}
	return bucket{"api " + c.client(), rates.API}
}

// client is whose bucket it is. Those who need no proof are told apart by address.
func (c *Call) client() string {
	if c.Who == nil || c.Who.Kind == token.Local && c.Refused == nil && c.Who.Subject == "local" {
		return network(c.Remote)
	}
	return string(c.Who.Kind) + ":" + c.Who.Subject
}

// network is the address, of IPv6 its /64: a single customer has all of those.
func network(addr string) string {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Unmap().Is4() {
		return addr
	}
	p, err := a.Prefix(64)
	if err != nil {
		return addr
	}
	return p.String()
}

// maxBuckets bounds the clients remembered.
const maxBuckets = 8192

// limiter keeps the buckets. The zero value is ready.
type limiter struct {
	mu      sync.Mutex // guards buckets
	buckets map[string]*rate.Limiter
}

// take takes one request out of a bucket; when it is empty, wait says when there is one again,
// in whole seconds.
func (l *limiter) take(b bucket, now time.Time) (wait time.Duration, ok bool) {
	if b.rate.PerSecond <= 0 || b.rate.Burst <= 0 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.buckets[b.key]
	if have == nil {
		l.makeRoom(now)
		have = rate.NewLimiter(rate.Limit(b.rate.PerSecond), b.rate.Burst)
		l.buckets[b.key] = have
	}
	res := have.ReserveN(now, 1)
	delay := res.DelayFrom(now)
	if delay == 0 {
		return 0, true
	}
	res.CancelAt(now)
	return (delay + time.Second - 1).Truncate(time.Second), false
}

// makeRoom forgets full buckets, which are as good as new ones, when there are too many; if none
// is, a flood of addresses is under way and forgetting is better than growing.
func (l *limiter) makeRoom(now time.Time) {
	if l.buckets == nil {
		l.buckets = map[string]*rate.Limiter{}
	}
	if len(l.buckets) < maxBuckets {
		return
	}
	for key, b := range l.buckets {
		if b.TokensAt(now) >= float64(b.Burst()) {
			delete(l.buckets, key)
		}
	}
	if len(l.buckets) >= maxBuckets {
		clear(l.buckets)
	}
}
