package downlink

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/wire"
)

// cloud plays the other end of the link.
type cloud struct {
	mu      sync.Mutex
	away    bool
	desired Layer
	auth    wire.Auth
	asked   []wire.ConfigRequest
	serve   func([]byte) []byte
}

func (c *cloud) Request(_ context.Context, what string, body []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		return nil, errors.New("offline")
	}
	if what == wire.UpAuth {
		return json.Marshal(c.auth)
	}
	var req wire.ConfigRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	c.asked = append(c.asked, req)
	reply := wire.ConfigReply{Version: wire.Version, Rev: c.desired.Rev}
	if req.Have != c.desired.Rev {
		reply.Layer = c.desired.Doc
	}
	return json.Marshal(reply)
}

func (c *cloud) Receive(string, func([]byte)) (func(), error) { return func() {}, nil }

func (c *cloud) Serve(_ string, f func([]byte) []byte) (func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serve = f
	return func() {}, nil
}

func (c *cloud) set(f func(*cloud)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

func (c *cloud) last() wire.ConfigRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.asked) == 0 {
		return wire.ConfigRequest{}
	}
	return c.asked[len(c.asked)-1]
}

// place is a site that takes every layer without the word "bad"; under one with "sick" it is
// not well.
type place struct {
	mu      sync.Mutex
	laid    []Layer
	refused []uint64
	done    []edge.Command
}

func (p *place) Lay(_ context.Context, l Layer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.Contains(string(l.Doc), "bad") {
		return errors.New("first mistake\nsecond mistake")
	}
	p.laid = append(p.laid, l)
	return nil
}

func (p *place) Well(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.Contains(string(p.laid[len(p.laid)-1].Doc), "sick") {
		return errors.New("input broker is down")
	}
	return nil
}

func (p *place) Refused(_ context.Context, rev uint64, _ []string, _ uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = append(p.refused, rev)
}

func (p *place) Do(_ context.Context, cmd edge.Command) (edge.CommandResult, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = append(p.done, cmd)
	return edge.CommandResult{ID: cmd.ID, Applied: cmd.Kind != edge.DeniedCommand}, nil
}

func (p *place) runs() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.laid) == 0 {
		return 0
	}
	return p.laid[len(p.laid)-1].Rev
}

type bench struct {
	*Downlink
	t     *testing.T
	dir   string
	cloud *cloud
	place *place
	stop  func()
}

// begin starts a downlink as a hub's process does.
func begin(t *testing.T, dir string, c *cloud) *bench {
	t.Helper()
	kept, err := OpenKept(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := &place{}
	layer, err := kept.Start()
	if err != nil {
		t.Fatal(err)
	}
	p.laid = []Layer{layer}
	auth, err := OpenAuth(dir, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	d := New(Options{Link: c, Site: p, Kept: kept, Auth: auth, Now: time.Now})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	b := &bench{Downlink: d, t: t, dir: dir, cloud: c, place: p}
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b
}

// beat is the answer to a heartbeat, and some time after it.
func (b *bench) beat(wait time.Duration) {
	b.cloud.mu.Lock()
	r := wire.HeartbeatReply{ConfigRev: strconv.FormatUint(b.cloud.desired.Rev, 10), AuthRev: b.cloud.auth.Revision}
	away := b.cloud.away
	b.cloud.mu.Unlock()
	if !away {
		b.Heard(r)
	}
	time.Sleep(wait) // within synctest
	synctest.Wait()
}

func doc(s string) json.RawMessage { return json.RawMessage(`{"spaces":[{"id":"` + s + `"}]}`) }

func TestADesiredConfigurationIsAppliedAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{desired: Layer{Rev: 12, Doc: doc("hall")}}
		dir := t.TempDir()
		b := begin(t, dir, c)
		b.beat(10 * time.Second)
		if b.place.runs() != 12 {
			t.Fatalf("runs %d, want 12", b.place.runs())
		}
		if got := c.last(); got.Have != 12 || got.OnTrial || got.Refused != 0 {
			t.Errorf("reported %+v", got)
		}
		asked := len(c.asked)
		b.beat(10 * time.Second)
		if len(c.asked) != asked {
			t.Error("asks again although nothing is new")
		}
		b.stop()
		b = begin(t, dir, &cloud{away: true})
		defer b.stop()
		if b.place.runs() != 12 || b.opts.Kept.OnTrial() {
			t.Errorf("after a restart without the cloud: runs %d", b.place.runs())
		}
	})
}

