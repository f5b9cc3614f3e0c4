package assist

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

func (a *Assist) askRoutes() []route.Route {
	ofOrg := func(r *route.Request) ([]string, error) { return []string{r.PathValue("org")}, nil }
	return []route.Route{{
		Method: http.MethodPost, Path: "/v1/agent/ask", Tag: "assistants", Summary: "Ask the configured model about the sites that the caller may see; ?stream=1 as Server-Sent Events",
		Need: route.Need{SignedIn: true, Permission: "read"}, Serve: http.HandlerFunc(a.serveAsk), In: Question{}, Out: Reply{},
	}, {
		Method: http.MethodGet, Path: "/v1/orgs/{org}/agent/questions", Tag: "assistants", Summary: "Who asked the model, and what it looked at; newest first",
		Need: route.Need{Of: ofOrg, Role: token.Admin}, Handle: a.listQuestions,
	}}
}

// serveAsk answers a question. It writes by itself, as an answer may take longer than the
// server's write timeout.
func (a *Assist) serveAsk(w http.ResponseWriter, hr *http.Request) {
	r := &route.Request{Request: hr, Who: token.From(hr.Context())}
	q, err := a.admit(r)
	if err != nil {
		fail(w, err)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(a.model.o.Timeout + writeGrace)) // where it cannot be set, the server's own holds
	var out *events
	var progress func(Citation)
	if hr.URL.Query().Get("stream") == "1" {
		out = &events{w: w}
		progress = func(c Citation) { out.send("step", c) }
		out.begin()
	}
	began := a.now()
	reply, err := a.ask(hr.Context(), q, progress)
	a.note(hr.Context(), r.Who, q, reply, err, a.now().Sub(began))
	switch {
	case out != nil && err != nil:
		out.send("problem", problemBody(err))
	case out != nil:
		out.send("answer", reply)
	case err != nil:
		fail(w, err)
	default:
		gateway.WriteJSON(w, "application/json", http.StatusOK, reply)
	}
}

// writeGrace is how long writing an answer may take.
const writeGrace = 10 * time.Second

// admit reads the question and refuses what cannot be asked now.
func (a *Assist) admit(r *route.Request) (q Question, err error) {
	if a.model == nil {
		return q, route.Problem(http.StatusServiceUnavailable,
			`no model is configured: set agent: {url: "https://HOST/v1", model: NAME, key_file: FILE} in the cloud's configuration, an endpoint that speaks OpenAI's chat completions; the tools are at /mcp without one`)
	}
	if err := r.Decode(&q); err != nil {
		return q, err
	}
	if err := q.check(); err != nil {
		return q, err
	}
	if wait := a.limiter.take(string(r.Who.Kind)+":"+r.Who.Subject, a.now()); wait > 0 {
		p := gateway.NewProblem(http.StatusTooManyRequests, "at most %d questions a minute", a.limiter.perMinute)
		p.Header = http.Header{"Retry-After": {strconv.Itoa(int(wait.Seconds()) + 1)}}
		return q, p
	}
	return q, nil
}

func problemBody(err error) *gateway.Problem {
	var p *gateway.Problem
	if errors.As(err, &p) {
		return p
	}
	return gateway.NewProblem(http.StatusInternalServerError, "the cloud could not do this; its log says why")
}

func fail(w http.ResponseWriter, err error) { gateway.WriteProblem(w, problemBody(err)) }

// events writes Server-Sent Events: one "step" for each call of a tool, then "answer" or
// "problem".
type events struct{ w http.ResponseWriter }

func (e *events) begin() {
	e.w.Header().Set("Content-Type", "text/event-stream")
	e.w.Header().Set("Cache-Control", "no-store")
	e.w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(e.w).Flush() // as below
}

func (e *events) send(event string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte("{}")
	}
	fmt.Fprintf(e.w, "event: %s\ndata: %s\n\n", event, b)
	_ = http.NewResponseController(e.w).Flush() // a client that is gone ends the request's context
}

