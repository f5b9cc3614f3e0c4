package tier

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/headcount-hub/headcount/cloud/services"
	"github.com/headcount-hub/headcount/sync/wire"
)

// flow collects how messages pass through NATS, and how the parts of the tier are.
type flow struct{ t *Tier }

var (
	streamMessagesDesc = prometheus.NewDesc("headcount_cloud_stream_messages_total", "Messages ever stored in a stream.", []string{"stream"}, nil)
	streamBytesDesc    = prometheus.NewDesc("headcount_cloud_stream_bytes", "Bytes kept in a stream.", []string{"stream"}, nil)
	consumedDesc       = prometheus.NewDesc("headcount_cloud_stream_consumed_total", "Messages of a stream that were taken in.", []string{"stream"}, nil)
	lagDesc            = prometheus.NewDesc("headcount_cloud_ingest_lag_messages", "Messages of a stream that wait to be taken in.", []string{"stream"}, nil)
	natsDesc           = prometheus.NewDesc("headcount_cloud_nats_connected", "1 while connected to NATS.", nil, nil)
	publishLagDesc     = prometheus.NewDesc("headcount_cloud_publish_lag_events", "Events that wait to be published.", nil, nil)
	servicesDesc       = prometheus.NewDesc("headcount_cloud_services", "Services in the catalogue by kind.", []string{"kind"}, nil)
	healthDesc         = prometheus.NewDesc("headcount_health", "Verdict of a health check: 1 = UP, 0.5 = DEGRADED, 0 = DOWN.", []string{"check"}, nil)
)

// Describe lists the metrics.
func (f *flow) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{streamMessagesDesc, streamBytesDesc, consumedDesc, lagDesc, natsDesc, publishLagDesc, servicesDesc, healthDesc} {
		ch <- d
	}
}

// Collect asks NATS and the database; what does not answer is left out and health says so.
func (f *flow) Collect(ch chan<- prometheus.Metric) {
	f.streams(ch)
	ctx, cancel := f.t.queryContext()
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	connected := 0.0
	if f.t.bus.Conn().IsConnected() {
		connected = 1
	}
	gauge(natsDesc, connected)
	newest, err := f.t.db.NewestEvent(ctx)
	if lag, lagErr := f.t.publish.Lag(ctx, newest); err == nil && lagErr == nil {
		gauge(publishLagDesc, float64(lag))
	}
	if all, err := f.t.services.List(ctx, nil); err == nil {
		count := map[services.Kind]int{services.Tier: 0, services.Hub: 0, services.Outside: 0}
		for _, s := range all {
			count[s.Kind]++
		}
		for kind, n := range count {
			gauge(servicesDesc, float64(n), string(kind))
		}
	}
	for _, c := range f.t.checks(ctx) {
		gauge(healthDesc, map[string]float64{up: 1, degraded: 0.5}[c.Status], c.Name)
	}
}

// streams tells of each stream what came in, and of those of hubs how far they are taken in.
func (f *flow) streams(ch chan<- prometheus.Metric) {
	ctx, cancel := f.t.queryContext()
	defer cancel()
	if !f.t.bus.Conn().IsConnected() {
		return
	}
	counter := func(d *prometheus.Desc, v uint64, stream string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), stream)
	}
	list := f.t.bus.JetStream().ListStreams(ctx)
	for info := range list.Info() {
		name, state := info.Config.Name, info.State
		counter(streamMessagesDesc, state.LastSeq, name)
		ch <- prometheus.MustNewConstMetric(streamBytesDesc, prometheus.GaugeValue, float64(state.Bytes), name)
		if prefix := wire.StreamName(""); len(name) <= len(prefix) || name[:len(prefix)] != prefix {
			continue
		}
		at, err := f.t.db.Cursor(ctx, name)
		if err != nil || at.Position > state.LastSeq { // of a stream that was lost
			continue
		}
		counter(consumedDesc, at.Position, name)
		ch <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, float64(state.LastSeq-at.Position), name)
	}
}

// watchFlow registers what is counted of services and published events.
func (m *metrics) watchFlow(t *Tier) {
	s := t.publish.Stats()
	for name, c := range map[string]struct {
		help string
		get  func() int64
	}{
		"published_events_total":   {"Events published to NATS.", s.Events.Load},
		"published_readings_total": {"Records of readings published to NATS.", s.Readings.Load},
		"publish_failures_total":   {"Attempts to publish that had to be made again.", s.Failures.Load},
		"bus_dead_letters_total":   {"Messages that a NATS consumer gave up.", s.DeadLetters.Load},
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "headcount_cloud_" + name, Help: c.help},
			func() float64 { return float64(c.get()) }))
	}
	m.registry.MustRegister(&flow{t})
}
