// Package assist lets assistants (language models and their programs) ask about the sites that
// their user may see: tools that only read, an MCP server around them, and questions in plain
// words that a configured model answers with the same tools. There is no model of ours.
//
// It guarantees that a tool sees what its caller sees and nothing else: every tool is a request
// to the API in the caller's own name, so that the policies of the routes decide, whatever a
// model asks for. Every row has a link to where it came from, and what is unknown or stale is
// "not known", never a number. It refuses to change anything, to answer a question without rows,
// and to call any address but the configured one.
package assist

import (
	"context"
	"embed"
	"fmt"
	"log/slog"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options is what the module works with. DB and API are needed.
type Options struct {
	DB      *store.DB
	API     API // of this cloud; asked in the name of the caller that the context carries
	Model   *Model
	Version string // of the program
	Log     *slog.Logger
	Now     func() time.Time // nil = time.Now
}

// Assist is the module of a tier. Its methods may be called from many goroutines.
type Assist struct {
	o       Options
	log     *slog.Logger
	now     func() time.Time
	model   *client // nil = none is configured
	limiter limiter
}

// Open brings the module's tables up to date.
func Open(ctx context.Context, o Options) (*Assist, error) {
	a := &Assist{o: o, log: o.Log, now: o.Now}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.now == nil {
		a.now = time.Now
	}
	if err := o.DB.Migrate(ctx, "assist", migrations, "migrations"); err != nil {
		return nil, err
	}
	if o.Model != nil {
		var err error
		if a.model, err = newClient(*o.Model); err != nil {
			return nil, fmt.Errorf("agent: %w", err)
		}
		a.limiter.perMinute = a.model.o.PerMinute
	}
	return a, nil
}

// Routes is the module's part of the API.
func (a *Assist) Routes() []route.Route { return append(a.mcpRoutes(), a.askRoutes()...) }
