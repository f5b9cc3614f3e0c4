package bus

import (
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/headcount-hub/headcount/sync/wire"
)

// The permissions of a user from outside.
const (
	Observe = "observe" // ask which services there are, read published events
	Call    = "call"    // send requests to the services' endpoints, which ask for a token besides
)

// UserPermissions lists what AddUser may be given.
func UserPermissions() []string { return []string{Observe, Call} }

// UserInboxPrefix is the reply prefix of a user from outside, the only one it may subscribe: who
// may read "_INBOX.>" reads the answers to everybody.
func UserInboxPrefix(name string) string { return "_INBOX_" + name }

// AddUser makes credentials for a person or system outside, as the text of a .creds file. With
// Observe it may ask services who they are, subscribe to published events of the organisation (of
// all when org is empty) and read them by a durable consumer that has the user's own name; with
// Call it may send requests to services. It may do nothing else. RevokeUser ends it.
func (b *Bus) AddUser(name, org string, permissions []string) ([]byte, error) {
	if !wire.ValidToken(name) || org != "" && !wire.ValidToken(org) {
		return nil, fmt.Errorf("add NATS user %q: name and organisation are 1 to 64 of a-z 0-9 _ -", name)
	}
	if len(permissions) == 0 {
		return nil, fmt.Errorf("add NATS user %s: it is given no permission; there are %v", name, UserPermissions())
	}
	for _, p := range permissions {
		if !slices.Contains(UserPermissions(), p) {
			return nil, fmt.Errorf("add NATS user %s: there is no permission %q; there are %v", name, p, UserPermissions())
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.auth == nil {
		return nil, fmt.Errorf("add NATS user %s: %w without the account's seed file", name, ErrExternal)
	}
	return b.auth.addUser(name, org, permissions, time.Now())
}

// RevokeUser makes all credentials of a user from outside invalid at once, as Revoke does those of
// a site.
func (b *Bus) RevokeUser(name string) error {
	return b.revoke(userKey(name), "user", name)
}

// userKey is a user's entry among the issued credentials; no organisation has such a name.
func userKey(name string) string { return "$user/" + name }

func (i *issuer) addUser(name, org string, permissions []string, now time.Time) ([]byte, error) {
	c, seed, err := newUser(name)
	if err != nil {
		return nil, err
	}
	c.Sub.Allow.Add(UserInboxPrefix(name) + ".>")
	if slices.Contains(permissions, Observe) {
		observe(c, name, org)
	}
	if slices.Contains(permissions, Call) {
		c.Pub.Allow.Add("svc.>")
	}
	if len(c.Pub.Allow) == 0 {
		c.Pub.Deny.Add(">")
	}
	c.Limits.Payload, c.Limits.Subs = 1<<20, 64
	return i.issue(c, seed, userKey(name), now)
}

// observe lets a user ask services who they are, and read events.
func observe(c *jwt.UserClaims, name, org string) {
	events := "ev." + org + ".>"
	if org == "" {
		events = "ev.>"
	}
	c.Sub.Allow.Add(events)
	c.Pub.Allow.Add("$SRV.>", "$JS.API.STREAM.INFO."+eventStream,
		"$JS.API.CONSUMER.CREATE."+eventStream+"."+name+"."+events, "$JS.API.CONSUMER.INFO."+eventStream+"."+name,
		"$JS.API.CONSUMER.DELETE."+eventStream+"."+name, "$JS.API.CONSUMER.MSG.NEXT."+eventStream+"."+name,
		"$JS.ACK."+eventStream+"."+name+".>")
}

// issue signs a user and notes its key first: what was issued can always be revoked.
func (i *issuer) issue(c *jwt.UserClaims, seed []byte, key string, now time.Time) ([]byte, error) {
	token, err := i.sign(c)
	if err != nil {
		return nil, err
	}
	if i.dir != "" {
		i.issued[key] = append(i.issued[key], credential{Key: c.Subject, Issued: now.UTC()})
		if err := i.saveIssued(); err != nil {
			return nil, err
		}
	}
	creds, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		return nil, fmt.Errorf("write credentials of %s: %w", c.Name, err)
	}
	return creds, nil
}
