package steer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Command is something that was asked of a site's hub, and what became of it.
type Command struct {
	ID       string           `json:"id"`
	Kind     edge.CommandKind `json:"kind"`
	Subject  string           `json:"subject"`
	Args     json.RawMessage  `json:"args,omitempty"`
	By       string           `json:"by"`
	State    string           `json:"state"`          // "waiting" for the hub, "sent", "applied", "refused", "failed": it is not known
	Code     string           `json:"code,omitempty"` // as edge.CommandResult has it, or "forbidden", "offline", "timeout"
	Reason   string           `json:"reason,omitempty"`
	Created  time.Time        `json:"created"`
	Deadline time.Time        `json:"deadline"`
	Done     time.Time        `json:"done,omitzero"`
}

// Order is the body of POST /v1/sites/{site}/commands.
type Order struct {
	Kind      edge.CommandKind `json:"kind"`
	Subject   string           `json:"subject"`
	Args      json.RawMessage  `json:"args"`
	DeadlineS int              `json:"deadline_s"` // 10 by default, at most 30
}

// The bounds of a command.
const (
	defaultDeadline = 10 * time.Second
	maxDeadline     = 30 * time.Second
	keepWaiting     = 7 * 24 * time.Hour // an acknowledgement that the hub never comes for
	keepCommands    = 90 * 24 * time.Hour
	tokenLife       = 5 * time.Minute
	maxArgs         = 16 << 10
)

// Routes is the module's part of the API.
func (s *Steer) Routes() []route.Route {
	operate, manage := route.Need{Of: s.opts.OfSite, Role: token.Operator}, route.Need{Of: s.ofOwned, Role: token.Manager}
	need := func(n route.Need, method, path, summary string, in any, h func(*route.Request) (any, error)) route.Route {
		return route.Route{Method: method, Path: path, Tag: "commands", Summary: summary, Need: n, In: in, Out: Command{}, Handle: h}
	}
	do := func(method, path, summary string, in any, h func(*route.Request) (any, error)) route.Route {
		return need(operate, method, path, summary, in, h)
	}
	return append(s.desiredRoutes(),
		do(http.MethodPost, "/v1/sites/{site}/commands", "Have the hub do something and wait for what it says", Order{}, s.postCommand),
		do(http.MethodGet, "/v1/sites/{site}/commands", "What was asked of the hub, newest first", nil, s.listCommands),
		do(http.MethodPut, "/v1/sites/{site}/spaces/{id}/count", "Correct a head count: somebody has counted", map[string]any{}, s.direct(edge.CorrectCount)),
		need(manage, http.MethodPost, "/v1/sites/{site}/devices/{id}/approve", "Have a device serve a sensor", map[string]any{}, s.direct(edge.ApproveDevice)),
		need(manage, http.MethodPost, "/v1/sites/{site}/devices/{id}/ignore", "Count a device's readings only", nil, s.direct(edge.IgnoreDevice)),
	)
}

func (s *Steer) postCommand(r *route.Request) (any, error) {
	o := Order{}
	if err := r.Decode(&o); err != nil {
		return nil, err
	}
	switch o.Kind {
	case edge.AcknowledgeAlert, edge.ApproveDevice, edge.IgnoreDevice, edge.CorrectCount:
	default:
		return nil, problem(http.StatusUnprocessableEntity, "kind %.80q: want %s, %s, %s or %s", o.Kind, edge.AcknowledgeAlert, edge.ApproveDevice, edge.IgnoreDevice, edge.CorrectCount)
	}
	if owner := r.Found.(store.Site).Owner(); (o.Kind == edge.ApproveDevice || o.Kind == edge.IgnoreDevice) && r.Who.Role(owner) < token.Manager {
		return nil, problem(http.StatusForbidden, "%s needs the role manager in %s", o.Kind, owner)
	}
	if o.DeadlineS < 0 || o.DeadlineS > int(maxDeadline/time.Second) {
		return nil, problem(http.StatusUnprocessableEntity, "deadline_s %d: want at most %d", o.DeadlineS, maxDeadline/time.Second)
	}
	return s.order(r, o)
}

