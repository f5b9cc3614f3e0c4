package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// Routes is the module's part of the API.
func (f *Forwarder) Routes() []route.Route {
	org := route.Need{Of: func(r *route.Request) ([]string, error) { return []string{r.PathValue("org")}, nil }, Role: token.Admin}
	own := func(role token.Role) route.Need { return route.Need{Of: f.ofWebhook, Role: role} }
	sink := route.Need{Of: f.ofSink, Role: token.Manager}
	var out []route.Route
	add := func(method, path, summary string, need route.Need, in, answer any, h func(*route.Request) (any, error)) {
		out = append(out, route.Route{Method: method, Path: "/v1/orgs/{org}/" + path, Tag: "webhooks", Summary: summary, Need: need, In: in, Out: answer, Handle: h})
	}
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	add(get, "webhooks", "Webhooks of an organisation", org, nil, nil, f.list)
	add(post, "webhooks", "Add a webhook; its secret is in the answer and never again", org, Spec{}, Webhook{}, f.create)
	add(get, "webhooks/{id}", "A webhook, without its secret", own(token.Admin), nil, Webhook{}, f.get)
	add(put, "webhooks/{id}", "Replace a webhook; a secret that is left out stays", own(token.Admin), Spec{}, Webhook{}, f.put)
	add(del, "webhooks/{id}", "Delete a webhook", own(token.Admin), nil, nil, f.remove)
	add(post, "webhooks/{id}/secret", "Make a new secret; it is in the answer and never again", own(token.Admin), nil, Webhook{}, f.rotate)
	add(post, "webhooks/{id}/test", "Send a test event now and say what the receiver answered", own(token.Admin), nil, Tested{}, f.test)
	add(post, "webhooks/{id}/resume", "Go on with a paused webhook, where it was", own(token.Manager), nil, Webhook{}, f.resume)
	add(post, "webhooks/{id}/replay", "Send events once more: from and to are ids or times", own(token.Manager), Wanted{}, Replay{}, f.startReplay)
	add(get, "webhooks/{id}/replays", "Replays of a webhook, newest first", own(token.Manager), nil, nil, f.listReplays)
	add(get, "webhooks/{id}/deliveries", "Calls of a webhook, newest first; ?state=dead lists what was refused", own(token.Manager), nil, nil, f.listDeliveries)
	add(get, "sinks", "Sinks of the configuration file", route.Need{Of: org.Of, Role: token.Manager}, nil, nil, f.listSinks)
	add(get, "sinks/{name}/deliveries", "What a sink has sent, newest first; ?state=dead lists what was refused", sink, nil, nil, f.listDeliveries)
	add(post, "sinks/{name}/replay", "Send events once more: from and to are ids or times", sink, Wanted{}, Replay{}, f.startReplay)
	add(get, "sinks/{name}/replays", "Replays of a sink, newest first", sink, nil, nil, f.listReplays)
	return out
}

func invalid(format string, args ...any) error {
	return route.Problem(http.StatusBadRequest, format, args...)
}

// Webhook is a webhook as the API shows it.
type Webhook struct {
	ID       string    `json:"id"`
	Org      string    `json:"org"`
	Name     string    `json:"name"`
	URL      string    `json:"url"`
	Types    []string  `json:"types"`
	Sites    []string  `json:"sites"`
	Batch    int       `json:"batch"`
	Active   bool      `json:"active"`
	Paused   time.Time `json:"paused_at,omitzero"` // it failed too often: POST …/resume
	Secret   string    `json:"secret,omitempty"`   // shown once
	Position string    `json:"position"`           // id of the newest event that is dealt with
	Lag      int64     `json:"lag"`                // how many ids it is behind the newest event
	Failures int       `json:"failures"`           // in a row
	Error    string    `json:"last_error,omitempty"`
	Created  time.Time `json:"created_at"`
}

