package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/headcount-hub/headcount/edge"
)

// metrics is the hub's Prometheus registry. What the site and the journal know is read from
// the snapshot and the status when it is asked for; a space that is unknown has no count.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
}

func newMetrics(o Options) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.requests = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "headcount_http_request_duration_seconds", Help: "Time to answer HTTP requests, by route.",
		Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10},
	}, []string{"route", "code"})
	clients := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "headcount_live_clients", Help: "Clients of the live streams now.",
	}, func() float64 { return float64(o.Clients.Len()) })
	m.registry.MustRegister(m.requests, clients, &collector{site: o.Site, status: o.Status},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// observe counts a request. Routes are patterns, never paths: their number is bounded.
func (m *metrics) observe(r *http.Request, status int, took time.Duration) {
	route := r.Pattern
	if route == "" {
		route = "refused"
	}
	if status == http.StatusSwitchingProtocols || route == "GET /v1/stream" {
		return // a stream's duration says nothing
	}
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
}

// collector describes the site at the time of a scrape.
type collector struct {
	site   Site
	status Reporter
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("headcount_"+name, help, labels, nil)
}

var (
	spaceCount     = desc("space_count", "Best estimate of the people in a space; absent while unknown.", "space", "kind")
	spaceLow       = desc("space_count_low", "5 % bound of the people in a space; absent while unknown.", "space", "kind")
	spaceHigh      = desc("space_count_high", "95 % bound of the people in a space; absent while unknown.", "space", "kind")
	spaceOccupied  = desc("space_occupied_probability", "Probability that somebody is in a space; absent while unknown.", "space", "kind")
	spaceCapacity  = desc("space_capacity", "Capacity of a space in people; absent when not configured.", "space", "kind")
	spaceKnown     = desc("space_known", "1 when the occupancy of a space is known, else 0.", "space", "kind")
	spaceQuality   = desc("space_quality", "1 for the quality that a space's occupancy has.", "space", "quality")
	sensorUp       = desc("sensor_up", "1 when a sensor's status is ok, else 0.", "sensor", "status")
	sensorSeen     = desc("sensor_last_seen_timestamp_seconds", "When a sensor was last heard; absent when never.", "sensor")
	alertsOpen     = desc("alerts_open", "Alerts that are firing or acknowledged.", "severity", "state")
	readingsTotal  = desc("readings_total", "Readings by what became of them, since the store began (duplicates: since the start).", "outcome")
	eventsTotal    = desc("events_total", "Events written since the store began.")
	commitsTotal   = desc("commits_total", "Commits since the store began.")
	lossTotal      = desc("loss_total", "What did not become an accepted reading or was dropped later.", "cause")
	laneHead       = desc("journal_head", "Newest sequence written.", "lane")
	laneMark       = desc("journal_mark", "Newest sequence that the cloud has applied.", "lane")
	backlogRecords = desc("backlog_records", "Records that the cloud has not applied.", "lane")
	backlogBytes   = desc("backlog_bytes", "Bytes that the cloud has not applied.", "lane")
	oldestUnsent   = desc("oldest_unsent_timestamp_seconds", "Time of the oldest record that the cloud has not applied; absent when there is none.", "lane")
	horizon        = desc("offline_horizon_seconds", "How long the hub can stay offline at the present rate; absent while unknown.")
	uplinkUp       = desc("uplink_connected", "1 when connected to the cloud; absent when no uplink is configured.")
	storageBytes   = desc("storage_bytes", "Size of the journal.")
	storageMax     = desc("storage_max_bytes", "Bound of the journal; absent when there is none.")
	quarantined    = desc("storage_quarantined_segments", "Damaged segments put aside.")
	inputUp        = desc("input_up", "1 when an input's connection is up, else 0.", "input", "driver")
	clockSynced    = desc("clock_synced", "1 when the clock is synchronised, else 0.")
	startTime      = desc("start_timestamp_seconds", "When the hub was started.")
	actionBreaker  = desc("action_breaker", "Circuit breaker of an action: 1 for the state it is in.", "action", "state")
	actionPending  = desc("action_pending", "Deliveries of an action that wait.", "action")
	healthChecks   = desc("health", "Verdict of a health check: 1 = UP, 0.5 = DEGRADED, 0 = DOWN.", "check")
	build          = desc("build_info", "1; the version is a label.", "version")
)

// Describe sends nothing: which series there are depends on the site (an unchecked collector).
func (*collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the present values.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s, st := c.site.Snapshot(), c.status.Status()
	g := gauges(ch)
	for _, v := range s.Views() {
		g.space(v)
	}
	for _, sensor := range s.Sensors {
		g.set(sensorUp, flag(sensor.Status == "ok"), sensor.ID, sensor.Status)
		g.time(sensorSeen, sensor.LastSeen, sensor.ID)
	}
	g.alerts(s.Alerts)
	g.counts(s)
	g.lane("events", st.Lanes.Events)
	g.lane("readings", st.Lanes.Readings)
	g.hub(st)
}

type gauges chan<- prometheus.Metric

func (g gauges) set(d *prometheus.Desc, v float64, labels ...string) {
	g <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (g gauges) count(d *prometheus.Desc, v uint64, labels ...string) {
	g <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (g gauges) time(d *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		g.set(d, float64(t.UnixMilli())/1e3, labels...)
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (g gauges) space(v edge.SpaceView) {
	labels := []string{v.ID, string(v.Kind)}
	o := v.Occupancy
	known := o.State != edge.Unknown && o.State != ""
	g.set(spaceKnown, flag(known), labels...)
	g.set(spaceQuality, 1, v.ID, string(o.Quality))
	if v.Capacity > 0 {
		g.set(spaceCapacity, float64(v.Capacity), labels...)
	}
	for d, n := range map[*prometheus.Desc]*int{spaceCount: o.Count, spaceLow: o.Low, spaceHigh: o.High} {
		if known && n != nil {
			g.set(d, float64(*n), labels...)
		}
	}
	if known && o.POccupied != nil {
		g.set(spaceOccupied, *o.POccupied, labels...)
	}
}

func (g gauges) alerts(alerts []edge.Alert) {
	type key struct {
		severity edge.Severity
		state    edge.AlertState
	}
	n := map[key]int{}
	for _, severity := range []edge.Severity{edge.Info, edge.Warning, edge.Critical} {
		for _, state := range []edge.AlertState{edge.StateFiring, edge.StateAcknowledged} {
			n[key{severity, state}] = 0
		}
	}
	for _, a := range alerts {
		if a.State == edge.StateFiring || a.State == edge.StateAcknowledged {
			n[key{a.Severity, a.State}]++
		}
	}
	for k, v := range n {
		g.set(alertsOpen, float64(v), string(k.severity), string(k.state))
	}
}

func (g gauges) counts(s *edge.Snapshot) {
	g.count(readingsTotal, s.Counts.Readings, "accepted")
	g.count(readingsTotal, s.Counts.Pending, "pending")
	g.count(readingsTotal, s.Counts.Duplicates, "duplicate")
	g.count(readingsTotal, s.Counts.Rejected, "rejected")
	g.count(eventsTotal, s.Counts.Events)
	g.count(commitsTotal, s.Counts.Commits)
	lost := map[string]uint64{}
	for _, l := range s.Loss {
		lost[l.Cause] += l.Count
	}
	for cause, n := range lost {
		g.count(lossTotal, n, cause)
	}
}

func (g gauges) lane(name string, l Lane) {
	g.set(laneHead, float64(l.Head), name)
	g.set(laneMark, float64(l.Mark), name)
	g.set(backlogRecords, float64(l.BacklogRecords), name)
	g.set(backlogBytes, float64(l.BacklogBytes), name)
	g.time(oldestUnsent, l.OldestUnsent, name)
}

func (g gauges) hub(s Status) {
	if s.HorizonS != nil {
		g.set(horizon, float64(*s.HorizonS))
	}
	if s.Uplink.Configured {
		g.set(uplinkUp, flag(s.Uplink.Connected))
	}
	g.set(storageBytes, float64(s.Storage.Bytes))
	if s.Storage.MaxSize > 0 {
		g.set(storageMax, float64(s.Storage.MaxSize))
	}
	g.set(quarantined, float64(s.Storage.Quarantined))
	for _, in := range s.Inputs {
		g.set(inputUp, flag(in.Up), in.ID, in.Driver)
	}
	for _, a := range s.Actions {
		g.set(actionPending, float64(a.Pending), a.Name)
		for _, state := range []string{"closed", "half-open", "open"} {
			g.set(actionBreaker, flag(a.Breaker == state), a.Name, state)
		}
	}
	for _, c := range Judge(s).Checks {
		g.set(healthChecks, map[string]float64{Up: 1, Degraded: 0.5}[c.Status], c.Name)
	}
	g.set(clockSynced, flag(s.Clock == "synced"))
	g.time(startTime, s.StartedAt)
	g.set(build, 1, s.Version)
}
