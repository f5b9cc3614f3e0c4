package notify

import (
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/token"
)

// SendPermission is what a service's token needs to send notifications.
const SendPermission = "notifications:send"

// Routes is the module's part of the API.
func (n *Notifier) Routes() []route.Route {
	own := route.Need{SignedIn: true}
	org := route.Need{Of: ofOrg, Role: token.Manager}
	channel := route.Need{Of: n.ofChannel, Role: token.Manager}
	policy := func(role token.Role) route.Need { return route.Need{Of: n.ofPolicy, Role: role} }
	silence := func(role token.Role) route.Need { return route.Need{Of: n.ofSilence, Role: role} }
	letter := route.Need{Of: n.ofLetter, Role: token.Manager}
	send := route.Need{SignedIn: true, Permission: SendPermission}
	var out []route.Route
	add := func(method, path, summary string, need route.Need, h func(*route.Request) (any, error)) {
		out = append(out, route.Route{Method: method, Path: path, Tag: "notify", Summary: summary, Need: need, Handle: h})
	}
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	add(get, "/v1/inbox", "The caller's notices, newest first", own, n.getInbox)
	add(get, "/v1/inbox/unread", "How many notices the caller has not read", own, n.getUnread)
	add(post, "/v1/inbox/{id}/read", "Mark a notice read, or unread", own, n.readOne)
	add(post, "/v1/inbox/read", "Mark all notices read", own, n.readAll)
	add(get, "/v1/preferences", "How the caller wants to be told", own, n.getPreferences)
	add(put, "/v1/preferences", "Replace how the caller wants to be told", own, n.putPreferences)
	add(get, "/v1/push/key", "The key for PushManager.subscribe", own, n.pushKey)
	add(get, "/v1/push/subscriptions", "The caller's browsers that are told", own, n.getSubscriptions)
	add(post, "/v1/push/subscriptions", "Tell this browser", own, n.subscribe)
	add(del, "/v1/push/subscriptions/{id}", "Do not tell that browser any more", own, n.unsubscribe)
	add(get, "/v1/orgs/{org}/channels", "Channels of an organisation", org, n.listChannels)
	add(post, "/v1/orgs/{org}/channels", "Add a channel", org, n.addChannel)
	add(get, "/v1/orgs/{org}/channels/{name}", "A channel, without its secrets", channel, n.getChannel)
	add(put, "/v1/orgs/{org}/channels/{name}", "Replace a channel", channel, n.putChannel)
	add(del, "/v1/orgs/{org}/channels/{name}", "Delete a channel", channel, n.deleteChannel)
	add(post, "/v1/orgs/{org}/channels/{name}/test", "Send a test message", org, n.testChannel)
	add(get, "/v1/orgs/{org}/routes", "Who is told of which alerts", own, n.listPolicies)
	add(post, "/v1/orgs/{org}/routes", "Add a route", route.Need{Of: n.ofNewPolicy, Role: token.Manager}, n.addPolicy)
	add(get, "/v1/orgs/{org}/routes/{id}", "A route", policy(token.Viewer), n.getPolicy)
	add(put, "/v1/orgs/{org}/routes/{id}", "Replace a route", policy(token.Manager), n.putPolicy)
	add(del, "/v1/orgs/{org}/routes/{id}", "Delete a route", policy(token.Manager), n.deletePolicy)
	add(get, "/v1/silences", "Silences", own, n.listSilences)
	add(post, "/v1/silences", "Keep alerts from being told", route.Need{Of: n.ofNewSilence, Role: token.Operator}, n.addSilence)
	add(get, "/v1/silences/{id}", "A silence", silence(token.Viewer), n.getSilence)
	add(del, "/v1/silences/{id}", "End a silence", silence(token.Operator), n.endSilence)
	add(post, "/v1/notifications/send", "Tell users, roles or channels something", send, n.sendNow)
	add(post, "/notifications/send", "Tell users, roles or channels something", send, n.sendNow)
	add(get, "/v1/deliveries", "What was told to whom, newest first", own, n.listDeliveries)
	add(get, "/v1/dead-letters", "What could not be delivered", own, n.listLetters)
	add(get, "/v1/dead-letters/{id}", "A dead letter with its message", letter, n.getLetter)
	add(post, "/v1/dead-letters/{id}/retry", "Try a dead letter again", letter, n.retryLetter)
	add(del, "/v1/dead-letters/{id}", "Dismiss a dead letter", letter, n.dropLetter)
	add(get, "/v1/ack/{secret}", "What a link would acknowledge", route.Need{Public: true}, n.showAck)
	add(post, "/v1/ack/{secret}", "Acknowledge by a one-time link", route.Need{Public: true}, n.useAck)
	return out
}

