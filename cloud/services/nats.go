package services

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// askTimeout bounds one request to an endpoint.
const askTimeout = 5 * time.Second

// Run serves the catalogue on NATS until ctx ends: each part of this tier as a micro service of
// its own, and the hubs, who have no right to answer there, by proxy.
func (c *Catalogue) Run(ctx context.Context) error {
	if c.o.Conn == nil {
		<-ctx.Done()
		return nil
	}
	defer c.stop()
	for _, p := range c.o.Parts {
		if err := c.serve(ctx, p); err != nil {
			return fmt.Errorf("register service %s: %w", p.Name, err)
		}
	}
	if err := c.serveHubs(ctx); err != nil {
		return fmt.Errorf("register hubs: %w", err)
	}
	<-ctx.Done()
	return nil
}

func (c *Catalogue) stop() {
	for _, s := range c.subs {
		_ = s.Unsubscribe() // the connection may be closed already
	}
	for _, s := range c.micro {
		_ = s.Stop()
	}
}

var semVer = regexp.MustCompile(`^v?(\d+\.\d+\.\d+)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// version is v as NATS wants it: semantic, or 0.0.0 where it is not.
func version(v string) string {
	if m := semVer.FindStringSubmatch(v); m != nil {
		return m[1] + strings.TrimRight(m[2], ".-")
	}
	return "0.0.0"
}

// serve registers one part with its endpoints.
func (c *Catalogue) serve(ctx context.Context, p Part) error {
	s, err := micro.AddService(c.o.Conn, micro.Config{
		Name: p.Name, Version: version(c.o.Version), Description: p.Description,
		Metadata: map[string]string{"instance": c.o.ID, "version": c.o.Version, "org": "*"},
	})
	if err != nil {
		return err
	}
	c.micro = append(c.micro, s)
	if c.o.Ask == nil {
		return nil
	}
	for _, e := range p.Endpoints {
		err := s.AddEndpoint(e.Name, micro.HandlerFunc(func(r micro.Request) { c.answer(ctx, e, r) }),
			micro.WithEndpointSubject(e.Subject), micro.WithEndpointMetadata(map[string]string{"like": "GET " + e.Path, "authorization": "header Authorization: Bearer TOKEN"}))
		if err != nil {
			return err
		}
	}
	return nil
}

// answer answers one request as the API would answer the holder of its token. The body is a
// JSON object of the query's parameters, or empty.
func (c *Catalogue) answer(ctx context.Context, e Endpoint, r micro.Request) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	path, err := pathOf(e.Path, r.Data())
	if err != nil {
		_ = r.Error("400", err.Error(), nil)
		return
	}
	status, body := c.o.Ask(ctx, strings.TrimPrefix(r.Headers().Get("Authorization"), "Bearer "), path)
	if status >= 300 {
		_ = r.Error(fmt.Sprint(status), "refused; the body says why", body)
		return
	}
	_ = r.Respond(body) // a failing answer: the caller is gone
}

// pathOf adds the parameters of a request's body to a path.
func pathOf(path string, body []byte) (string, error) {
	if len(body) == 0 {
		return path, nil
	}
	var params map[string]string
	if err := json.Unmarshal(body, &params); err != nil {
		return "", errors.New(`want an empty body, or the parameters as a JSON object of texts, such as {"site":"hq"}`)
	}
	q := url.Values{}
	for k, v := range params {
		q.Set(k, v)
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return path, nil
}

// hubStats counts what was asked about hubs.
type hubStats struct{ asked atomic.Int64 }

// hubQueue lets one of several replicas answer for the hubs.
const hubQueue = "headcount-hubs"

// serveHubs answers for the hubs that are heard.
func (c *Catalogue) serveHubs(ctx context.Context) error {
	for _, verb := range []micro.Verb{micro.PingVerb, micro.InfoVerb, micro.StatsVerb} {
		root := micro.APIPrefix + "." + verb.String()
		for _, subject := range []string{root, root + "." + HubName, root + "." + HubName + ".*"} {
			sub, err := c.o.Conn.QueueSubscribe(subject, hubQueue, func(m *nats.Msg) { c.answerForHubs(ctx, verb, m) })
			if err != nil {
				return err
			}
			c.subs = append(c.subs, sub)
		}
	}
	return c.o.Conn.FlushTimeout(askTimeout)
}

// answerForHubs sends one answer per hub that is meant.
func (c *Catalogue) answerForHubs(ctx context.Context, verb micro.Verb, m *nats.Msg) {
	c.stats.asked.Add(1)
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	hubs, err := c.hubs(ctx)
	if err != nil {
		c.o.Log.Warn("hubs not listed", "err", err)
		return
	}
	id := ""
	if parts := strings.Split(m.Subject, "."); len(parts) == 4 {
		id = parts[3]
	}
	for _, h := range hubs {
		if id != "" && id != h.ID {
			continue
		}
		b, err := json.Marshal(answerOf(verb, h))
		if err == nil {
			err = m.Respond(b)
		}
		if err != nil {
			return // the caller is gone
		}
	}
}

// answerOf is what a hub would say of itself.
func answerOf(verb micro.Verb, h Service) any {
	who := micro.ServiceIdentity{Name: h.Name, ID: h.ID, Version: version(h.Version), Metadata: h.Metadata}
	switch verb {
	case micro.InfoVerb:
		return micro.Info{ServiceIdentity: who, Type: micro.InfoResponseType, Description: "hub of site " + h.Site + " of " + h.Org, Endpoints: []micro.EndpointInfo{}}
	case micro.StatsVerb:
		return micro.Stats{ServiceIdentity: who, Type: micro.StatsResponseType, Started: h.Started, Endpoints: []*micro.EndpointStats{}}
	}
	return micro.Ping{ServiceIdentity: who, Type: micro.PingResponseType}
}
