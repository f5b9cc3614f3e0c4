package tier

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/cloud/accounts"
	"github.com/headcount-hub/headcount/cloud/analytics"
	"github.com/headcount-hub/headcount/cloud/notify"
	"github.com/headcount-hub/headcount/cloud/steer"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/twin"
	"github.com/headcount-hub/headcount/cloud/workorders"
	"github.com/headcount-hub/headcount/sync/wire"
)

// openSteer builds what goes down to hubs, and gives the twin what it needs of others.
func (t *Tier) openSteer(ctx context.Context) (part, error) {
	var err error
	t.steer, err = steer.Open(ctx, steer.Options{
		DB: t.db, Conn: t.bus.Conn(), OfSite: t.twin.OfSite, Log: t.cfg.Log,
		Stale: func(s store.Site) bool { return twin.Stale(s.LastHeartbeat, time.Now()) },
		Auth: func() steer.Auth {
			return steer.Auth{Issuer: accounts.Issuer, JWKS: t.accounts.JWKS(), Revocations: t.accounts.Revocations()}
		},
		Changed: t.accounts.Changed, Sign: t.accounts.SignFor,
	})
	if err != nil {
		return part{}, err
	}
	err = t.twin.Open(ctx, twin.Hooks{
		Desired: t.desired, Acknowledged: t.steer.KeepAcknowledgement, Enrolled: t.bus.Enrolled, Revoke: t.bus.Revoke,
		Forget: []func(*store.Tx, store.Site) error{t.steer.Forget, analytics.Forget, notify.Forget, workorders.Forget}, Moved: func(s store.Site) { t.steer.PushAuth(s) },
	})
	return part{routes: t.steer.Routes(), run: t.steer.Run}, err
}

// complete adds to the answers to heartbeats what hubs may have to ask for.
func (t *Tier) complete(ctx context.Context, org, site string, h *wire.HeartbeatReply) {
	if t.steer != nil {
		t.steer.Complete(ctx, org, site, h)
	}
}

// desired is a site's desired configuration by element.
func (t *Tier) desired(ctx context.Context, s store.Site) (twin.Desired, error) {
	d, err := t.steer.Desired(ctx, s)
	if err != nil {
		return twin.Desired{}, err
	}
	out := twin.Desired{Rev: d.Rev, Applied: d.Applied, Elements: map[string]json.RawMessage{}}
	if d.State == "refused" {
		out.Reasons = d.Reasons
	}
	var doc struct {
		Spaces, Doors, Sensors []json.RawMessage
		Remove                 struct{ Spaces, Doors, Sensors []string }
	}
	if err := json.Unmarshal(d.Document, &doc); err != nil {
		return out, fmt.Errorf("read desired configuration of %s: %w", s.Site, err)
	}
	for section, list := range map[string][]json.RawMessage{"spaces": doc.Spaces, "doors": doc.Doors, "sensors": doc.Sensors} {
		for _, e := range list {
			var named struct{ ID string }
			if json.Unmarshal(e, &named) == nil {
				out.Elements[section+"/"+named.ID] = e
			}
		}
	}
	for section, list := range map[string][]string{"spaces": doc.Remove.Spaces, "doors": doc.Remove.Doors, "sensors": doc.Remove.Sensors} {
		for _, id := range list {
			out.Elements[section+"/"+id] = json.RawMessage("null")
		}
	}
	return out, nil
}