// limiter counts the questions of each caller in the present minute.
type limiter struct {
	perMinute int

	mu     sync.Mutex // guards what follows
	minute time.Time
	asked  map[string]int
}

// take counts a question; a wait above 0 says that there were enough.
func (l *limiter) take(who string, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if minute := now.Truncate(time.Minute); !minute.Equal(l.minute) {
		l.minute, l.asked = minute, map[string]int{}
	}
	if l.asked[who] >= l.perMinute {
		return l.minute.Add(time.Minute).Sub(now)
	}
	l.asked[who]++
	return 0
}

// note writes who asked and what was looked at, for each of the caller's organisations.
func (a *Assist) note(ctx context.Context, who *token.Identity, q Question, reply Reply, failed error, took time.Duration) {
	id, err := uuid.NewV7()
	if err != nil {
		a.log.Error("question not noted", "err", err)
		return
	}
	sum := sha256.Sum256([]byte(q.Question))
	var tools []string
	for _, c := range reply.Citations {
		tools = append(tools, c.Tool)
	}
	err = a.o.DB.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		for _, org := range orgsOf(who) {
			const insert = `INSERT INTO assist_questions (id, org, at, kind, subject, name, question, tools, steps, tokens, outcome, took) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
			if err := tx.Exec(insert, id.String(), org, store.Millis(a.now()), string(who.Kind), who.Subject, who.Name, hex.EncodeToString(sum[:]),
				strings.Join(tools, " "), reply.Steps, reply.Tokens, outcome(reply, failed), took.Milliseconds()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		a.log.Error("question not noted", "err", err)
	}
	a.log.Info("question", "by", who.Who(), "sha256", hex.EncodeToString(sum[:8]), "tools", tools, "steps", reply.Steps, "tokens", reply.Tokens, "outcome", outcome(reply, failed), "took", took)
}

func outcome(r Reply, failed error) string {
	switch {
	case failed != nil:
		return problemBody(failed).Detail
	case !r.Known:
		return "not-known"
	}
	return "answered"
}

// orgsOf lists the organisations of a caller; an empty one for who has none.
func orgsOf(who *token.Identity) []string {
	orgs := []string{}
	for _, m := range who.Memberships {
		orgs = append(orgs, token.Organisation(m.Domain))
	}
	slices.Sort(orgs)
	if orgs = slices.Compact(orgs); len(orgs) == 0 {
		return []string{""}
	}
	return orgs
}

// Asked is one element of GET /v1/orgs/{org}/agent/questions.
type Asked struct {
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"` // of the caller
	Subject  string    `json:"subject"`
	Name     string    `json:"name"`
	Question string    `json:"question_sha256"`
	Tools    []string  `json:"tools"`
	Steps    int       `json:"steps"`
	Tokens   int       `json:"tokens"`
	Outcome  string    `json:"outcome"`
	TookMS   int64     `json:"took_ms"`
}

// askedPage is how many questions one answer lists.
const askedPage = 100

// listQuestions answers a page; ?before= an id goes on.
func (a *Assist) listQuestions(r *route.Request) (any, error) {
	before := r.URL.Query().Get("before")
	const query = `SELECT id, at, kind, subject, name, question, tools, steps, tokens, outcome, took FROM assist_questions
		WHERE org = ? AND (? = '' OR id < ?) ORDER BY id DESC LIMIT ?`
	rows, err := a.o.DB.Query(r.Context(), query, r.PathValue("org"), before, before, askedPage)
	list, err := store.Collect(rows, err, func(rows *sql.Rows) (q Asked, err error) {
		var at int64
		var tools string
		err = rows.Scan(&q.ID, &at, &q.Kind, &q.Subject, &q.Name, &q.Question, &tools, &q.Steps, &q.Tokens, &q.Outcome, &q.TookMS)
		q.At, q.Tools = store.FromMillis(at), strings.Fields(tools)
		return q, err
	})
	if list == nil {
		list = []Asked{}
	}
	return map[string]any{"questions": list}, err
}
