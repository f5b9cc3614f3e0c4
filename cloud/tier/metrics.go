package tier

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is what Prometheus reads.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "headcount_http_request_duration_seconds", Help: "Time to answer a request; live streams count at their end.",
			Buckets: []float64{.005, .025, .1, .5, 2.5, 10},
		}, []string{"route", "status"}),
	}
	m.registry.MustRegister(m.requests, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe notes one request under its route's pattern, never its path, of which there may be
// any number.
func (m *metrics) observe(r *http.Request, status int, d time.Duration) {
	route := r.Pattern
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Observe(d.Seconds())
}

// watch registers what the parts of the tier count.
func (m *metrics) watch(t *Tier) {
	s := t.ingest.Stats()
	counter := func(name, help string, get func() int64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "headcount_cloud_" + name, Help: help},
			func() float64 { return float64(get()) }))
	}
	counter("batches_total", "Batches taken from streams.", s.Batches.Load)
	counter("commits_total", "Transactions that applied batches.", s.Groups.Load)
	counter("events_applied_total", "Records of the events lane applied.", s.Events.Load)
	counter("readings_applied_total", "Records of the readings lane applied.", s.Readings.Load)
	counter("duplicates_total", "Records that had been applied before.", s.Duplicates.Load)
	counter("gaps_total", "Batches refused because records before them are missing.", s.Gaps.Load)
	counter("conflicts_total", "Batches refused because they do not continue the applied chain.", s.Conflicts.Load)
	counter("unreadable_total", "Records and messages that could not be read.", s.Unreadable.Load)
	counter("lost_total", "Records that hubs declared lost.", s.Lost.Load)
	counter("heartbeats_total", "Heartbeats of hubs.", s.Heartbeats.Load)
	counter("snapshots_total", "Snapshots of hubs.", s.Snapshots.Load)
	counter("ingest_failures_total", "Transactions and connections that had to be tried again.", s.Failures.Load)
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "headcount_cloud_live_clients", Help: "Open live streams."},
		func() float64 { return float64(t.clients.Len()) }))
	m.registry.MustRegister(&tables{t})
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// tables collects what is counted in the database when it is asked.
type tables struct{ t *Tier }

var (
	sitesDesc  = prometheus.NewDesc("headcount_cloud_sites", "Sites by whether their hub is heard.", []string{"state"}, nil)
	alertsDesc = prometheus.NewDesc("headcount_cloud_open_alerts", "Open alerts of all sites.", nil, nil)
)

// Describe lists the metrics.
func (c *tables) Describe(ch chan<- *prometheus.Desc) {
	ch <- sitesDesc
	ch <- alertsDesc
}

// Collect reads the tables; what cannot be read is left out and health says so.
func (c *tables) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := c.t.queryContext()
	defer cancel()
	gauge := func(desc *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(v), labels...)
	}
	if online, stale, err := c.t.countSites(ctx); err == nil {
		gauge(sitesDesc, online, "online")
		gauge(sitesDesc, stale, "stale")
	}
	if open, err := c.t.db.CountOpenAlerts(ctx); err == nil {
		sum := 0
		for _, n := range open {
			sum += n
		}
		gauge(alertsDesc, sum)
	}
}