func TestARefusedConfigurationIsReportedOnceAndNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{desired: Layer{Rev: 3, Doc: doc("hall")}}
		b := begin(t, t.TempDir(), c)
		defer b.stop()
		b.beat(10 * time.Second)
		c.set(func(c *cloud) { c.desired = Layer{Rev: 4, Doc: doc("bad")} })
		b.beat(10 * time.Second)
		if got := c.last(); got.Have != 3 || got.Refused != 4 || !slices.Equal(got.Reasons, []string{"first mistake", "second mistake"}) {
			t.Errorf("reported %+v", got)
		}
		if !slices.Equal(b.place.refused, []uint64{4}) {
			t.Errorf("noted as refused: %v", b.place.refused)
		}
		asked := len(c.asked)
		b.beat(10 * time.Second)
		b.beat(10 * time.Second)
		if len(c.asked) != asked || b.place.runs() != 3 {
			t.Errorf("asked %d times more, runs %d", len(c.asked)-asked, b.place.runs())
		}
		c.set(func(c *cloud) { c.desired = Layer{Rev: 5} })
		b.beat(10 * time.Second)
		if b.place.runs() != 5 {
			t.Errorf("runs %d, want 5", b.place.runs())
		}
	})
}

func TestAConfigurationUnderWhichTheSiteIsNotWellIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{desired: Layer{Rev: 3, Doc: doc("hall")}}
		b := begin(t, t.TempDir(), c)
		defer b.stop()
		b.beat(10 * time.Second)
		c.set(func(c *cloud) { c.desired = Layer{Rev: 4, Doc: doc("sick")} })
		b.beat(30 * time.Second)
		if b.place.runs() != 4 {
			t.Fatalf("runs %d, want 4 on trial", b.place.runs())
		}
		b.beat(time.Minute)
		if b.place.runs() != 3 {
			t.Errorf("runs %d after the trial, want 3", b.place.runs())
		}
		if got := c.last(); got.Have != 3 || got.Refused != 4 || !strings.Contains(strings.Join(got.Reasons, " "), "input broker is down") {
			t.Errorf("reported %+v", got)
		}
	})
}

func TestAConfigurationUnderWhichTheCloudIsGoneIsTakenBackAndReportedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{desired: Layer{Rev: 1, Doc: doc("hall")}}
		b := begin(t, t.TempDir(), c)
		defer b.stop()
		b.beat(100 * time.Millisecond)
		c.set(func(c *cloud) { c.away = true })
		b.beat(2 * time.Minute)
		if b.place.runs() != 0 {
			t.Fatalf("runs %d, want the file alone", b.place.runs())
		}
		c.set(func(c *cloud) { c.away = false })
		b.beat(10 * time.Second)
		if got := c.last(); got.Have != 0 || got.Refused != 1 || len(got.Reasons) != 1 {
			t.Errorf("reported %+v", got)
		}
	})
}

func TestATrialThatTheProcessDoesNotSurviveIsOver(t *testing.T) {
	dir := t.TempDir()
	kept, err := OpenKept(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{kept.Try(Layer{Rev: 7, Doc: doc("good")}), kept.Accept(), kept.Try(Layer{Rev: 8, Doc: doc("deadly")})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for start, want := range []uint64{8, 8, 7, 7} {
		if kept, err = OpenKept(dir); err != nil {
			t.Fatal(err)
		}
		if l, err := kept.Start(); err != nil || l.Rev != want {
			t.Errorf("start %d: runs %d, %v, want %d", start+1, l.Rev, err, want)
		}
	}
	if rev, reasons := kept.Refusal(); rev != 8 || len(reasons) != 1 {
		t.Errorf("refused %d, %v", rev, reasons)
	}
}

func TestWhatDidNotFitTheFileIsLookedAtAgainAfterARestart(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		refuse func(*Kept) error
		want   uint64
	}{
		{func(k *Kept) error { return k.Refuse(4, []string{"does not fit"}) }, 0},
		{func(k *Kept) error { return k.TakeBack(4, []string{"not well"}) }, 4},
	} {
		kept, err := OpenKept(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := tc.refuse(kept); err != nil {
			t.Fatal(err)
		}
		if kept, err = OpenKept(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := kept.Start(); err != nil || kept.RefusedRev() != tc.want {
			t.Errorf("refused %d after a restart, %v, want %d", kept.RefusedRev(), err, tc.want)
		}
	}
}

func TestADamagedFileIsSaidSo(t *testing.T) {
	for _, file := range []string{layerFile, authFile} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, file), []byte(`{"good":`), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenKept(dir)
		_, authErr := OpenAuth(dir, time.Now, slog.New(slog.DiscardHandler))
		if err = errors.Join(err, authErr); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, file)) {
			t.Errorf("%s: %v, want its path", file, err)
		}
	}
}

