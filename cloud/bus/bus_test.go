package bus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/headcount-hub/headcount/cloud/bus"
	"github.com/headcount-hub/headcount/sync/wire"
)

func start(t *testing.T, opts bus.Options) *bus.Bus {
	t.Helper()
	if opts.URL == "" && opts.Listen == "" {
		opts.Listen = "127.0.0.1:0"
	}
	b, err := bus.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Shutdown)
	return b
}

// hub is a connected hub and the permission errors the server told it.
type hub struct {
	*nats.Conn
	errs   chan error
	closed chan struct{}
}

func connect(t *testing.T, url, org, site string, creds []byte, opts ...nats.Option) (*hub, error) {
	t.Helper()
	h := &hub{errs: make(chan error, 100), closed: make(chan struct{})}
	opts = append([]nats.Option{
		nats.UserCredentialBytes(creds), nats.CustomInboxPrefix(wire.InboxPrefix(org, site)), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { h.errs <- err }),
		nats.ClosedHandler(func(*nats.Conn) { close(h.closed) }),
	}, opts...)
	var err error
	if h.Conn, err = nats.Connect(url, opts...); err != nil {
		return nil, err
	}
	t.Cleanup(h.Close)
	return h, nil
}

func enrol(t *testing.T, b *bus.Bus, org, site string) *hub {
	t.Helper()
	creds, err := b.Enrol(org, site)
	if err != nil {
		t.Fatal(err)
	}
	h, err := connect(t, b.ClientURL(), org, site, creds)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// stored counts the messages of an organisation's stream.
func stored(t *testing.T, b *bus.Bus, org string) uint64 {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), wire.StreamName(org))
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
}

