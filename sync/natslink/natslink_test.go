package natslink_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/headcount-hub/headcount/cloud/bus"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/natslink"
	"github.com/headcount-hub/headcount/sync/uplink"
	"github.com/headcount-hub/headcount/sync/uplink/uplinktest"
	"github.com/headcount-hub/headcount/sync/wire"
)

const limit = 10 * time.Second

var _ uplink.Link = (*natslink.Link)(nil)

func startBus(t testing.TB, opts bus.Options) *bus.Bus {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	if opts.Listen == "" {
		opts.Listen = "127.0.0.1:0"
	}
	if opts.Orgs == nil {
		opts.Orgs = []string{"acme"}
	}
	b, err := bus.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Shutdown)
	return b
}

// credentials writes those of acme/oslo to a file.
func credentials(t testing.TB, b *bus.Bus) string {
	t.Helper()
	creds, err := b.Enrol("acme", "oslo")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "site.creds")
	if err := os.WriteFile(file, creds, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func open(t testing.TB, url, creds string) *natslink.Link {
	t.Helper()
	l, err := natslink.Open(natslink.Options{URL: url, Org: "acme", Site: "oslo", CredentialsFile: creds})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// await waits until the link's state is as wanted.
func await(t testing.TB, l *natslink.Link, what string, ok func(connection int, reason string) bool) (connection int) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		c, reason := l.State()
		if ok(c, reason) {
			return c
		}
		select {
		case <-l.Changed():
		case <-deadline:
			t.Fatalf("not %s: connection %d, %q", what, c, reason)
		}
	}
}

func connected(c int, reason string) bool { return c > 0 && reason == "" }

