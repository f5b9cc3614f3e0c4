package services

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/gateway"
)

// The bounds of what may be registered.
const (
	minTTL      = 5    // seconds
	maxTTL      = 3600 // seconds
	defaultTTL  = 30   // seconds
	maxMetadata = 32   // entries
	maxText     = 256  // bytes of a key or value
	maxURL      = 2048 // bytes
	maxPerOrg   = 1000 // services of one organisation
)

// Registration is what a service from outside says of itself.
type Registration struct {
	Org      string            `json:"org"`      // the organisation whose members may see it; may be empty for members of one only
	Name     string            `json:"name"`     // letters, digits, - and _
	Version  string            `json:"version"`  //
	URL      string            `json:"url"`      // where it is reached: http, https, ws, wss, nats, tls or tcp
	Metadata map[string]string `json:"metadata"` //
	TTL      int64             `json:"ttl"`      // seconds without heartbeat after which it is gone; 30 by default
}

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// problems are what is wrong with a registration, by field.
func (r *Registration) problems() []gateway.FieldProblem {
	var out []gateway.FieldProblem
	bad := func(field, format string, args ...any) {
		out = append(out, gateway.FieldProblem{Location: field, Message: fmt.Sprintf(format, args...)})
	}
	if !validName.MatchString(r.Name) {
		bad("name", "want 1 to 64 letters, digits, - and _")
	}
	if r.Version == "" || len(r.Version) > maxText {
		bad("version", "want 1 to %d bytes, such as 1.4.2", maxText)
	}
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || len(r.URL) > maxURL || !slices.Contains([]string{"http", "https", "ws", "wss", "nats", "tls", "tcp"}, u.Scheme) {
		bad("url", "want an address such as https://host:8080")
	} else if u.User != nil {
		bad("url", "an address with a password in it would be shown to everybody who may see the service")
	}
	if r.TTL < minTTL || r.TTL > maxTTL {
		bad("ttl", "want %d to %d seconds", minTTL, maxTTL)
	}
	if len(r.Metadata) > maxMetadata {
		bad("metadata", "want at most %d entries", maxMetadata)
	}
	for k, v := range r.Metadata {
		if k == "" || len(k) > maxText || len(v) > maxText {
			bad("metadata", "want keys and values of at most %d bytes", maxText)
			break
		}
	}
	return out
}

// errTooMany says that an organisation has registered as many services as it may.
var errTooMany = errors.New("too many services")

// register adds a service. One of the same organisation, name and address is taken over under
// the id it has: a service that was started again has not become two.
func (c *Catalogue) register(ctx context.Context, r Registration, owner string) (s Service, fresh bool, err error) {
	meta, err := json.Marshal(r.Metadata)
	if err != nil {
		return s, false, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return s, false, err
	}
	now := c.o.Now()
	expires := now.Add(time.Duration(r.TTL) * time.Second)
	err = c.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.Exec(`DELETE FROM services_registered WHERE expires < ?`, store.Millis(now)); err != nil {
			return err
		}
		var count int
		if err := tx.QueryRow(`SELECT count(*) FROM services_registered WHERE org = ?`, r.Org).Scan(&count); err != nil {
			return err
		}
		known, err := sameService(tx, r)
		if err != nil {
			return err
		}
		if fresh = known == ""; !fresh {
			const update = `UPDATE services_registered SET version = ?, metadata = ?, ttl = ?, owner = ?, beat = ?, expires = ? WHERE id = ?`
			s.ID = known
			return tx.Exec(update, r.Version, string(meta), r.TTL, owner, store.Millis(now), store.Millis(expires), known)
		}
		if count >= maxPerOrg {
			return errTooMany
		}
		const insert = `INSERT INTO services_registered (id, org, name, version, url, metadata, ttl, owner, registered, beat, expires)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
		s.ID = id.String()
		return tx.Exec(insert, s.ID, r.Org, r.Name, r.Version, r.URL, string(meta), r.TTL, owner, store.Millis(now), store.Millis(now), store.Millis(expires))
	})
	if err != nil {
		return s, false, err
	}
	s, err = c.find(ctx, s.ID)
	return s, fresh, err
}

func sameService(tx *store.Tx, r Registration) (id string, err error) {
	const query = `SELECT id FROM services_registered WHERE org = ? AND name = ? AND url = ?`
	if err = tx.QueryRow(query, r.Org, r.Name, r.URL).Scan(&id); errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}

// beat keeps a registered service for another time to live; false when there is none any more.
func (c *Catalogue) beat(ctx context.Context, s Service) (Service, bool, error) {
	now := c.o.Now()
	s.Beat, s.Expires = edge.Millis(now), edge.Millis(now.Add(time.Duration(s.TTL)*time.Second))
	kept := false
	err := c.db.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.ExecCount(`UPDATE services_registered SET beat = ?, expires = ? WHERE id = ? AND expires >= ?`,
			store.Millis(s.Beat), store.Millis(s.Expires), s.ID, store.Millis(now))
		kept = n == 1
		return err
	})
	return s, kept, err
}

func (c *Catalogue) deregister(ctx context.Context, id string) error {
	return c.db.Update(ctx, func(tx *store.Tx) error { return tx.Exec(`DELETE FROM services_registered WHERE id = ?`, id) })
}

const columns = `id, org, name, version, url, metadata, ttl, registered, beat, expires`

// registered lists the services from outside that are heard.
func (c *Catalogue) registered(ctx context.Context) ([]Service, error) {
	rows, err := c.db.Query(ctx, `SELECT `+columns+` FROM services_registered WHERE expires >= ? ORDER BY name, id`, store.Millis(c.o.Now()))
	return store.Collect(rows, err, scanService)
}

// find reads a service from outside; store.ErrNotFound when there is none that is heard.
func (c *Catalogue) find(ctx context.Context, id string) (Service, error) {
	rows, err := c.db.Query(ctx, `SELECT `+columns+` FROM services_registered WHERE id = ? AND expires >= ?`, id, store.Millis(c.o.Now()))
	found, err := store.Collect(rows, err, scanService)
	if err == nil && len(found) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return Service{}, err
	}
	return found[0], nil
}

func scanService(r *sql.Rows) (Service, error) {
	s := Service{Kind: Outside, Status: "UP"}
	var meta string
	var registered, beat, expires int64
	if err := r.Scan(&s.ID, &s.Org, &s.Name, &s.Version, &s.URL, &meta, &s.TTL, &registered, &beat, &expires); err != nil {
		return s, err
	}
	s.Started, s.Beat, s.Expires = store.FromMillis(registered), store.FromMillis(beat), store.FromMillis(expires)
	s.domains = []string{s.Org}
	return s, json.Unmarshal([]byte(meta), &s.Metadata)
}