func (f *Forwarder) show(ctx context.Context, t target) (Webhook, error) {
	newest, err := f.db.NewestEvent(ctx)
	return Webhook{
		ID: t.ID, Org: t.Org, Name: t.Spec.Name, URL: t.Spec.URL, Types: orEmpty(t.Spec.Types), Sites: orEmpty(t.Spec.Sites), Batch: max(t.Spec.Batch, 1),
		Active: t.Active, Paused: t.Paused, Position: strconv.FormatInt(t.Position, 10), Lag: max(newest-t.Position, 0), Failures: t.Failures, Error: t.Error, Created: t.Created,
	}, err
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// ofWebhook is the policy of one webhook, which it leaves in Found.
func (f *Forwarder) ofWebhook(r *route.Request) ([]string, error) {
	if strings.HasPrefix(r.PathValue("id"), sinkPrefix) {
		return nil, route.ErrNotFound
	}
	return f.of(r, r.PathValue("id"))
}

func (f *Forwarder) ofSink(r *route.Request) ([]string, error) {
	return f.of(r, sinkPrefix+r.PathValue("name"))
}

func (f *Forwarder) of(r *route.Request, id string) ([]string, error) {
	t, err := f.find(r.Context(), r.PathValue("org"), id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, route.ErrNotFound
	}
	r.Found = t
	return []string{t.Org}, err
}

func (f *Forwarder) list(r *route.Request) (any, error) {
	targets, err := f.targets(r.Context(), r.PathValue("org"))
	out := []Webhook{}
	for _, t := range targets {
		if strings.HasPrefix(t.ID, sinkPrefix) {
			continue
		}
		w, err := f.show(r.Context(), t)
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return map[string]any{"webhooks": out}, err
}

func (f *Forwarder) get(r *route.Request) (any, error) {
	return f.show(r.Context(), r.Found.(target))
}

// maxWebhooks bounds the webhooks of an organisation.
const maxWebhooks = 50

func (f *Forwarder) create(r *route.Request) (any, error) {
	var s Spec
	if err := r.Decode(&s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	if err := f.reachable(s); err != nil {
		return nil, err
	}
	if !sitePattern.MatchString(r.PathValue("org")) {
		return nil, invalid("%q is no id of an organisation", r.PathValue("org"))
	}
	if s.Secret == "" {
		s.Secret = newSecret()
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	t := target{ID: id.String(), Org: r.PathValue("org"), Spec: s, Active: s.Active == nil || *s.Active, Created: f.now()}
	if t.Position, err = f.db.NewestEvent(r.Context()); err != nil {
		return nil, err
	}
	if err := f.insert(r.Context(), t); err != nil {
		return nil, err
	}
	f.look()
	out, err := f.show(r.Context(), t)
	out.Secret = s.Secret
	return route.Created(fmt.Sprintf("/v1/orgs/%s/webhooks/%s", t.Org, t.ID), out), err
}

func (f *Forwarder) insert(ctx context.Context, t target) error {
	spec, err := encode(t.Spec)
	if err != nil {
		return err
	}
	return f.db.Update(ctx, func(tx *store.Tx) error {
		var have int
		if err := tx.QueryRow(`SELECT count(*) FROM forward_targets WHERE org = ? AND spec <> ''`, t.Org).Scan(&have); err != nil {
			return err
		}
		if have >= maxWebhooks {
			return route.Problem(http.StatusConflict, "there are %d webhooks already; delete one first", have)
		}
		const insert = `INSERT INTO forward_targets (id, org, spec, active, position, created, changed) VALUES (?, ?, ?, ?, ?, ?, '')`
		return tx.Exec(insert, t.ID, t.Org, spec, boolInt(t.Active), t.Position, store.Millis(t.Created))
	})
}

// encode is a Spec as it is stored: whether it is active stands in a column.
func encode(s Spec) (string, error) {
	s.Active = nil
	b, err := json.Marshal(s)
	return string(b), err
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// put replaces a webhook. It goes on where it was, and a pause is over.
func (f *Forwarder) put(r *route.Request) (any, error) {
	t := r.Found.(target)
	var s Spec
	if err := r.Decode(&s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	if err := f.reachable(s); err != nil {
		return nil, err
	}
	if s.Secret == "" && hostOf(s.URL) != hostOf(t.Spec.URL) { // whoever receives there does not know the old one
		return nil, invalid("secret: the address is on another host; send a secret for it, or make a new one with POST …/secret first")
	}
	if s.Secret == "" {
		s.Secret = t.Spec.Secret
	}
	if s.Active != nil {
		t.Active = *s.Active
	}
	t.Spec = s
	return f.store(r.Context(), t)
}

// store writes a changed webhook and starts its sender anew.
func (f *Forwarder) store(ctx context.Context, t target) (Webhook, error) {
	spec, err := encode(t.Spec)
	if err != nil {
		return Webhook{}, err
	}
	err = f.db.Update(ctx, func(tx *store.Tx) error {
		const update = `UPDATE forward_targets SET spec = ?, active = ?, paused = 0, failures = 0, error = '' WHERE id = ?`
		if err := tx.Exec(update, spec, boolInt(t.Active), t.ID); err != nil {
			return err
		}
		return touch(tx, t.ID)
	})
	if err != nil {
		return Webhook{}, err
	}
	f.look()
	t.Paused, t.Failures, t.Error = time.Time{}, 0, ""
	return f.show(ctx, t)
}

func (f *Forwarder) rotate(r *route.Request) (any, error) {
	t := r.Found.(target)
	t.Spec.Secret = newSecret()
	out, err := f.store(r.Context(), t)
	out.Secret = t.Spec.Secret
	return out, err
}

func (f *Forwarder) resume(r *route.Request) (any, error) {
	return f.store(r.Context(), r.Found.(target))
}

func (f *Forwarder) remove(r *route.Request) (any, error) {
	t := r.Found.(target)
	err := f.db.Update(r.Context(), func(tx *store.Tx) error {
		for _, statement := range []string{`DELETE FROM forward_replays WHERE target = ?`, `DELETE FROM forward_deliveries WHERE target = ?`, `DELETE FROM forward_targets WHERE id = ?`} {
			if err := tx.Exec(statement, t.ID); err != nil {
				return err
			}
		}
		return nil
	})
	f.look()
	return nil, err
}

// Tested is the answer of POST …/test.
type Tested struct {
	Delivered bool   `json:"delivered"`
	Error     string `json:"error,omitempty"`
	TookMS    int64  `json:"took_ms"`
}

// test sends an event of type webhook.test, past the queue.
func (f *Forwarder) test(r *route.Request) (any, error) {
	t := r.Found.(target)
	h, err := f.newHook(t.Spec)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	name := "test-" + id.String()
	body, err := json.Marshal(cloudEvent{
		SpecVersion: "1.0", ID: name, Source: "/" + t.Org, Type: "webhook.test", Subject: t.ID, Time: f.now().UTC(),
		ContentType: "application/json", Org: t.Org, Data: json.RawMessage(`{"test":true}`),
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	began := time.Now()
	_, err = h.Send(ctx, []Event{{Org: t.Org, Type: "webhook.test", Body: body, test: name}})
	out := Tested{Delivered: err == nil, TookMS: time.Since(began).Milliseconds()}
	if err != nil {
		out.Error = plain(err)
	}
	return out, nil
}

// The bounds of a list of deliveries.
const (
	defaultPage = 50
	mostPage    = 500
)

func (f *Forwarder) listDeliveries(r *route.Request) (any, error) {
	q := r.URL.Query()
	state, limit, before := q.Get("state"), defaultPage, int64(0)
	if state != "" && state != delivered && state != dead {
		return nil, invalid("state %q: want %s or %s", state, delivered, dead)
	}
	var err error
	if s := q.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > mostPage {
			return nil, invalid("limit %q: want 1 to %d", s, mostPage)
		}
	}
	if s := q.Get("before"); s != "" {
		if before, err = strconv.ParseInt(s, 10, 64); err != nil || before < 1 {
			return nil, invalid("before %q: want the id of a delivery", s)
		}
	}
	list, err := f.deliveries(r.Context(), r.Found.(target).ID, state, before, limit)
	return map[string]any{"deliveries": list}, err
}

// SinkStatus is a sink as the API shows it.
type SinkStatus struct {
	Name     string   `json:"name"`
	Kind     string   `json:"kind"` // mqtt, nats or sns
	Types    []string `json:"types"`
	Sites    []string `json:"sites"`
	Position string   `json:"position"`
	Lag      int64    `json:"lag"`
	Failures int      `json:"failures"`
	Error    string   `json:"last_error,omitempty"`
}

func (f *Forwarder) listSinks(r *route.Request) (any, error) {
	out := []SinkStatus{}
	for _, s := range f.o.Sinks {
		if s.Org != r.PathValue("org") {
			continue
		}
		t, err := f.find(r.Context(), s.Org, sinkPrefix+s.Name)
		if err != nil {
			return nil, err
		}
		w, err := f.show(r.Context(), t)
		if err != nil {
			return nil, err
		}
		out = append(out, SinkStatus{s.Name, s.kind(), orEmpty(s.Types), orEmpty(s.Sites), w.Position, w.Lag, w.Failures, w.Error})
	}
	return map[string]any{"sinks": out}, nil
}
