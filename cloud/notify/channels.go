package notify

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/token"
)

// channelRow is a channel of an organisation as it is stored.
type channelRow struct {
	ID, Org, Name string
	Spec          deliver.Spec
	Updated       time.Time
}

// Channel is a channel as the API shows it: without what is secret in it.
type Channel struct {
	ID         string                 `json:"id,omitempty"` // empty = it stands in the configuration file
	Org        string                 `json:"org"`
	Name       string                 `json:"name"`
	Spec       deliver.Spec           `json:"spec"`
	SecretSet  bool                   `json:"secret_set"`
	Configured bool                   `json:"configured"` // in the file: not to be changed here
	Updated    time.Time              `json:"updated,omitzero"`
	Status     *deliver.ChannelStatus `json:"status,omitempty"` // nil = nothing was sent by this process
}

const channelColumns = `id, org, name, spec, updated`

func scanChannel(r *sql.Rows) (c channelRow, err error) {
	var spec string
	var updated int64
	if err := r.Scan(&c.ID, &c.Org, &c.Name, &spec, &updated); err != nil {
		return c, err
	}
	c.Updated = store.FromMillis(updated)
	return c, json.Unmarshal([]byte(spec), &c.Spec)
}

// reload makes the senders of all channels; those that have not changed stay.
func (n *Notifier) reload(ctx context.Context) error {
	rows, err := n.db.Query(ctx, `SELECT `+channelColumns+` FROM notify_channels ORDER BY id`)
	list, err := store.Collect(rows, err, scanChannel)
	if err != nil {
		return fmt.Errorf("read channels: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	old, fresh := n.channels, map[string]*sender{}
	keep := func(name, version string, make func() func(context.Context, Delivery) error) {
		if s := old[name]; s != nil && s.version == version {
			fresh[name] = s
		} else if send := make(); send != nil {
			fresh[name] = &sender{n: n, version: version, deliver: send}
		}
	}
	for _, c := range list {
		keep(channelName(c.Org, c.Name), c.ID+toJSON(c.Spec), func() func(context.Context, Delivery) error { return n.open(c) })
	}
	for _, h := range n.hooks {
		keep(channelName(h.Org, h.Name), "", func() func(context.Context, Delivery) error { return by(h.Channel) })
	}
	if n.o.Mail != nil {
		keep(mailChannel, "", func() func(context.Context, Delivery) error { return n.sendMail })
	}
	for name, s := range old {
		if strings.HasPrefix(name, pushPrefix) {
			fresh[name] = s
		}
	}
	n.channels = fresh
	return nil
}

func by(c deliver.Channel) func(context.Context, Delivery) error {
	return func(ctx context.Context, d Delivery) error { return c.Deliver(ctx, d.Message) }
}

// open makes the sender of a stored channel; nil when this program cannot.
func (n *Notifier) open(c channelRow) func(context.Context, Delivery) error {
	channel, err := n.build(c.Spec)
	if err != nil {
		n.log.Error("channel not usable", "org", c.Org, "channel", c.Name, "err", err)
		return nil
	}
	return by(channel)
}

func (n *Notifier) build(spec deliver.Spec) (deliver.Channel, error) {
	return spec.Channel(deliver.Means{Mail: n.o.Mail, PublicOnly: !n.o.Private})
}

// show is a row as the API shows it.
func (n *Notifier) show(c channelRow) Channel {
	out := Channel{ID: c.ID, Org: c.Org, Name: c.Name, Spec: c.Spec.Redacted(), SecretSet: c.Spec.Secret != "", Updated: c.Updated}
	out.Status = n.status(channelName(c.Org, c.Name))
	return out
}

func (n *Notifier) status(name string) *deliver.ChannelStatus {
	list := n.Channels()
	i := slices.IndexFunc(list, func(s deliver.ChannelStatus) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// ofOrg is the policy of what belongs to the organisation in the path.
func ofOrg(r *route.Request) ([]string, error) { return []string{r.PathValue("org")}, nil }

func (n *Notifier) listChannels(r *route.Request) (any, error) {
	org := r.PathValue("org")
	rows, err := n.db.Query(r.Context(), `SELECT `+channelColumns+` FROM notify_channels WHERE org = ? ORDER BY name`, org)
	list, err := store.Collect(rows, err, scanChannel)
	if err != nil {
		return nil, err
	}
	out := []Channel{}
	for _, h := range n.hooks {
		if h.Org == org {
			out = append(out, Channel{Org: org, Name: h.Name, Configured: true, Spec: deliver.Spec{Kind: deliver.KindWebhook}, Status: n.status(channelName(org, h.Name))})
		}
	}
	for _, c := range list {
		out = append(out, n.show(c))
	}
	return map[string][]Channel{"channels": out}, nil
}

// ofChannel is the policy of one channel.
func (n *Notifier) ofChannel(r *route.Request) ([]string, error) {
	org := r.PathValue("org")
	if r.Who.Role(org) == token.None {
		return nil, route.ErrNotFound
	}
	rows, err := n.db.Query(r.Context(), `SELECT `+channelColumns+` FROM notify_channels WHERE org = ? AND name = ?`, org, r.PathValue("name"))
	found, err := store.Collect(rows, err, scanChannel)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, route.Problem(http.StatusNotFound, "there is no channel %q that could be changed here", r.PathValue("name"))
	}
	r.Found = found[0]
	return []string{org}, nil
}

var channelNames = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// maxChannels bounds those of one organisation.
const maxChannels = 100

func (n *Notifier) addChannel(r *route.Request) (any, error) {
	var in struct {
		Name string       `json:"name"`
		Spec deliver.Spec `json:"spec"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	c := channelRow{Org: r.PathValue("org"), Name: in.Name, Spec: in.Spec, Updated: n.now().UTC().Truncate(time.Millisecond)}
	if !channelNames.MatchString(c.Name) {
		return nil, invalid("name is %q: want 1 to 64 of a-z 0-9 _ -", c.Name)
	}
	if _, err := n.build(c.Spec); err != nil {
		return nil, invalid("spec: %v", err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	c.ID = id.String()
	taken := slices.ContainsFunc(n.hooks, func(h Webhook) bool { return h.Org == c.Org && h.Name == c.Name })
	err = n.db.Update(r.Context(), func(tx *store.Tx) error {
		const insert = `INSERT INTO notify_channels (id, org, name, spec, updated) VALUES (?, ?, ?, ?, ?) ON CONFLICT (org, name) DO NOTHING`
		var count int
		if err := tx.QueryRow(`SELECT count(*) FROM notify_channels WHERE org = ?`, c.Org).Scan(&count); err != nil {
			return err
		}
		if count >= maxChannels {
			return invalid("there are %d channels, as many as possible", count)
		}
		added, err := tx.ExecCount(insert, c.ID, c.Org, c.Name, toJSON(c.Spec), store.Millis(c.Updated))
		if err == nil && (added == 0 || taken) {
			return route.Problem(http.StatusConflict, "there is a channel %q already", c.Name)
		}
		return err
	})
	if err = errors.Join(err, n.reload(r.Context())); err != nil {
		return nil, err
	}
	return route.Created("/v1/orgs/"+c.Org+"/channels/"+c.Name, n.show(c)), nil
}

func (n *Notifier) getChannel(r *route.Request) (any, error) {
	c := r.Found.(channelRow)
	return &route.Response{Header: http.Header{"Etag": {route.ETag(c)}}, Body: n.show(c)}, nil
}

// putChannel replaces what a channel is; a secret that is left out stays.
func (n *Notifier) putChannel(r *route.Request) (any, error) {
	c := r.Found.(channelRow)
	if err := r.IfMatch(route.ETag(c)); err != nil {
		return nil, err
	}
	var in struct {
		Spec deliver.Spec `json:"spec"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	in.Spec.Keep(c.Spec)
	if _, err := n.build(in.Spec); err != nil {
		return nil, invalid("spec: %v", err)
	}
	c.Spec, c.Updated = in.Spec, n.now().UTC().Truncate(time.Millisecond)
	err := n.db.Update(r.Context(), func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT `+channelColumns+` FROM notify_channels WHERE id = ?`, c.ID)
		now, err := store.Collect(rows, err, scanChannel)
		if err == nil && len(now) == 0 {
			err = route.ErrNotFound
		}
		if err != nil {
			return err
		}
		if err := r.IfMatch(route.ETag(now[0])); err != nil { // somebody may have been faster
			return err
		}
		return tx.Exec(`UPDATE notify_channels SET spec = ?, updated = ? WHERE id = ?`, toJSON(c.Spec), store.Millis(c.Updated), c.ID)
	})
	if err = errors.Join(err, n.reload(r.Context())); err != nil {
		return nil, err
	}
	return &route.Response{Header: http.Header{"Etag": {route.ETag(c)}}, Body: n.show(c)}, nil
}

func (n *Notifier) deleteChannel(r *route.Request) (any, error) {
	c := r.Found.(channelRow)
	err := n.db.Update(r.Context(), func(tx *store.Tx) error {
		const cancel = `UPDATE notify_deliveries SET state = 'cancelled', reason = 'the channel was deleted', updated = ? WHERE channel = ? AND state IN ('due', 'hub')`
		return errors.Join(tx.Exec(`DELETE FROM notify_channels WHERE id = ?`, c.ID),
			tx.Exec(cancel, store.Millis(n.now()), channelName(c.Org, c.Name)))
	})
	return nil, errors.Join(err, n.reload(r.Context()))
}

// testTimeout bounds a test message.
const testTimeout = 20 * time.Second

// testChannel sends a message at once, past the queue, and tells what became of it.
func (n *Notifier) testChannel(r *route.Request) (any, error) {
	s := n.channel(channelName(r.PathValue("org"), r.PathValue("name")))
	if s == nil {
		return nil, route.Problem(http.StatusNotFound, "there is no channel %q", r.PathValue("name"))
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), testTimeout)
	defer cancel()
	m := deliver.Message{Key: id.String(), Source: "/" + r.PathValue("org"), Type: "notification.test", At: n.now(), Data: []byte(`{"test":true}`),
		Words: deliver.Words{Title: "Test message of Headcount", Text: "Sent by " + r.Who.Who() + ". Nothing has happened.", Severity: "info"}}
	if err := s.deliver(ctx, Delivery{Org: r.PathValue("org"), Message: m}); err != nil {
		return nil, route.Problem(http.StatusBadGateway, "not delivered: %v", err)
	}
	return map[string]string{"delivered": id.String()}, nil
}
