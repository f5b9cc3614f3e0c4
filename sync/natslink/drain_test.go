package natslink_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/bus"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/natslink"
	"github.com/headcount-hub/headcount/sync/uplink"
	"github.com/headcount-hub/headcount/sync/uplink/uplinktest"
	"github.com/headcount-hub/headcount/sync/wire"
)

// pump runs an uplink over a real link; the function it returns stops it.
func pump(t testing.TB, j *uplinktest.Journal, l *natslink.Link, timing uplink.Timing) (p *uplink.Pump, stop func()) {
	t.Helper()
	p = uplink.New(uplink.Options{
		Journal: j, Link: l, Timing: timing,
		Heartbeat:  func() wire.Heartbeat { return wire.Heartbeat{Site: "oslo"} },
		Snapshot:   func() wire.Snapshot { return wire.Snapshot{Epoch: j.Epoch()} },
		OnConflict: func(reason string) { t.Errorf("conflict: %s", reason) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return p, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// drained waits until the pump has nothing left to send.
func drained(t testing.TB, p *uplink.Pump, j *uplinktest.Journal, c *uplinktest.Cloud) {
	t.Helper()
	applied := make(chan struct{}, 1)
	stop := c.Listen(func(wire.Marks) {
		select {
		case applied <- struct{}{}:
		default:
		}
	})
	defer stop()
	deadline := time.After(30 * time.Second)
	for {
		if c.Count(edge.Events) >= int(j.Head(edge.Events).Seq) && c.Count(edge.Readings) >= int(j.Head(edge.Readings).Seq) {
			return
		}
		select {
		case <-applied:
		case <-deadline:
			t.Fatalf("not drained: %+v", p.Status())
		}
	}
}

func complete(t *testing.T, j *uplinktest.Journal, c *uplinktest.Cloud) {
	t.Helper()
	for _, lane := range edge.Lanes {
		if got, want := c.Applied(lane), j.All(lane); !slices.Equal(got, want) {
			t.Errorf("%s: %d applied, want the journal's %d in order", lane, len(got), len(want))
		}
	}
}

func write(j *uplinktest.Journal, n int) {
	for i := range n {
		j.Append(edge.Readings, fmt.Sprint("reading ", i, strings.Repeat("x", 100)))
		j.Append(edge.Events, fmt.Sprint("event ", i))
	}
}

// The broker dies at any time, and its store is lost while the cloud's database stays: in the end
// the cloud has everything once.
func TestBrokerDiesAndLosesItsStore(t *testing.T) {
	dir, j, c := t.TempDir(), uplinktest.NewJournal(), uplinktest.NewCloud()
	b := startBus(t, bus.Options{Dir: dir})
	creds := credentials(t, b)
	address := strings.TrimPrefix(b.ClientURL(), "nats://")
	l := open(t, b.ClientURL(), creds)
	timing := uplink.Timing{Heartbeat: 200 * time.Millisecond, Resend: 300 * time.Millisecond, ReplyTimeout: time.Second, Batch: 4 << 10}
	p, stop := pump(t, j, l, timing)
	defer stop()
	for round := range 4 {
		write(j, 500)
		if round%2 == 0 { // the cloud's ingest is down: what is sent lies in the stream only
			await(t, l, "connected", func(c int, _ string) bool { return c > 0 })
			write(j, 500)
		} else {
			end := startCloud(t, b, c)
			drained(t, p, j, c)
			write(j, 500)
			end.stop()
		}
		b.Shutdown()
		if err := os.RemoveAll(filepath.Join(dir, "jetstream")); err != nil {
			t.Fatal(err)
		}
		b = startBus(t, bus.Options{Dir: dir, Listen: address})
	}
	end := startCloud(t, b, c)
	drained(t, p, j, c)
	complete(t, j, c)
	end.stop()
}

// BenchmarkDrain sends a backlog over a real embedded server to a cloud in memory: the pump, the
// encoding, NATS, JetStream's file store and the decoding.
func BenchmarkDrain(b *testing.B) {
	server := startBus(b, bus.Options{})
	l := open(b, server.ClientURL(), credentials(b, server))
	await(b, l, "connected", connected)
	c := uplinktest.NewCloud()
	end := startCloud(b, server, c)
	defer end.stop()
	const records = 20000 // of about 2 KB with 14 readings each
	j := uplinktest.NewJournal()
	for i := range records {
		j.Append(edge.Readings, reading(i))
	}
	b.ResetTimer()
	for b.Loop() {
		c.Forget()
		p, stop := pump(b, j, l, uplink.Timing{})
		drained(b, p, j, c)
		stop()
		for _, lane := range edge.Lanes {
			if err := j.Release(lane, wire.Mark{Epoch: j.Epoch()}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N*records)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(b.N*records*14)/b.Elapsed().Seconds(), "readings/s")
}

// BenchmarkLiveEvents measures how long an event takes to be applied while a backlog of readings
// drains behind it.
func BenchmarkLiveEvents(b *testing.B) {
	server := startBus(b, bus.Options{})
	l := open(b, server.ClientURL(), credentials(b, server))
	await(b, l, "connected", connected)
	c := uplinktest.NewCloud()
	end := startCloud(b, server, c)
	defer end.stop()
	applied := make(chan struct{}, 1)
	defer c.Listen(func(wire.Marks) {
		select {
		case applied <- struct{}{}:
		default:
		}
	})()
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		c.Forget()
		j := uplinktest.NewJournal()
		for i := range 20000 {
			j.Append(edge.Readings, reading(i))
		}
		b.StartTimer()
		_, stop := pump(b, j, l, uplink.Timing{})
		for c.Count(edge.Readings) < 20000 {
			began := time.Now()
			j.Append(edge.Events, "live")
			for c.Count(edge.Events) < int(j.Head(edge.Events).Seq) {
				<-applied
			}
			took = append(took, time.Since(began))
		}
		stop()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(len(took))/float64(b.N), "events/op")
}

// reading is a payload of the size and likeness of a packed readings record.
func reading(i int) string {
	var s strings.Builder
	for k := range 14 {
		n := int64(i*14 + k)
		fmt.Fprintf(&s, `{sensor:pir-%d,device:zigbee2mqtt/pir_%d,rx:%d,at:%d,values:[[presence,motion-state,%v],[battery_v,state,2.9%d]]},`,
			n%300, n%300, 1760000000000+n*217, 1760000000000+n*217-n%97, n%3 == 0, n%10)
	}
	return s.String()
}
