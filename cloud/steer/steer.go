// Package steer is the cloud's side of what goes down to hubs: the desired configuration of each
// site in revisions, commands with their results, and by what hubs verify callers themselves.
//
// It guarantees that a desired configuration is changed only by who has seen the newest
// (If-Match), that every revision is kept with its author, and that what it shows as running is
// what the hub has said it runs. A command is answered with what the hub did, or with why that is
// not known; acknowledgements that were given while a hub was away are kept and sent when it is
// back. It refuses to judge a configuration beyond its form: only the hub knows the file over
// which it is laid.
package steer

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/wire"
)

//go:embed migrations
var migrations embed.FS

// Options of Open. DB, Conn and OfSite are required.
type Options struct {
	DB   *store.DB
	Conn *nats.Conn

	OfSite func(*route.Request) ([]string, error) // the policy of routes with {site}: it leaves the store.Site in Found
	Stale  func(store.Site) bool                  // whether a site's hub is away

	// Auth is by what hubs verify callers; its Revocations are token.Revocation. Nil = this cloud
	// issues no tokens. Changed returns a channel that is closed at the next change of it.
	Auth    func() Auth
	Changed func() <-chan struct{}
	// Sign makes a token for a caller that has none of its own at hand; nil = commands go without.
	Sign func(who *token.Identity, life time.Duration) (string, error)

	Log *slog.Logger
	Now func() time.Time // nil = time.Now
}

// Auth is what the cloud's tokens are verified by.
type Auth struct {
	Issuer      string
	JWKS        []byte
	Revocations []token.Revocation
}

// Steer steers the hubs of all sites. Its methods may be called from many goroutines.
type Steer struct {
	opts Options
	db   *store.DB
	log  *slog.Logger
	wake chan struct{} // size 1: a command waits
}

// Open brings the tables up to date.
func Open(ctx context.Context, o Options) (*Steer, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := o.DB.Migrate(ctx, "steer", migrations, "migrations"); err != nil {
		return nil, err
	}
	return &Steer{opts: o, db: o.DB, log: o.Log, wake: make(chan struct{}, 1)}, nil
}

func problem(status int, format string, args ...any) error {
	return route.Problem(status, format, args...)
}

// queueGroup lets one of several replicas answer each request.
const queueGroup = "steer"

// requestLimit bounds how long the answer to a hub may take.
const requestLimit = 5 * time.Second

// Run answers hubs and sends what waits for them until ctx ends.
func (s *Steer) Run(ctx context.Context) error {
	for what, answer := range map[string]func(context.Context, store.Site, []byte) any{wire.UpConfig: s.answerConfig, wire.UpAuth: s.answerAuth} {
		sub, err := s.opts.Conn.QueueSubscribe(wire.UpSubject("*", "*", what), queueGroup, func(m *nats.Msg) { s.respond(ctx, m, answer) })
		if err != nil {
			return fmt.Errorf("listen for requests of %s: %w", what, err)
		}
		defer sub.Unsubscribe() //nolint:errcheck // the connection may be closed already
	}
	s.deliver(ctx)
	return nil
}

// respond answers one request of a hub; its site is the subject's.
func (s *Steer) respond(ctx context.Context, m *nats.Msg, answer func(context.Context, store.Site, []byte) any) {
	org, name, what, ok := wire.ParseUp(m.Subject)
	if !ok || m.Reply == "" || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	var body any
	site, err := s.site(ctx, org, name)
	if err != nil {
		body = refusal{"the cloud does not know the site yet; ask again after a heartbeat"}
	} else {
		body = answer(ctx, site, m.Data)
	}
	b, err := json.Marshal(body)
	if err == nil {
		err = m.Respond(b)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("request of a hub not answered; it asks again", "what", what, "org", org, "site", name, "err", err)
	}
}

// refusal is the answer to a request that cannot be met.
type refusal struct {
	Error string `json:"error"`
}

func (s *Steer) site(ctx context.Context, org, name string) (store.Site, error) {
	found, err := s.db.FindSites(ctx, org, name)
	if err == nil && len(found) != 1 {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Site{}, err
	}
	return found[0], nil
}

// maxRevision is far above all revisions there will be: what a hub says must not let them overflow.
const maxRevision = 1 << 53

// answerConfig notes what a hub runs and tells it what it should.
func (s *Steer) answerConfig(ctx context.Context, site store.Site, body []byte) any {
	var req wire.ConfigRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return refusal{"the request is no JSON of its kind"}
	}
	if req.Have > maxRevision || req.Refused > maxRevision {
		return refusal{"the request names a revision that the cloud has never given"}
	}
	st, err := s.noteReport(ctx, site, req)
	if err != nil {
		s.log.Error("report of a hub not noted; it comes again", "site", site.Site, "err", err)
		return refusal{"the cloud cannot write now; try again later"}
	}
	reply := wire.ConfigReply{Version: wire.Version, Rev: st.Rev}
	if st.Rev != 0 && st.Rev != req.Have {
		if reply.Layer, err = s.document(ctx, site.ID, st.Rev); err != nil {
			s.log.Error("desired configuration not read", "site", site.Site, "rev", st.Rev, "err", err)
			return refusal{"the cloud cannot read the configuration now; try again later"}
		}
	}
	return reply
}