func signer(t *testing.T) (*token.Signer, ed25519.PrivateKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := token.NewSigner("https://cloud.example", []token.Key{{ID: "k1", Private: key}}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s, key
}

func (b *bench) ask(req wire.Command) (res edge.CommandResult) {
	b.t.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := json.Unmarshal(b.cloud.serve(body), &res); err != nil {
		b.t.Fatal(err)
	}
	return res
}

func TestTheHubDecidesItselfWhoMayCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := signer(t)
		sign := func(role token.Role, domain string) string {
			raw, err := s.Sign(&token.Identity{Kind: token.User, Subject: "u-" + role.String(), Name: "Ada", Session: "s1", Memberships: []token.Membership{{Domain: domain, Role: role}}}, []string{Audience}, 10*time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
		c := &cloud{}
		dir := t.TempDir()
		b := begin(t, dir, c)
		command := func(raw string) wire.Command {
			return wire.Command{Deadline: time.Now().Add(time.Minute), Token: raw, By: "mallory", Command: edge.Command{ID: "c-1", Kind: edge.CorrectCount, Subject: "hall"}}
		}
		synctest.Wait()
		if res := b.ask(command("")); !res.Applied {
			t.Errorf("before there are any keys: %+v", res)
		}
		c.set(func(c *cloud) {
			c.auth = wire.Auth{Revision: "a1", Issuer: "https://cloud.example", JWKS: s.JWKS(), Domains: []string{"acme/north"}}
		})
		b.beat(time.Second)
		operator := sign(token.Operator, "acme")
		if res := b.ask(command(operator)); !res.Applied {
			t.Errorf("an operator: %+v", res)
		}
		if got := b.place.done[len(b.place.done)-1]; got.By != "Ada" {
			t.Errorf("carried out for %q, want the token's name", got.By)
		}
		for name, raw := range map[string]string{
			"no token": "", "no JWT": "abc", "a viewer": sign(token.Viewer, "acme"), "another organisation's operator": sign(token.Admin, "globex"), "a department's": sign(token.Admin, "acme/south"),
		} {
			if res := b.ask(command(raw)); res.Applied || res.Code != "forbidden" || res.Reason == "" {
				t.Errorf("%s: %+v", name, res)
			}
			if got := b.place.done[len(b.place.done)-1]; got.Kind != edge.DeniedCommand {
				t.Errorf("%s: not noted: %+v", name, got)
			}
		}
		approve := command(operator)
		approve.Command.Kind = edge.ApproveDevice
		if res := b.ask(approve); res.Code != "forbidden" || !strings.Contains(res.Reason, "manager") {
			t.Errorf("an operator approves a device: %+v", res)
		}
		if approve.Token = sign(token.Manager, "acme"); !b.ask(approve).Applied {
			t.Error("a manager cannot approve a device")
		}
		late := command(operator)
		late.Deadline = time.Now().Add(-time.Second)
		if res := b.ask(late); res.Code != "expired" {
			t.Errorf("after its deadline: %+v", res)
		}

		c.set(func(c *cloud) {
			revoked, _ := json.Marshal([]token.Revocation{{Subject: "u-operator", Before: time.Now(), Until: time.Now().Add(time.Hour)}})
			c.auth.Revision, c.auth.Revocations = "a2", revoked
		})
		b.beat(time.Second)
		if res := b.ask(command(operator)); res.Code != "forbidden" || !strings.Contains(res.Reason, "revoked") {
			t.Errorf("after the revocation: %+v", res)
		}
		c.set(func(c *cloud) { c.auth = wire.Auth{Revision: "a3"} })
		b.beat(time.Second)
		if !b.opts.Auth.Known() {
			t.Error("a cloud without keys is believed")
		}
		b.stop()

		info, err := os.Stat(filepath.Join(dir, authFile))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("cache: %v, %v", info, err)
		}
		c.set(func(c *cloud) { c.away = true })
		b = begin(t, dir, c)
		defer b.stop()
		synctest.Wait()
		if res := b.ask(command(operator)); res.Code != "forbidden" || !strings.Contains(res.Reason, "revoked") {
			t.Errorf("after a restart offline: %+v", res)
		}
		if res := b.ask(command(sign(token.Manager, "acme/north"))); !res.Applied {
			t.Errorf("a manager after a restart offline: %+v", res)
		}
	})
}

func FuzzCommand(f *testing.F) {
	f.Add([]byte(`{"deadline":"2026-11-21T10:00:00Z","by":"a","command":{"id":"1","kind":"space.count","subject":"hall","args":{"count":2}}}`))
	f.Add([]byte(`[]`))
	d := New(Options{Site: &place{}, Auth: &Auth{}, Now: func() time.Time { return time.Unix(1_790_000_000, 0) }})
	f.Fuzz(func(t *testing.T, body []byte) {
		var res edge.CommandResult
		if err := json.Unmarshal(d.command(t.Context(), body), &res); err != nil {
			t.Fatal(err)
		}
		if !res.Applied && (res.Code == "" || res.Reason == "") {
			t.Fatalf("refused without a reason: %+v", res)
		}
	})
}