// direct is a command whose subject is in the path and whose arguments are the body.
func (s *Steer) direct(kind edge.CommandKind) func(*route.Request) (any, error) {
	return func(r *route.Request) (any, error) {
		var args map[string]json.RawMessage
		if r.ContentLength != 0 || kind != edge.IgnoreDevice {
			if err := r.Decode(&args); err != nil {
				return nil, err
			}
		}
		o := Order{Kind: kind, Subject: r.PathValue("id")}
		if len(args) > 0 {
			o.Args, _ = json.Marshal(args) // what was read can be written
		}
		return s.order(r, o)
	}
}

// order sends a command and answers with what the hub did.
func (s *Steer) order(r *route.Request, o Order) (any, error) {
	site := r.Found.(store.Site)
	if o.Subject == "" || len(o.Subject) > 256 || len(o.Args) > maxArgs {
		return nil, problem(http.StatusUnprocessableEntity, "a command has a subject, and args of at most %d bytes", maxArgs)
	}
	c, fresh, err := s.note(r, site, o)
	if err != nil {
		return nil, err
	}
	if fresh {
		if c, err = s.carry(r.Context(), site, c, s.sign(r.Who, site)); err != nil {
			return nil, err
		}
	}
	return answer(c)
}

// answer is what the caller is told of a command.
func answer(c Command) (any, error) {
	if c.State == "applied" {
		return c, nil
	}
	status := map[string]int{
		"not_found": http.StatusNotFound, "conflict": http.StatusConflict, "forbidden": http.StatusForbidden, "invalid": http.StatusUnprocessableEntity,
		"offline": http.StatusServiceUnavailable, "timeout": http.StatusGatewayTimeout, "expired": http.StatusGatewayTimeout,
	}[c.Code]
	if status == 0 {
		status = http.StatusBadGateway
	}
	if c.State == "waiting" || c.State == "sent" {
		return &route.Response{Status: http.StatusAccepted, Body: c}, nil
	}
	return nil, problem(status, "command %s: %s", c.ID, c.Reason)
}

// note writes a command down before it is sent. One with an Idempotency-Key that is known is not
// fresh.
func (s *Steer) note(r *route.Request, site store.Site, o Order) (c Command, fresh bool, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return c, false, err
	}
	c = Command{ID: id.String(), Kind: o.Kind, Subject: o.Subject, Args: o.Args, By: r.Who.Who(), State: "sent", Created: s.now()}
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		if len(key) > 64 {
			return c, false, problem(http.StatusBadRequest, "the Idempotency-Key has more than 64 characters")
		}
		sum := sha256.Sum256([]byte(r.Who.Subject + "\x00" + key))
		c.ID = fmt.Sprintf("%d-%s", site.ID, hex.EncodeToString(sum[:16]))
		was, err := s.find(r.Context(), c.ID)
		if err == nil && (was.Kind != o.Kind || was.Subject != o.Subject) {
			return c, false, problem(http.StatusUnprocessableEntity, "the Idempotency-Key was used for another command")
		}
		if err == nil || !errors.Is(err, sql.ErrNoRows) {
			return was, false, err
		}
	}
	life := time.Duration(o.DeadlineS) * time.Second
	if life == 0 {
		life = defaultDeadline
	}
	c.Deadline = c.Created.Add(life)
	err = s.db.Update(r.Context(), func(tx *store.Tx) error { return insert(tx, site, c, r.Who) })
	return c, true, err
}

func (s *Steer) now() time.Time { return edge.Millis(s.opts.Now()) }