// noteReport keeps what a hub says it runs, if that is news.
func (s *Steer) noteReport(ctx context.Context, site store.Site, req wire.ConfigRequest) (state, error) {
	was, err := s.state(ctx, site.ID)
	if err != nil {
		return was, err
	}
	const most = 20
	if req.Reasons = req.Reasons[:min(len(req.Reasons), most)]; req.Reasons == nil {
		req.Reasons = []string{}
	}
	reasons, err := json.Marshal(req.Reasons)
	if err != nil {
		return was, err
	}
	if !was.Reported.IsZero() && was.Runs == req.Have && was.Refused == req.Refused && was.OnTrial == req.OnTrial && string(was.reasons) == string(reasons) {
		return was, nil
	}
	trial := 0
	if req.OnTrial {
		trial = 1
	}
	const upsert = `INSERT INTO steer_sites (site, runs, on_trial, refused, reasons, reported) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (site) DO UPDATE SET runs = excluded.runs, on_trial = excluded.on_trial, refused = excluded.refused,
			reasons = excluded.reasons, reported = excluded.reported`
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.Exec(upsert, site.ID, int64(req.Have), trial, int64(req.Refused), string(reasons), store.Millis(s.opts.Now())); err != nil {
			return err
		}
		e, err := store.EventOf("twin.configuration", site.Site, s.opts.Now(), map[string]any{
			"site": site.Site, "desired_rev": was.Rev, "applied_rev": req.Have, "refused_rev": req.Refused, "reasons": req.Reasons, "on_trial": req.OnTrial,
		})
		if err != nil {
			return err
		}
		return tx.AddSiteEvent(site, "", e)
	})
	if err != nil {
		return was, err
	}
	return s.state(ctx, site.ID)
}

// answerAuth tells a hub by what to verify callers.
func (s *Steer) answerAuth(_ context.Context, site store.Site, _ []byte) any { return s.authOf(site) }

// authOf is what a site's hub should know of callers.
func (s *Steer) authOf(site store.Site) wire.Auth {
	a := wire.Auth{Version: wire.Version, Domains: site.Domains, Revocations: json.RawMessage("[]")}
	if s.opts.Auth != nil {
		m := s.opts.Auth()
		a.Issuer, a.JWKS = m.Issuer, m.JWKS
		if len(m.Revocations) > 0 {
			a.Revocations, _ = json.Marshal(m.Revocations) // texts and times always encode
		}
	}
	b, _ := json.Marshal(a)
	sum := sha256.Sum256(b)
	a.Revision = hex.EncodeToString(sum[:12])
	return a
}

// Complete adds to the answer to a heartbeat what the hub may have to ask for.
func (s *Steer) Complete(ctx context.Context, org, name string, h *wire.HeartbeatReply) {
	site, err := s.site(ctx, org, name)
	if err != nil {
		return // the next one has it
	}
	st, err := s.state(ctx, site.ID)
	if err != nil {
		return
	}
	h.ConfigRev, h.AuthRev = strconv.FormatUint(st.Rev, 10), s.authOf(site).Revision
}

// state is where a site's configuration stands.
type state struct {
	Rev      uint64    // desired
	Runs     uint64    // as the hub last said
	OnTrial  bool      //
	Refused  uint64    //
	Reasons  []string  // why
	Reported time.Time // zero = the hub never said anything
	reasons  []byte
}

func (s *Steer) state(ctx context.Context, site int64) (state, error) {
	return scanState(s.db.QueryRow(ctx, stateQuery, site))
}

const stateQuery = `SELECT rev, runs, on_trial, refused, reasons, reported FROM steer_sites WHERE site = ?`

func scanState(row *sql.Row) (state, error) {
	var st state
	var rev, runs, refused, trial, at int64
	var reasons string
	err := row.Scan(&rev, &runs, &trial, &refused, &reasons, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return state{Reasons: []string{}}, nil
	}
	if err != nil {
		return st, fmt.Errorf("read state of the configuration: %w", err)
	}
	st = state{Rev: uint64(rev), Runs: uint64(runs), OnTrial: trial == 1, Refused: uint64(refused), Reported: store.FromMillis(at), reasons: []byte(reasons)}
	if err := json.Unmarshal(st.reasons, &st.Reasons); err != nil {
		return st, fmt.Errorf("read reasons of a refusal: %w", err)
	}
	return st, nil
}

// Forget removes what is kept of a site that is deleted.
func (s *Steer) Forget(tx *store.Tx, site store.Site) error {
	for _, table := range []string{"steer_sites", "steer_desired", "steer_commands"} {
		if err := tx.Exec(`DELETE FROM `+table+` WHERE site = ?`, site.ID); err != nil {
			return fmt.Errorf("forget site in %s: %w", table, err)
		}
	}
	return nil
}
