package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/gateway"
)

// Span is a stretch of time in a request.
type Span struct {
	From string `query:"from" doc:"RFC 3339 time, or a duration back from now such as -24h" example:"2026-11-21T08:00:00Z"`
	To   string `query:"to" doc:"RFC 3339 time, or a duration back from now; default now"`
}

// resolve returns both ends cut to milliseconds; without from it is the last stretch of length
// def.
func (s Span) resolve(now time.Time, def time.Duration) (from, to time.Time, err error) {
	if to, err = when("query.to", s.To, now, now); err != nil {
		return from, to, err
	}
	if from, err = when("query.from", s.From, now, to.Add(-def)); err != nil {
		return from, to, err
	}
	if to.Before(from) {
		return from, to, badParameter("query.to", s.To, "lies before from")
	}
	return from, to, nil
}

func when(name, s string, now, def time.Time) (time.Time, error) {
	if s == "" {
		return edge.Millis(def), nil
	}
	if d, err := time.ParseDuration(s); err == nil && d <= 0 {
		return edge.Millis(now.Add(d)), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, badParameter(name, s, "want an RFC 3339 time such as 2026-11-21T08:00:00Z, or a duration back from now such as -24h")
	}
	return edge.Millis(t), nil
}

func badParameter(location, value, message string) error {
	return huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: location, Value: value, Message: message})
}

// splitETags lists the tags of an If-None-Match header; those that a proxy made strong count
// as well.
func splitETags(header string) []string {
	var out []string
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimSpace(tag)
		if strings.HasPrefix(tag, `"`) {
			tag = "W/" + tag
		}
		out = append(out, tag)
	}
	return out
}

// Idempotent lets a client repeat a command safely.
type Idempotent struct {
	Key string `header:"Idempotency-Key" maxLength:"64" pattern:"^[A-Za-z0-9._:-]*$" doc:"a repeated key is answered again, not applied again"`
}

// commandTimeout bounds how long a command may wait for its commit.
const commandTimeout = 20 * time.Second

// do carries out a command for the caller and answers its result, a refusal as a problem.
func (a *API) do(ctx context.Context, kind edge.CommandKind, subject, key string, args any) (*body[edge.CommandResult], error) {
	raw, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	c := edge.Command{ID: key, Kind: kind, Subject: subject, By: caller(ctx), Args: raw}
	if c.ID == "" {
		c.ID = randomID()
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	res, err := a.opts.Site.Do(ctx, c)
	if err != nil {
		a.log.Error("command failed", "request", gateway.CallOf(ctx).ID, "kind", kind, "subject", subject, "err", err)
		return nil, huma.Error503ServiceUnavailable("the hub could not take the command; it is not known to be applied: ask again with the same Idempotency-Key")
	}
	if !res.Applied {
		return nil, huma.NewError(refusalStatus(res.Code), res.Reason)
	}
	return answer(res), nil
}

func refusalStatus(code string) int {
	switch code {
	case "not_found":
		return http.StatusNotFound
	case "invalid":
		return http.StatusUnprocessableEntity
	}
	return http.StatusConflict
}

func randomID() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