func insert(tx *store.Tx, site store.Site, c Command, who *token.Identity) error {
	b, err := json.Marshal(caller{who.Kind, who.Subject, who.Name, who.Memberships, who.Permissions, int(who.Everywhere)})
	if err != nil {
		return err
	}
	const query = `INSERT INTO steer_commands (id, site, kind, subject, args, author, who, state, created, deadline) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	err = tx.Exec(query, c.ID, site.ID, string(c.Kind), c.Subject, string(c.Args), c.By, string(b), c.State, store.Millis(c.Created), store.Millis(c.Deadline))
	if err != nil {
		return fmt.Errorf("note command: %w", err)
	}
	return nil
}

// caller is who asked for a command, as it is kept until the command is sent.
type caller struct {
	Kind        token.Kind         `json:"kind"`
	Subject     string             `json:"subject"`
	Name        string             `json:"name,omitempty"`
	Memberships []token.Membership `json:"memberships,omitempty"`
	Permissions []string           `json:"permissions,omitempty"`
	Everywhere  int                `json:"everywhere,omitempty"`
}

func (c caller) identity() *token.Identity {
	return &token.Identity{Kind: c.Kind, Subject: c.Subject, Name: c.Name, Memberships: c.Memberships, Permissions: c.Permissions, Everywhere: token.Role(c.Everywhere)}
}

// KeepAcknowledgement has the hub told that an alert of its was acknowledged here: now, or when it
// is back.
func (s *Steer) KeepAcknowledgement(tx *store.Tx, site store.Site, alert, note string, who *token.Identity) error {
	args, err := json.Marshal(map[string]string{"note": note})
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	c := Command{ID: id.String(), Kind: edge.AcknowledgeAlert, Subject: alert, Args: args, By: who.Who(), State: "waiting", Created: s.now()}
	c.Deadline = c.Created.Add(keepWaiting)
	if err := insert(tx, site, c, who); err != nil {
		return err
	}
	time.AfterFunc(0, s.poke) // after the transaction; should it be sooner, the next look finds it
	return nil
}

func (s *Steer) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sign makes the token by which the hub sees who asks and what their roles at the site are; empty
// when the cloud makes none. The caller's own token stays here: whoever runs a hub could use it
// wherever the caller may.
func (s *Steer) sign(who *token.Identity, site store.Site) string {
	if s.opts.Sign == nil {
		return ""
	}
	id := token.Identity{Kind: token.Service, Subject: who.Subject, Name: who.Who(), Permissions: []string{token.CommandPermission}}
	for _, d := range site.Domains {
		if role := min(who.Role(d), token.Manager); role > token.None {
			id.Memberships = append(id.Memberships, token.Membership{Domain: d, Role: role})
		}
	}
	raw, err := s.opts.Sign(&id, tokenLife)
	if err != nil {
		s.log.Error("a command goes without a token", "by", who.Who(), "err", err)
	}
	return raw
}

// carry sends a command and writes down what became of it.
func (s *Steer) carry(ctx context.Context, site store.Site, c Command, raw string) (Command, error) {
	deadline := c.Deadline
	if most := s.now().Add(maxDeadline); deadline.After(most) {
		deadline = most
	}
	res, err := s.send(ctx, site, wire.Command{
		Version: wire.Version, Deadline: deadline, Token: raw, By: c.By,
		Command: edge.Command{ID: c.ID, Kind: c.Kind, Subject: c.Subject, Args: c.Args},
	})
	switch {
	case err != nil && c.State == "waiting":
		return c, err // it goes on waiting
	case errors.Is(err, errOffline):
		c.State, c.Code, c.Reason = "failed", "offline", "the hub of site "+site.Site+" is not connected; nothing was done. "+lastHeard(site)
	case err != nil:
		c.State, c.Code, c.Reason = "failed", "timeout", "the hub of site "+site.Site+" did not answer in time; it is not known whether it was done"
	case res.Applied:
		c.State, c.Reason = "applied", res.Reason
	default:
		c.State, c.Code, c.Reason = "refused", res.Code, "the hub refused: "+res.Reason
	}
	c.Done = s.now()
	// What was done is written down even if the caller has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestLimit)
	defer cancel()
	return c, s.db.Update(ctx, func(tx *store.Tx) error { return s.finish(tx, site, c) })
}

func lastHeard(site store.Site) string {
	if site.LastHeartbeat.IsZero() {
		return "It was never heard"
	}
	return "It was last heard at " + site.LastHeartbeat.Format(time.RFC3339)
}

// finish writes down what became of a command, and an audit event.
func (s *Steer) finish(tx *store.Tx, site store.Site, c Command) error {
	const update = `UPDATE steer_commands SET state = ?, code = ?, reason = ?, done = ? WHERE id = ?`
	if err := tx.Exec(update, c.State, c.Code, c.Reason, store.Millis(c.Done), c.ID); err != nil {
		return fmt.Errorf("note result of command: %w", err)
	}
	if err := tx.Exec(`DELETE FROM steer_commands WHERE site = ? AND done > 0 AND done < ?`, site.ID, store.Millis(c.Done.Add(-keepCommands))); err != nil {
		return fmt.Errorf("forget old commands: %w", err)
	}
	e, err := store.EventOf(edge.Audit, c.Subject, c.Done, map[string]any{"command": c, "applied": c.State == "applied", "reason": c.Reason})
	if err != nil {
		return err
	}
	return tx.AddSiteEvent(site, "role:operator", e)
}

// errOffline says that no hub listens.
var errOffline = errors.New("the hub is not connected")

// send asks the hub and waits for its answer until the command's deadline.
func (s *Steer) send(ctx context.Context, site store.Site, cmd wire.Command) (res edge.CommandResult, err error) {
	if s.opts.Stale != nil && s.opts.Stale(site) {
		return res, errOffline
	}
	body, err := json.Marshal(cmd)
	if err != nil {
		return res, err
	}
	reply := wire.UpSubject(site.Org, site.Site, wire.UpAnswer+"."+rand.Text())
	sub, err := s.opts.Conn.SubscribeSync(reply)
	if err != nil {
		return res, fmt.Errorf("listen for the hub's answer: %w", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be closed already
	ctx, cancel := context.WithTimeout(ctx, cmd.Deadline.Sub(s.opts.Now()))
	defer cancel()
	if err := s.opts.Conn.PublishMsg(&nats.Msg{Subject: wire.DownSubject(site.Org, site.Site, wire.DownCommand), Reply: reply, Data: body}); err != nil {
		return res, fmt.Errorf("send command: %w", err)
	}
	m, err := sub.NextMsgWithContext(ctx)
	if errors.Is(err, nats.ErrNoResponders) {
		return res, errOffline
	}
	if err != nil {
		return res, err
	}
	if err := json.Unmarshal(m.Data, &res); err != nil {
		return res, fmt.Errorf("read the hub's answer: %w", err)
	}
	return res, nil
}

const commandColumns = `id, kind, subject, args, author, state, code, reason, created, deadline, done`

type scanner interface{ Scan(...any) error }

func scanCommand(row scanner, more ...any) (Command, error) {
	var c Command
	var kind, args string
	var created, deadline, done int64
	err := row.Scan(append([]any{&c.ID, &kind, &c.Subject, &args, &c.By, &c.State, &c.Code, &c.Reason, &created, &deadline, &done}, more...)...)
	c.Kind, c.Created, c.Deadline, c.Done = edge.CommandKind(kind), store.FromMillis(created), store.FromMillis(deadline), store.FromMillis(done)
	if args != "" {
		c.Args = json.RawMessage(args)
	}
	return c, err
}

func (s *Steer) find(ctx context.Context, id string) (Command, error) {
	return scanCommand(s.db.QueryRow(ctx, `SELECT `+commandColumns+` FROM steer_commands WHERE id = ?`, id))
}

func (s *Steer) listCommands(r *route.Request) (any, error) {
	rows, err := s.db.Query(r.Context(), `SELECT `+commandColumns+` FROM steer_commands WHERE site = ? ORDER BY created DESC, id DESC LIMIT 200`, r.Found.(store.Site).ID)
	list, err := store.Collect(rows, err, func(row *sql.Rows) (Command, error) { return scanCommand(row) })
	if list == nil {
		list = []Command{}
	}
	return map[string]any{"commands": list}, err
}

// lookEvery is how often what waits for hubs is looked at without a sign.
const lookEvery = 5 * time.Second

// deliver sends what waits for hubs that are there, and tells them of new keys, until ctx ends.
func (s *Steer) deliver(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		var changed <-chan struct{}
		if s.opts.Changed != nil {
			changed = s.opts.Changed()
		}
		if err := s.sendWaiting(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("commands wait; tried again soon", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			s.pushAll(ctx)
		case <-s.wake:
		case <-tick.C:
		}
	}
}

func (s *Steer) pushAll(ctx context.Context) {
	sites, err := s.db.Sites(ctx)
	if err != nil {
		s.log.Error("hubs are not told of new keys at once; their next heartbeats do", "err", err)
		return
	}
	s.PushAuth(sites...)
}

// waiting is a command on its way, with who asked for it.
type waiting struct {
	Command
	site int64
	who  string
}

// parallel bounds how many hubs are waited for at once.
const parallel = 8

// sendWaiting sends every waiting command once. Of those that were being sent when the process
// ended it is not known what became of them.
func (s *Steer) sendWaiting(ctx context.Context) error {
	// The oldest of each site, then the next of each: hubs that are away for days hold up no others.
	const query = `SELECT ` + commandColumns + `, site, who FROM steer_commands JOIN
		(SELECT id AS chosen, ROW_NUMBER() OVER (PARTITION BY site ORDER BY created, id) AS nth FROM steer_commands WHERE state IN ('waiting', 'sent')) AS pending
		ON chosen = id ORDER BY nth, created LIMIT 500`
	rows, err := s.db.Query(ctx, query)
	list, err := store.Collect(rows, err, func(row *sql.Rows) (w waiting, err error) {
		w.Command, err = scanCommand(row, &w.site, &w.who)
		return w, err
	})
	if err != nil || len(list) == 0 {
		return err
	}
	sites, err := s.db.Sites(ctx)
	if err != nil {
		return err
	}
	bySite := map[int64][]waiting{}
	for _, w := range list {
		bySite[w.site] = append(bySite[w.site], w)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for _, site := range sites {
		if ws := bySite[site.ID]; len(ws) > 0 {
			slots <- struct{}{}
			wg.Go(func() { defer func() { <-slots }(); s.sendTo(ctx, site, ws) })
		}
	}
	wg.Wait()
	return nil
}

// sendTo sends a site's waiting commands in order, until one gets no answer.
func (s *Steer) sendTo(ctx context.Context, site store.Site, list []waiting) {
	for _, w := range list {
		c := w.Command
		var err error
		switch now := s.now(); {
		case c.State == "sent" && now.Before(c.Deadline.Add(maxDeadline)):
			continue // somebody waits for its answer
		case c.State == "sent", now.After(c.Deadline):
			c.State, c.Code, c.Reason, c.Done = "failed", "timeout", "the hub did not take it in time", now
			err = s.db.Update(ctx, func(tx *store.Tx) error { return s.finish(tx, site, c) })
		case s.opts.Stale != nil && s.opts.Stale(site):
			continue
		default:
			var who caller
			if err = json.Unmarshal([]byte(w.who), &who); err == nil {
				_, err = s.carry(ctx, site, c, s.sign(who.identity(), site))
			}
		}
		if err != nil {
			if ctx.Err() == nil {
				s.log.Info("a command waits for its hub", "site", site.Site, "id", c.ID, "err", err)
			}
			return
		}
	}
}