func TestStreamStoresBatchesOfAllSites(t *testing.T) {
	b := start(t, bus.Options{Dir: t.TempDir(), Orgs: []string{"acme"}})
	for _, site := range []string{"oslo", "rome"} {
		h := enrol(t, b, "acme", site)
		for _, what := range []string{"events", "readings", "heartbeat"} {
			if err := h.Publish(wire.UpSubject("acme", site, what), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if n := stored(t, b, "acme"); n != 4 {
		t.Errorf("stream has %d messages, want 4: events and readings of two sites", n)
	}
	s, err := b.JetStream().Stream(t.Context(), "UP_acme")
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	if c.Storage != jetstream.FileStorage || c.Discard != jetstream.DiscardNew || !c.DenyDelete || !c.DenyPurge || c.MaxAge != 30*24*time.Hour {
		t.Errorf("stream settings: %+v", c)
	}
	if err := s.Purge(t.Context()); err == nil {
		t.Error("the stream can be purged")
	}
}

func TestAnOrganisationAddedLater(t *testing.T) {
	b := start(t, bus.Options{Dir: t.TempDir()})
	h := enrol(t, b, "newcomer", "s1")
	if err := h.Publish("up.newcomer.s1.events", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, b, "newcomer"); n != 1 {
		t.Errorf("stream has %d messages, want 1", n)
	}
	if _, err := b.Enrol("new.comer", "s1"); err == nil {
		t.Error("a name with a dot is enrolled")
	}
	if _, err := b.Enrol("newcomer", "*"); err == nil {
		t.Error("a wildcard is enrolled")
	}
}

func TestPermissions(t *testing.T) {
	b := start(t, bus.Options{Dir: t.TempDir(), Orgs: []string{"acme", "other"}})
	h := enrol(t, b, "acme", "oslo")
	refused := func(what string) {
		t.Helper()
		if err := h.Flush(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-h.errs:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: got %v, want a permission violation", what, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s is allowed", what)
		}
	}
	for _, subject := range []string{
		"up.acme.rome.events", "up.other.oslo.events", "up.acme", "down.acme.oslo.mark", "down.acme.rome.mark",
		"$JS.API.STREAM.INFO.UP_acme", "$JS.API.STREAM.PURGE.UP_acme", "$JS.API.CONSUMER.CREATE.UP_acme",
		"$SYS.REQ.USER.INFO.x", wire.InboxPrefix("acme", "rome") + ".x", "_INBOX.x",
	} {
		if err := h.PublishRequest(subject, wire.InboxPrefix("acme", "oslo")+".r", nil); err != nil {
			t.Fatal(err)
		}
		refused("publish to " + subject)
	}
	for _, subject := range []string{
		">", "up.>", "up.acme.oslo.>", "down.>", "down.acme.*.mark", "down.acme.rome.>", "down.other.oslo.>",
		"_INBOX.>", wire.InboxPrefix("acme", "rome") + ".>", wire.InboxPrefix("other", "oslo") + ".>", "$SYS.>", "$JS.>",
	} {
		if _, err := h.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		refused("subscribe to " + subject)
	}

	marks, err := h.SubscribeSync(wire.DownSubject("acme", "oslo", ">"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Conn().Subscribe("up.*.*.heartbeat", func(m *nats.Msg) { m.Respond([]byte("reply to " + m.Subject)) }); err != nil {
		t.Fatal(err)
	}
	if err := b.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	reply, err := h.Request("up.acme.oslo.heartbeat", nil, 5*time.Second)
	if err != nil || string(reply.Data) != "reply to up.acme.oslo.heartbeat" {
		t.Errorf("heartbeat: got %v, %v", reply, err)
	}
	if err := b.Conn().Publish("down.acme.oslo.mark", []byte("m")); err != nil {
		t.Fatal(err)
	}
	if m, err := marks.NextMsg(5 * time.Second); err != nil || string(m.Data) != "m" {
		t.Errorf("mark: got %v, %v", m, err)
	}
	if len(h.errs) > 0 {
		t.Errorf("a permitted action was refused: %v", <-h.errs)
	}
}

func TestAnonymousIsRefused(t *testing.T) {
	b := start(t, bus.Options{Dir: t.TempDir()})
	if nc, err := nats.Connect(b.ClientURL()); err == nil {
		nc.Close()
		t.Error("connected without credentials")
	}
}

func TestRevocationCutsAtOnceAndLasts(t *testing.T) {
	dir := t.TempDir()
	b := start(t, bus.Options{Dir: dir, Orgs: []string{"acme"}})
	creds, err := b.Enrol("acme", "oslo")
	if err != nil {
		t.Fatal(err)
	}
	old, err := connect(t, b.ClientURL(), "acme", "oslo", creds)
	if err != nil {
		t.Fatal(err)
	}
	neighbour := enrol(t, b, "acme", "rome")
	if err := b.Revoke("acme", "oslo"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-old.closed:
	case <-time.After(5 * time.Second):
		t.Fatal("the revoked hub is still connected")
	}
	if neighbour.Flush() != nil {
		t.Error("the neighbour was cut off too")
	}
	if _, err := connect(t, b.ClientURL(), "acme", "oslo", creds); err == nil {
		t.Error("the revoked hub came back")
	}
	enrol(t, b, "acme", "oslo") // a new claim is welcome

	b.Shutdown()
	b = start(t, bus.Options{Dir: dir, Orgs: []string{"acme"}})
	if _, err := connect(t, b.ClientURL(), "acme", "oslo", creds); err == nil {
		t.Error("the revoked hub came back after a restart")
	}
	if err := b.Revoke("acme", "nobody"); err != nil {
		t.Errorf("revoke a site without credentials: %v", err)
	}
}

func TestRestartKeepsCredentialsAndStreams(t *testing.T) {
	dir := t.TempDir()
	b := start(t, bus.Options{Dir: dir, Orgs: []string{"acme"}})
	creds, err := b.Enrol("acme", "oslo")
	if err != nil {
		t.Fatal(err)
	}
	send := func(b *bus.Bus) {
		t.Helper()
		h, err := connect(t, b.ClientURL(), "acme", "oslo", creds)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Publish("up.acme.oslo.events", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := h.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	send(b)
	b.Shutdown()

	b = start(t, bus.Options{Dir: dir, Orgs: []string{"acme"}})
	send(b)
	if n := stored(t, b, "acme"); n != 2 {
		t.Errorf("stream has %d messages after a restart, want 2", n)
	}
	b.Shutdown()
	if err := os.RemoveAll(filepath.Join(dir, "jetstream")); err != nil {
		t.Fatal(err)
	}
	b = start(t, bus.Options{Dir: dir, Orgs: []string{"acme"}})
	send(b)
	if n := stored(t, b, "acme"); n != 1 {
		t.Errorf("stream has %d messages after its store was wiped, want 1", n)
	}
	for _, name := range []string{"operator.nk", "account.nk", "system.nk", "account.jwt", "issued.json"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v, %v, want mode 0600", name, info, err)
		}
	}
}

func TestFullStreamRefusesAndKeeps(t *testing.T) {
	b := start(t, bus.Options{Dir: t.TempDir(), Orgs: []string{"acme"}, MaxBytes: 64 << 10})
	h := enrol(t, b, "acme", "oslo")
	var last error
	for i := range 20 {
		m, err := h.Request("up.acme.oslo.events", make([]byte, 8<<10), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(m.Data), `"error"`) {
			last = fmt.Errorf("message %d: %s", i, m.Data)
			break
		}
	}
	if last == nil {
		t.Fatal("a full stream takes everything")
	}
	if n := stored(t, b, "acme"); n < 5 || n > 8 {
		t.Errorf("full stream kept %d messages, want those that fit", n)
	}
}

func TestStartRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, opts := range map[string]bus.Options{
		"plain text beyond loopback": {Dir: dir, Listen: "0.0.0.0:0"},
		"plain text everywhere":      {Dir: dir, Listen: ":0"},
		"no directory":               {Listen: "127.0.0.1:0"},
		"no port":                    {Dir: dir, Listen: "127.0.0.1"},
		"an organisation with a dot": {Dir: dir, Listen: "127.0.0.1:0", Orgs: []string{"a.b"}},
		"nobody at the URL":          {URL: "nats://127.0.0.1:1"},
	} {
		if b, err := bus.Start(t.Context(), opts); err == nil {
			b.Shutdown()
			t.Errorf("%s: started", name)
		}
	}
	b := start(t, bus.Options{Dir: dir})
	port := strings.TrimPrefix(b.ClientURL(), "nats://")
	if b2, err := bus.Start(t.Context(), bus.Options{Dir: t.TempDir(), Listen: port}); err == nil {
		b2.Shutdown()
		t.Error("started on a port in use")
	}
}

// An external cluster is here the embedded server of another bus, entered with credentials that
// its owner made: those of a site suffice to see what is refused.
func TestExternal(t *testing.T) {
	dir := t.TempDir()
	owner := start(t, bus.Options{Dir: dir})
	cloud, err := owner.CloudCredentials()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cloud.creds")
	if err := os.WriteFile(file, cloud, 0o600); err != nil {
		t.Fatal(err)
	}
	b := start(t, bus.Options{
		URL: owner.ClientURL(), CredentialsFile: file, AccountSeedFile: filepath.Join(dir, "account.nk"), Orgs: []string{"acme"},
	})
	h := enrol(t, b, "acme", "oslo")
	if err := h.Publish("up.acme.oslo.events", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, b, "acme"); n != 1 {
		t.Errorf("stream has %d messages, want 1", n)
	}
	if err := b.Revoke("acme", "oslo"); !errors.Is(err, bus.ErrExternal) {
		t.Errorf("revoke: got %v, want ErrExternal", err)
	}
	b = start(t, bus.Options{URL: owner.ClientURL(), CredentialsFile: file})
	if _, err := b.Enrol("acme", "rome"); !errors.Is(err, bus.ErrExternal) {
		t.Errorf("enrol without a seed: got %v, want ErrExternal", err)
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, err := bus.Start(context.Background(), bus.Options{Dir: b.TempDir(), Listen: "127.0.0.1:0", Orgs: []string{"acme"}})
		if err != nil {
			b.Fatal(err)
		}
		s.Shutdown()
	}
}

// user connects somebody from outside.
func user(t *testing.T, b *bus.Bus, name, org string, permissions ...string) *hub {
	t.Helper()
	creds, err := b.AddUser(name, org, permissions)
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{errs: make(chan error, 100), closed: make(chan struct{})}
	h.Conn, err = nats.Connect(b.ClientURL(), nats.UserCredentialBytes(creds), nats.CustomInboxPrefix(bus.UserInboxPrefix(name)), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { h.errs <- err }),
		nats.ClosedHandler(func(*nats.Conn) { close(h.closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func TestAnObserverReadsEventsOfItsOrganisationAndNothingElse(t *testing.T) {
	b := start(t, bus.Options{Dir: t.TempDir(), Orgs: []string{"acme"}})
	if err := b.EnsureEvents(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := user(t, b, "grafana", "acme", bus.Observe)
	js, err := jetstream.New(h.Conn)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.CreateConsumer(t.Context(), "EV", jetstream.ConsumerConfig{Durable: "grafana", FilterSubject: "ev.acme.>", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.JetStream().Publish(t.Context(), "ev.acme.hq.alert.raised", []byte("x")); err != nil {
		t.Fatal(err)
	}
	m, err := c.Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil || m.DoubleAck(t.Context()) != nil {
		t.Fatalf("its own consumer: %v", err)
	}
	for name, do := range map[string]func() error{
		"publish an event":                    func() error { return h.Publish("ev.acme.hq.alert.raised", nil) },
		"publish as a hub":                    func() error { return h.Publish("up.acme.hq.events", nil) },
		"call a service":                      func() error { return h.Publish("svc.twin.overview", nil) },
		"purge the stream":                    func() error { return h.Publish("$JS.API.STREAM.PURGE.EV", nil) },
		"a consumer of another name":          func() error { return h.Publish("$JS.API.CONSUMER.CREATE.EV.other.ev.acme.>", nil) },
		"a consumer of another organisation":  func() error { return h.Publish("$JS.API.CONSUMER.CREATE.EV.grafana.ev.globex.>", nil) },
		"a consumer of all":                   func() error { return h.Publish("$JS.API.CONSUMER.CREATE.EV.grafana", nil) },
		"read another organisation":           func() error { _, err := h.SubscribeSync("ev.globex.>"); return err },
		"read what hubs send":                 func() error { _, err := h.SubscribeSync("up.>"); return err },
		"read the answers to everybody":       func() error { _, err := h.SubscribeSync("_INBOX.>"); return err },
		"answer for services":                 func() error { _, err := h.SubscribeSync("svc.>"); return err },
		"read a consumer that is not its own": func() error { return h.Publish("$JS.API.CONSUMER.MSG.NEXT.EV.other", nil) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if err := h.Flush(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-h.errs:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: got %v, want a permission violation", name, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s is allowed", name)
		}
	}
	caller := user(t, b, "portal", "", bus.Call)
	if err := caller.Publish("svc.twin.overview", nil); err != nil || caller.Flush() != nil || len(caller.errs) > 0 {
		t.Errorf("a caller may not call: %v", err)
	}
	if err := b.RevokeUser("grafana"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.closed:
	case <-time.After(5 * time.Second):
		t.Fatal("the revoked user is still connected")
	}
	for _, bad := range [][]string{nil, {"everything"}} {
		if _, err := b.AddUser("x", "", bad); err == nil {
			t.Errorf("permissions %v are given", bad)
		}
	}
}