func batch(t testing.TB, n int) wire.Batch {
	t.Helper()
	j := uplinktest.NewJournal()
	for range n {
		j.Append(edge.Events, "x")
	}
	b, err := j.Read(edge.Events, wire.Mark{Epoch: j.Epoch()}, wire.MaxBatch)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCarriesAllKindsOfMessages(t *testing.T) {
	b := startBus(t, bus.Options{})
	l := open(t, b.ClientURL(), credentials(t, b))
	await(t, l, "connected", connected)

	got := make(chan string, 10)
	stop, err := l.Receive(wire.DownMark, func(body []byte) { got <- string(body) })
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Conn().Subscribe("up.acme.oslo.heartbeat", func(m *nats.Msg) { m.Respond(append([]byte("re: "), m.Data...)) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := b.Conn().FlushWithContext(ctx); err != nil {
		t.Fatal(err)
	}
	if reply, err := l.Request(ctx, wire.UpHeartbeat, []byte("hello")); err != nil || string(reply) != "re: hello" {
		t.Errorf("request: got %q, %v", reply, err)
	}
	if err := b.Conn().Publish("down.acme.oslo.mark", []byte("m1")); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-got:
		if m != "m1" {
			t.Errorf("push: got %q, want m1", m)
		}
	case <-ctx.Done():
		t.Error("push did not arrive")
	}
	stop()
	sent := batch(t, 3)
	if err := l.Publish(ctx, sent); err != nil {
		t.Fatal(err)
	}
	stream, err := b.JetStream().Stream(ctx, "UP_acme")
	if err != nil {
		t.Fatal(err)
	}
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := cons.Next(jetstream.FetchContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject() != "up.acme.oslo.events" {
		t.Errorf("subject %s", m.Subject())
	}
	if back, err := wire.Decode(m.Headers(), m.Data()); err != nil || len(back.Records) != 3 || back.Epoch != sent.Epoch {
		t.Errorf("batch: got %+v, %v", back, err)
	}
	await(t, l, "confirmed", connected)
	if len(got) > 0 {
		t.Error("a push arrived after stop")
	}
}

func TestNobodyAnswers(t *testing.T) {
	b := startBus(t, bus.Options{})
	l := open(t, b.ClientURL(), credentials(t, b))
	await(t, l, "connected", connected)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	began := time.Now()
	if _, err := l.Request(ctx, wire.UpHeartbeat, nil); err == nil || !strings.Contains(err.Error(), "ingest is not running") {
		t.Errorf("got %v, want that nobody listens", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v to see that nobody listens", took)
	}
}

func TestServerComesLateAndComesBack(t *testing.T) {
	dir := t.TempDir()
	first := startBus(t, bus.Options{Dir: dir})
	creds := credentials(t, first)
	address := strings.TrimPrefix(first.ClientURL(), "nats://")
	first.Shutdown()

	l := open(t, "nats://"+address, creds)
	await(t, l, "offline", func(c int, reason string) bool { return c == 0 && strings.HasPrefix(reason, "offline") })
	ctx := t.Context()
	if err := l.Publish(ctx, batch(t, 1)); err == nil {
		t.Error("a batch is taken while offline")
	}
	got := make(chan string, 1)
	if _, err := l.Receive(wire.DownMark, func(body []byte) { got <- string(body) }); err != nil {
		t.Fatal(err)
	}
	second := startBus(t, bus.Options{Dir: dir, Listen: address})
	c1 := await(t, l, "connected", connected)
	second.Shutdown()
	await(t, l, "offline again", func(c int, reason string) bool { return c == 0 && strings.HasPrefix(reason, "offline") })
	third := startBus(t, bus.Options{Dir: dir, Listen: address})
	if c2 := await(t, l, "connected again", connected); c2 <= c1 {
		t.Errorf("connection %d after %d", c2, c1)
	}
	if _, err := l.Request(ctx, "heartbeat", nil); err == nil { // passes the subscription through before the push
		t.Error("somebody answered")
	}
	if err := third.Conn().Publish("down.acme.oslo.mark", []byte("m")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-got:
	case <-time.After(limit):
		t.Error("no push after coming back")
	}
}

func TestRevokedIsNotOffline(t *testing.T) {
	b := startBus(t, bus.Options{})
	l := open(t, b.ClientURL(), credentials(t, b))
	await(t, l, "connected", connected)
	if err := b.Revoke("acme", "oslo"); err != nil {
		t.Fatal(err)
	}
	await(t, l, "revoked", func(c int, reason string) bool { return c == 0 && strings.HasPrefix(reason, "not allowed") })
	refused := open(t, b.ClientURL(), credentials(t, startBus(t, bus.Options{}))) // of another cloud
	await(t, refused, "refused", func(c int, reason string) bool { return c == 0 && strings.HasPrefix(reason, "not allowed") })
}

func TestCredentialsRefusedAfterServerWasDown(t *testing.T) {
	creds := credentials(t, startBus(t, bus.Options{})) // of another cloud
	gone := startBus(t, bus.Options{})
	address := strings.TrimPrefix(gone.ClientURL(), "nats://")
	gone.Shutdown()
	l := open(t, "nats://"+address, creds)
	await(t, l, "offline", func(c int, reason string) bool { return strings.Contains(reason, "connection refused") })
	startBus(t, bus.Options{Listen: address})
	await(t, l, "not allowed", func(c int, reason string) bool { return c == 0 && strings.HasPrefix(reason, "not allowed") })
}

func TestForbiddenSubjectIsNotOffline(t *testing.T) {
	b := startBus(t, bus.Options{})
	l, err := natslink.Open(natslink.Options{URL: b.ClientURL(), Org: "acme", Site: "rome", CredentialsFile: credentials(t, b)}) // oslo's
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	await(t, l, "not allowed", func(c int, reason string) bool { return c > 0 && strings.HasPrefix(reason, "not allowed") })
}

func TestFullStreamIsReportedAndForgotten(t *testing.T) {
	b := startBus(t, bus.Options{MaxBytes: 20 << 10})
	l := open(t, b.ClientURL(), credentials(t, b))
	await(t, l, "connected", connected)
	for range 50 {
		if err := l.Publish(t.Context(), batch(t, 100)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, l, "refused", func(c int, reason string) bool {
		return c > 0 && strings.Contains(reason, "cannot store") && strings.Contains(reason, "maximum bytes")
	})
	stream, err := b.JetStream().Stream(t.Context(), "UP_acme")
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.MaxBytes = 1 << 20
	if _, err := b.JetStream().UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(t.Context(), batch(t, 1)); err != nil {
		t.Fatal(err)
	}
	await(t, l, "well again", connected)
}

func TestNoStreamIsReported(t *testing.T) {
	b := startBus(t, bus.Options{})
	l := open(t, b.ClientURL(), credentials(t, b))
	await(t, l, "connected", connected)
	if err := b.JetStream().DeleteStream(t.Context(), "UP_acme"); err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(t.Context(), batch(t, 1)); err != nil {
		t.Fatal(err)
	}
	await(t, l, "refused", func(c int, reason string) bool { return c > 0 && strings.Contains(reason, "no stream") })
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	public := filepath.Join(dir, "public.creds")
	if err := os.WriteFile(public, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(public, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, opts := range map[string]natslink.Options{
		"chmod 600":           {URL: "nats://127.0.0.1", Org: "a", Site: "b", CredentialsFile: public},
		"read credentials":    {URL: "nats://127.0.0.1", Org: "a", Site: "b", CredentialsFile: filepath.Join(dir, "none")},
		"read CA":             {URL: "nats://127.0.0.1", Org: "a", Site: "b", CAFile: filepath.Join(dir, "none")},
		"no URL":              {URL: "nats://", Org: "a", Site: "b"},
		"want 1 to 64 of a-z": {URL: "nats://127.0.0.1", Org: "a", Site: "b.c"},
	} {
		if l, err := natslink.Open(opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
			if l != nil {
				l.Close()
			}
		}
	}
}

// A line that swallows everything without a word is noticed by the pings.
func TestHalfOpenLineIsNoticed(t *testing.T) {
	t.Parallel()
	b := startBus(t, bus.Options{})
	proxy := newProxy(t, strings.TrimPrefix(b.ClientURL(), "nats://"))
	const ping = 500 * time.Millisecond // a tenth of the default
	l, err := natslink.Open(natslink.Options{
		URL: "nats://" + proxy.address(), Org: "acme", Site: "oslo", CredentialsFile: credentials(t, b), Ping: ping,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	await(t, l, "connected", connected)
	began := time.Now()
	proxy.swallow()
	await(t, l, "offline", func(c int, _ string) bool { return c == 0 })
	if took := time.Since(began); took > 4*ping {
		t.Errorf("noticed after %v, want after three pings of %v", took, ping)
	}
}

// proxy forwards TCP until it is told to swallow everything.
type proxy struct {
	l    net.Listener
	to   string
	mu   sync.Mutex
	mute bool
	wg   sync.WaitGroup
	open []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, to: to}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.open {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.l.Addr().String() }

func (p *proxy) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = true
}

func (p *proxy) accept() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.open = append(p.open, in, out)
		p.mu.Unlock()
		p.wg.Go(func() { p.pass(in, out) })
		p.wg.Go(func() { p.pass(out, in) })
	}
}

func (p *proxy) pass(from io.Reader, to io.Writer) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		mute := p.mute
		p.mu.Unlock()
		if mute {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	l, err := natslink.Open(natslink.Options{URL: "nats://127.0.0.1:1", Org: "acme", Site: "oslo"})
	if err != nil {
		t.Fatal(err)
	}
	await(t, l, "offline", func(c int, reason string) bool { return strings.Contains(reason, "refused") })
	l.Close()
	goleak.VerifyNone(t, before)
}

// cloud applies what comes by a bus, as ingest does.
type cloud struct {
	*uplinktest.Cloud
	stop func()
}

func startCloud(t testing.TB, b *bus.Bus, c *uplinktest.Cloud) cloud {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := b.JetStream().Stream(ctx, "UP_acme")
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	quiet := c.Listen(func(m wire.Marks) {
		if err := b.Conn().Publish("down.acme.oslo.mark", uplinktest.Body(m)); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			t.Error(err)
		}
	})
	var subs []*nats.Subscription
	for _, what := range []string{wire.UpHeartbeat, wire.UpSnapshot} {
		sub, err := b.Conn().Subscribe("up.acme.oslo."+what, func(m *nats.Msg) {
			if body, err := c.Answer(what, m.Data); err == nil {
				m.Respond(body)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, sub)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			m, err := messages.Next(jetstream.NextContext(ctx))
			if err != nil {
				return
			}
			if batch, err := wire.Decode(m.Headers(), m.Data()); err != nil {
				t.Errorf("batch: %v", err)
			} else {
				c.Apply(batch)
			}
		}
	})
	return cloud{c, func() {
		cancel()
		messages.Stop()
		wg.Wait()
		quiet()
		for _, s := range subs {
			_ = s.Unsubscribe()
		}
	}}
}