// orgOf finds the organisation that a request is about: named, that of the domain, or the only one
// the caller has.
func (n *Notifier) orgOf(r *route.Request, org, domain string) (string, error) {
	if org == "" {
		org = r.URL.Query().Get("org")
	}
	if org == "" && domain != "" {
		org = token.Organisation(domain)
	}
	if org != "" {
		return org, nil
	}
	var orgs []string
	for _, m := range r.Who.Memberships {
		orgs = append(orgs, token.Organisation(m.Domain))
	}
	if r.Who.Everywhere > token.None {
		sites, err := n.db.Sites(r.Context())
		if err != nil {
			return "", err
		}
		for _, s := range sites {
			orgs = append(orgs, s.Org)
		}
	}
	slices.Sort(orgs)
	if orgs = slices.Compact(orgs); len(orgs) == 1 {
		return orgs[0], nil
	}
	return "", route.Problem(http.StatusBadRequest, "say for which organisation: org")
}

// Sending is the body of POST /v1/notifications/send.
type Sending struct {
	Key      string        `json:"key,omitempty"`    // the same again is told once; the header Idempotency-Key does the same
	Org      string        `json:"org,omitempty"`    // may be left out by who has one only
	Domain   string        `json:"domain,omitempty"` // of the roles; the organisation by default
	Users    []string      `json:"users,omitempty"`  // ids
	Roles    []token.Role  `json:"roles,omitempty"`  // everybody with at least this role
	Channels []string      `json:"channels,omitempty"`
	Kind     string        `json:"kind,omitempty"` // "message" by default
	Title    string        `json:"title"`
	Text     string        `json:"text,omitempty"`
	Link     string        `json:"link,omitempty"`
	Severity edge.Severity `json:"severity,omitempty"` // info by default
}

// The bounds of a sending.
const (
	maxTitle     = 200
	maxText      = 10_000
	maxReceivers = 500
)

func (s *Sending) check() error {
	switch {
	case s.Title == "" || len(s.Title) > maxTitle || strings.ContainsAny(s.Title, "\r\n"):
		return invalid("title: want one line of 1 to %d bytes", maxTitle)
	case len(s.Text) > maxText:
		return invalid("text has %d bytes, at most %d are possible", len(s.Text), maxText)
	case len(s.Users)+len(s.Roles)+len(s.Channels) == 0:
		return invalid("nobody to tell: give users, roles or channels")
	case len(s.Users)+len(s.Channels) > maxReceivers:
		return invalid("more than %d receivers", maxReceivers)
	case !slices.Contains([]edge.Severity{edge.Info, edge.Warning, edge.Critical}, s.Severity):
		return invalid("severity is %q: want info, warning or critical", s.Severity)
	case !token.Within(s.Domain, s.Org):
		return invalid("domain %q is not of organisation %q", s.Domain, s.Org)
	case s.Link != "" && !strings.HasPrefix(s.Link, "https://") && !strings.HasPrefix(s.Link, "http://") && !strings.HasPrefix(s.Link, "/"):
		return invalid("link: want a web address or a path that begins with /")
	case len(s.Key) > 200 || len(s.Kind) > 64:
		return invalid("key has at most 200 characters, kind 64")
	}
	return nil
}

