package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
)

// Mail is an e-mail to one address.
type Mail struct {
	Key     string // the same when it is asked for again: it is sent once
	Org     string
	To      string // an address, or "user:ID"
	Subject string
	Text    string
}

// mailChannel is the name of the channel to the mail server.
const mailChannel = "mail"

// mailType is the message type of mails. Their text is neither served by the API nor kept after
// delivery: it may hold a secret, such as a link to set a password.
const mailType = "mail"

// Mail queues an e-mail in the transaction. Without a mail server it is kept, and logged.
func (n *Notifier) Mail(tx *store.Tx, m Mail) error {
	if m.Key == "" || m.To == "" || m.Subject == "" {
		return errors.New("queue mail: key, address and subject are needed")
	}
	msg := deliver.Message{Key: m.Key, Type: mailType, At: n.now(), Words: deliver.Words{Title: m.Subject, Text: m.Text}}
	return n.post(tx, m.Org, m.To, msg, time.Time{})
}

// post queues a mail, not to be sent before due.
func (n *Notifier) post(tx *store.Tx, org, to string, m deliver.Message, due time.Time) error {
	d := Delivery{Org: org, Channel: mailChannel, Target: to, State: Due, Due: due, Updated: n.now(), Message: m}
	if n.o.Mail == nil {
		d.State, d.Reason = Held, noMailServer
	}
	fresh, err := add(tx, d)
	if err != nil {
		return err
	}
	if fresh && n.o.Mail == nil {
		n.log.Warn("mail kept: no mail server configured", "org", org, "to", to, "subject", m.Title, "key", m.Key)
	}
	n.queue.kick()
	return nil
}

const noMailServer = "no mail server configured"

// Notice is something a person is told.
type Notice struct {
	Key      string // the same when it is told again: the person gets it once
	Org      string
	User     string // id
	Kind     string // what preferences are kept by, such as "alert", "workorder", "mention"
	Title    string
	Text     string
	Link     string
	Severity edge.Severity // empty = info
	At       time.Time     // zero = now

	ack string // one-time address of an alert's acknowledgement
}

// InboxAdded is the event about a new notice, for the person alone.
const InboxAdded edge.EventType = "inbox.added"

// Tell puts a notice into a person's inbox and queues it for the channels the person prefers, in
// the transaction.
func (n *Notifier) Tell(tx *store.Tx, c Notice) error {
	if c.Key == "" || c.User == "" || c.Title == "" || c.Org == "" {
		return errors.New("tell: key, organisation, user and title are needed")
	}
	if c.At.IsZero() {
		c.At = n.now()
	}
	if c.Severity == "" {
		c.Severity = edge.Info
	}
	p, err := preference(tx, c.User, c.Org, c.Kind)
	if err != nil {
		return err
	}
	if p.Inbox {
		if fresh, err := n.addInbox(tx, c); err != nil || !fresh {
			return err
		}
	}
	return n.carry(tx, c, p)
}

// addInbox stores a notice and tells the person's pages; false when it was there.
func (n *Notifier) addInbox(tx *store.Tx, c Notice) (bool, error) {
	const insert = `INSERT INTO notify_inbox (id, person, org, kind, dedupe, title, body, link, severity, at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (person, org, dedupe) DO NOTHING`
	id, err := uuid.NewV7()
	if err != nil {
		return false, fmt.Errorf("make id: %w", err)
	}
	added, err := tx.ExecCount(insert, id.String(), c.User, c.Org, c.Kind, c.Key, c.Title, c.Text, c.Link, string(c.Severity), store.Millis(c.At))
	if err != nil || added == 0 {
		return false, err
	}
	item := Item{ID: id.String(), Org: c.Org, Kind: c.Kind, Title: c.Title, Text: c.Text, Link: c.Link, Severity: c.Severity, At: edge.Millis(c.At)}
	e, err := store.EventOf(InboxAdded, id.String(), n.now(), item)
	if err != nil {
		return false, err
	}
	return true, tx.AddOrgEvent(c.Org, "user:"+c.User, e)
}

// carry queues a notice for mail and push as the person prefers.
func (n *Notifier) carry(tx *store.Tx, c Notice, p Preference) error {
	due := p.after(n.now(), c.Severity)
	msg := deliver.Message{Key: c.Key, Type: "notice." + c.Kind, Source: "/" + c.Org, At: c.At,
		Words: deliver.Words{Title: c.Title, Text: c.Text, Link: c.Link, Severity: c.Severity, Ack: c.ack}}
	if p.Mail && n.o.User != nil && n.o.Mail != nil {
		if err := n.post(tx, c.Org, "user:"+c.User, msg, due); err != nil {
			return err
		}
	}
	if !p.Push || n.o.Push == nil {
		return nil
	}
	subs, err := subscriptions(tx, c.User)
	if err != nil {
		return err
	}
	for _, s := range subs {
		d := Delivery{Org: c.Org, Channel: s.channel(), Target: s.ID, State: Due, Due: due, Updated: n.now(), Message: msg}
		if _, err := add(tx, d); err != nil {
			return err
		}
	}
	n.queue.kick()
	return nil
}

// Person is somebody who can be told.
type Person struct {
	ID, Email, Name string
	Timezone        string // IANA; empty = UTC
	Active          bool
}

// address resolves the target of a mail when it is sent, so that it goes where the person reads
// mail by then.
func (n *Notifier) address(ctx context.Context, user string) (string, error) {
	if n.o.User == nil {
		return "", fmt.Errorf("%w: there are no accounts", deliver.ErrRefused)
	}
	p, err := n.o.User(ctx, user)
	switch {
	case errors.Is(err, store.ErrNotFound) || errors.Is(err, route.ErrNotFound):
		return "", fmt.Errorf("%w: the account is gone", deliver.ErrRefused)
	case err != nil:
		return "", err
	case !p.Active || p.Email == "":
		return "", fmt.Errorf("%w: the account is not active or has no address", deliver.ErrRefused)
	}
	return p.Email, nil
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func toJSON(v any) string {
	b, _ := json.Marshal(v) // of types that always can be
	return string(b)
}
