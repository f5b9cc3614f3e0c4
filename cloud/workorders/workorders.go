// Package workorders is what an alert becomes when somebody has to do something: work orders
// with a life, deadlines, sub-tasks, approvals by a second person, notes and attachments.
//
// It guarantees that an order changes its state only along one table ([Transitions]),
// that every change is one transaction together with its history, its timers and the event that
// tells of it, that of two who change the same version one is refused, and that timers fire
// once, after a restart too. It refuses to hand out a file that a scanner has not found clean,
// unless no scanner is configured, which is then said.
package workorders

import (
	"context"
	"embed"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options is what the module works with. DB and Dir are needed; the functions may be nil, and
// then what they are for is left out.
type Options struct {
	DB  *store.DB
	Dir string // of attachments; made with mode 0700
	Log *slog.Logger
	Now func() time.Time

	// Domains lists the domains that own a site; the first is an order's by default.
	Domains func(store.Site) []string

	// People lists who has at least this role in a domain. Without it, or while Accounts says that
	// there are none, names of assignees are taken as they are.
	People   func(ctx context.Context, domain string, least token.Role) ([]Person, error)
	Accounts func() bool

	// Tell puts a notice into somebody's inbox, as part of the transaction.
	Tell func(tx *store.Tx, n Notice) error

	// Authenticate reads a token given in a URL, for WebSockets of browsers.
	Authenticate func(ctx context.Context, raw string) (*token.Identity, error)

	Revoked func(*token.Identity) bool // tells whether somebody who has proved who it is has been shut out since; nil = nobody

	Zone      *time.Location            // whose year numbers carry; UTC when nil
	Zones     map[string]*time.Location // of single organisations
	PublicURL func() string             // how links in notices begin, such as https://cloud.example.org; nil = they are paths

	Files Files
}

// Files bounds and treats attachments.
type Files struct {
	MaxSize   int64  // bytes of one; 0 = 25 MiB
	MaxCount  int    // of one order; 0 = 20
	Clamd     string // address of clamd, tcp://HOST:PORT or unix:PATH; empty = nothing is scanned
	Converter string // directory of cwebp and ffmpeg; empty = they are looked for in PATH
}

// Person is somebody who can be told, asked or given an order.
type Person struct{ ID, Email, Name string }

// Notice is one line of somebody's inbox.
type Notice struct {
	Key       string // the same notice is told once
	Org, User string
	Kind      string // workorder.assigned, workorder.mention, workorder.approval, …
	Title     string
	Text      string
	Link      string
	Severity  edge.Severity
	At        time.Time
}

// Module is the work orders of a tier. Its methods may be called from many goroutines.
type Module struct {
	o     Options
	db    *store.DB
	key   []byte // signs links
	files files
	chats sync.WaitGroup
	ctx   context.Context // of chats
	stop  context.CancelFunc
}

// Open brings the tables up to date and returns the module; Close it.
func Open(ctx context.Context, o Options) (*Module, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.PublicURL == nil {
		o.PublicURL = func() string { return "" }
	}
	if o.Domains == nil {
		o.Domains = func(s store.Site) []string { return []string{s.Org} }
	}
	m := &Module{o: o, db: o.DB}
	if err := o.DB.Migrate(ctx, "workorders", migrations, "migrations"); err != nil {
		return nil, err
	}
	var err error
	if m.key, err = m.linkKey(ctx); err != nil {
		return nil, fmt.Errorf("read link key: %w", err)
	}
	if m.files, err = m.openFiles(ctx); err != nil {
		return nil, err
	}
	if err := m.beginFollowing(ctx); err != nil {
		return nil, err
	}
	m.ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	return m, nil
}

// Run fires timers, follows alerts and treats attachments until ctx ends.
func (m *Module) Run(ctx context.Context) error {
	var work sync.WaitGroup
	work.Go(func() { m.runTimers(ctx) })
	work.Go(func() { m.followAlerts(ctx) })
	work.Go(func() { m.treatFiles(ctx) })
	work.Wait()
	return nil
}

// Close ends the chats; call it after Run has returned.
func (m *Module) Close() {
	m.stop()
	m.chats.Wait()
}

func (m *Module) now() time.Time { return edge.Millis(m.o.Now()) }

// zone is the organisation's own.
func (m *Module) zone(org string) *time.Location {
	if z := m.o.Zones[org]; z != nil {
		return z
	}
	return m.o.Zone
}