// sendNow queues a notification: by managers of the domain, and services with the permission.
func (n *Notifier) sendNow(r *route.Request) (any, error) {
	var s Sending
	if err := r.Decode(&s); err != nil {
		return nil, err
	}
	org, err := n.orgOf(r, s.Org, s.Domain)
	if err != nil {
		return nil, err
	}
	s.Org = org
	s.fill(r.Header.Get(deliver.HeaderKey))
	need := token.Manager
	if r.Who.Kind == token.Service {
		need = token.Viewer // its permission says that it may
	}
	switch have := r.Who.Role(s.Domain); {
	case have == token.None:
		return nil, route.ErrNotFound
	case have < need:
		return nil, route.Problem(http.StatusForbidden, "this needs the role %s; yours is %s", need, have)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return n.enqueue(r, s)
}

func (s *Sending) fill(key string) {
	if s.Key == "" {
		s.Key = key
	}
	if s.Domain == "" {
		s.Domain = s.Org
	}
	if s.Kind == "" {
		s.Kind = "message"
	}
	if s.Severity == "" {
		s.Severity = edge.Info
	}
}

// enqueue tells the receivers of a sending in one transaction.
func (n *Notifier) enqueue(r *route.Request, s Sending) (any, error) {
	if s.Key == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		s.Key = id.String()
	}
	receivers, err := n.checkReceivers(r, s)
	if err != nil {
		return nil, err
	}
	key := "send/" + r.Who.Subject + "/" + s.Key
	err = n.db.Update(r.Context(), func(tx *store.Tx) error {
		for _, to := range receivers {
			if err := n.sendTo(tx, s, key, to); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	n.queue.kick()
	return &route.Response{Status: http.StatusAccepted, Body: map[string]any{"key": s.Key, "receivers": len(receivers)}}, nil
}

// checkReceivers lists the receivers; persons must belong to the organisation.
func (n *Notifier) checkReceivers(r *route.Request, s Sending) ([]string, error) {
	for _, c := range s.Channels {
		if n.channel(channelName(s.Org, c)) == nil {
			return nil, invalid("there is no channel %q; GET /v1/orgs/%s/channels lists those there are", c, s.Org)
		}
	}
	if len(s.Users) > 0 && n.o.Members != nil {
		members, err := n.o.Members(r.Context(), s.Org, token.Viewer)
		if err != nil {
			return nil, err
		}
		for _, u := range s.Users {
			if u != r.Who.Subject && !slices.ContainsFunc(members, func(p Person) bool { return p.ID == u }) {
				return nil, invalid("organisation %s has no user %q", s.Org, u)
			}
		}
	}
	return n.receivers(r.Context(), plan{Step: Step{Users: s.Users, Roles: s.Roles, Channels: s.Channels}, Domain: s.Domain})
}

func (n *Notifier) sendTo(tx *store.Tx, s Sending, key, to string) error {
	if user, ok := strings.CutPrefix(to, toUser); ok {
		return n.Tell(tx, Notice{Key: key, Org: s.Org, User: user, Kind: s.Kind, Title: s.Title, Text: s.Text, Link: s.Link, Severity: s.Severity})
	}
	data := toJSON(map[string]string{"title": s.Title, "text": s.Text, "link": s.Link, "severity": string(s.Severity)})
	_, err := add(tx, Delivery{Org: s.Org, Channel: channelName(s.Org, strings.TrimPrefix(to, toChannel)), State: Due, Updated: n.now(),
		Message: deliver.Message{Key: key, Source: "/" + s.Org, Type: "notification." + s.Kind, At: n.now(), Data: []byte(data),
			Words: deliver.Words{Title: s.Title, Text: s.Text, Link: s.Link, Severity: s.Severity}}})
	return err
}
