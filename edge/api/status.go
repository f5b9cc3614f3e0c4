package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/headcount-hub/headcount/edge"
)

// The states of a hub.
const (
	Starting = "starting"
	Running  = "running"
	Stopping = "stopping"
)

// Status is how the hub itself is doing: the answer of GET /v1/status.
type Status struct {
	Site       string      `json:"site"`
	Name       string      `json:"name,omitempty"`
	Version    string      `json:"version"`
	State      string      `json:"state" enum:"starting,running,stopping"`
	StartedAt  time.Time   `json:"started_at"`
	Now        time.Time   `json:"now" doc:"the hub's trusted clock"`
	Clock      string      `json:"clock" enum:"unsynced,holdover,synced"`
	Epoch      string      `json:"epoch" doc:"of the journal"`
	Uplink     Uplink      `json:"uplink"`
	Lanes      Lanes       `json:"lanes"`
	HorizonS   *int64      `json:"horizon_s" doc:"seconds the hub can stay offline at the present rate; null = not known"`
	Storage    Storage     `json:"storage"`
	Inputs     []Input     `json:"inputs" nullable:"false"`
	Actions    []Action    `json:"actions" nullable:"false"`
	Counts     edge.Counts `json:"counts"`
	ConfigHash string      `json:"config_hash"`
	Warnings   []string    `json:"warnings" nullable:"false" doc:"what an operator should look at"`
}

// Action is a channel that alerts can name, and how it fares. What was given up is an event of
// type action.failed.
type Action struct {
	Name      string    `json:"name"`
	Kind      string    `json:"kind"`
	Pending   int       `json:"pending" doc:"messages that wait for it"`
	Breaker   string    `json:"breaker" enum:"closed,open,half-open" doc:"open: it has failed too often and is left alone"`
	PausedTo  time.Time `json:"paused_to,omitzero" doc:"until when it is left alone"`
	LastError string    `json:"last_error,omitempty"`
	LastOK    time.Time `json:"last_ok,omitzero" doc:"newest delivery since the hub was started"`
}

// Uplink is the connection to the cloud.
type Uplink struct {
	Configured bool      `json:"configured"`
	Connected  bool      `json:"connected"`
	Reason     string    `json:"reason,omitempty" doc:"why it is not connected"`
	Since      time.Time `json:"since,omitzero" doc:"when connected last changed"`
	LastMarkAt time.Time `json:"last_mark_at,omitzero" doc:"when the cloud last confirmed applying something"`
}

// Lanes are the journal's two sequences.
type Lanes struct {
	Events   Lane `json:"events"`
	Readings Lane `json:"readings"`
}

// Lane is how far one sequence is and how far the cloud has applied it.
type Lane struct {
	Head           uint64    `json:"head" doc:"newest sequence written"`
	Mark           uint64    `json:"mark" doc:"newest sequence the cloud has applied"`
	BacklogRecords uint64    `json:"backlog_records"`
	BacklogBytes   int64     `json:"backlog_bytes"`
	OldestUnsent   time.Time `json:"oldest_unsent,omitzero" doc:"time of the oldest record that is not applied"`
}

// Storage is the journal's place on disk. Sizes are bytes.
type Storage struct {
	Dir         string `json:"dir"`
	Bytes       int64  `json:"bytes"`
	MaxSize     int64  `json:"max_size" doc:"0 = not bounded"`
	Segments    int    `json:"segments"`
	Quarantined int    `json:"quarantined" doc:"damaged segments put aside"`
}

// Input is one driver's connection.
type Input struct {
	ID     string    `json:"id"`
	Driver string    `json:"driver"`
	Up     bool      `json:"up"`
	Detail string    `json:"detail,omitempty" doc:"its address, or what is wrong and what to do"`
	Since  time.Time `json:"since,omitzero"`
}

// Journal is the answer of GET /v1/journal.
type Journal struct {
	Epoch   string  `json:"epoch"`
	Lanes   Lanes   `json:"lanes"`
	Storage Storage `json:"storage"`
}

// LossList is the answer of GET /v1/loss.
type LossList struct {
	Loss []edge.LossEntry `json:"loss" nullable:"false" doc:"everything that did not become an accepted reading, or was dropped later, and why"`
}

// The verdicts of a health check, worst last.
const (
	Up       = "UP"
	Degraded = "DEGRADED"
	Down     = "DOWN"
)

// Health is the answer of GET /health: the worst of its checks.
type Health struct {
	Status string  `json:"status" enum:"UP,DEGRADED,DOWN"`
	Checks []Check `json:"checks" nullable:"false"`
}

// Check is the health of one part.
type Check struct {
	Name   string `json:"name"`
	Status string `json:"status" enum:"UP,DEGRADED,DOWN"`
	Detail string `json:"detail,omitempty"`
}

