package store

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Places knows whom the sites of events belong to. Its methods may be called from many
// goroutines.
type Places struct {
	db      *DB
	domains func(Site) []string

	mu    sync.Mutex // guards what follows
	known map[int64][]string
	read  time.Time
}

// NewPlaces makes a Places; domains lists the domains of a site, and those alone may see what
// happens there.
func NewPlaces(db *DB, domains func(Site) []string) *Places {
	return &Places{db: db, domains: domains}
}

// placesAge is how long whom a site belongs to is believed: who may see what changes within it.
const placesAge = 5 * time.Second

// Of lists whom the site of an event belongs to. What concerns an organisation as a whole is the
// organisation's.
func (p *Places) Of(ctx context.Context, e Event) ([]string, error) {
	if e.SiteName == OrgSite {
		return []string{e.Org}, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d, ok := p.known[e.Site]; ok && time.Since(p.read) < placesAge {
		return d, nil
	}
	sites, err := p.db.Sites(ctx)
	if err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	p.known, p.read = map[int64][]string{}, time.Now()
	for _, s := range sites {
		p.known[s.ID] = p.domains(s)
	}
	return p.known[e.Site], nil
}