func (a *API) statusRoutes(h huma.API) {
	const tag = "hub"
	huma.Register(h, operation(http.MethodGet, "/v1/status", "get-status", tag, "How the hub is doing: backlog, marks, offline horizon, inputs, storage"),
		func(context.Context, *struct{}) (*body[Status], error) { return answer(a.status()), nil })
	huma.Register(h, operation(http.MethodGet, "/v1/journal", "get-journal", tag, "The journal's lanes and storage"),
		func(context.Context, *struct{}) (*body[Journal], error) {
			s := a.status()
			return answer(Journal{Epoch: s.Epoch, Lanes: s.Lanes, Storage: s.Storage}), nil
		})
	huma.Register(h, operation(http.MethodGet, "/v1/loss", "get-loss", tag, "The loss ledger"),
		func(context.Context, *struct{}) (*body[LossList], error) {
			return answer(LossList{Loss: some(a.opts.Site.Snapshot().Loss)}), nil
		})
	a.healthRoutes(h)
	a.mux.Handle("GET /metrics", a.metrics.handler())
}

func (a *API) status() Status {
	s := a.opts.Status.Status()
	s.Inputs, s.Actions, s.Warnings = some(s.Inputs), some(s.Actions), some(s.Warnings)
	return s
}

type healthAnswer struct {
	Status int
	Body   Health
}

func (a *API) healthRoutes(h huma.API) {
	register := func(path, id, summary string, judge func(context.Context) Health) {
		op := operation(http.MethodGet, path, id, "health", summary, 503)
		op.RejectUnknownQueryParameters = false // load balancers add what they like
		op.Security = []map[string][]string{}
		huma.Register(h, op, func(ctx context.Context, _ *struct{}) (*healthAnswer, error) {
			v := &healthAnswer{Status: http.StatusOK, Body: judge(ctx)}
			if v.Body.Status == Down {
				v.Status = http.StatusServiceUnavailable
			}
			return v, nil
		})
	}
	register("/health", "health", "Health with its checks; 503 only when DOWN", func(ctx context.Context) Health {
		v := Judge(a.status())
		if !a.mayRead(ctx) {
			for i := range v.Checks {
				v.Checks[i].Detail = "" // addresses and the like are for those who may ask
			}
		}
		return v
	})
	register("/health/live", "health-live", "The process answers", func(context.Context) Health {
		return Health{Status: Up, Checks: []Check{}}
	})
	register("/health/ready", "health-ready", "The hub takes readings", func(context.Context) Health {
		return healthOf(checkHub(a.status()))
	})
}

// Judge makes a hub's health of its status. Being offline degrades the hub but does not take
// it down: it keeps working from its own store.
func Judge(s Status) Health {
	checks := []Check{checkHub(s), checkStorage(s.Storage), checkClock(s.Clock)}
	for _, in := range s.Inputs {
		checks = append(checks, checkUp("input "+in.ID, in.Up, in.Detail))
	}
	for _, a := range s.Actions {
		checks = append(checks, checkUp("action "+a.Name, a.Breaker != "open", a.LastError))
	}
	if s.Uplink.Configured {
		checks = append(checks, checkUp("uplink", s.Uplink.Connected, s.Uplink.Reason))
	}
	return healthOf(checks...)
}

func healthOf(checks ...Check) Health {
	h := Health{Status: Up, Checks: checks}
	for _, c := range checks {
		if c.Status == Down || c.Status == Degraded && h.Status == Up {
			h.Status = c.Status
		}
	}
	return h
}

func checkHub(s Status) Check {
	c := Check{Name: "hub", Status: Up}
	if s.State != Running {
		c.Status, c.Detail = Down, s.State
	}
	return c
}

// nearlyFull is the share of the store's bound from which on somebody should know.
const nearlyFull = 0.9

func checkStorage(s Storage) Check {
	c := Check{Name: "storage", Status: Up}
	switch {
	case s.Quarantined > 0:
		c.Status, c.Detail = Degraded, fmt.Sprintf("%d damaged segments in quarantine under %s", s.Quarantined, s.Dir)
	case s.MaxSize > 0 && float64(s.Bytes) > nearlyFull*float64(s.MaxSize):
		c.Status, c.Detail = Degraded, fmt.Sprintf("%d of %d bytes used", s.Bytes, s.MaxSize)
	}
	return c
}

func checkClock(state string) Check {
	c := Check{Name: "clock", Status: Up, Detail: state}
	if state == "unsynced" {
		c.Status = Degraded
	}
	return c
}

func checkUp(name string, up bool, detail string) Check {
	if up {
		return Check{Name: name, Status: Up, Detail: detail}
	}
	return Check{Name: name, Status: Degraded, Detail: detail}
}
