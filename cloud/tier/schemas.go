package tier

import (
	"context"

	"github.com/headcount-hub/headcount/cloud/notify"
	"github.com/headcount-hub/headcount/cloud/schema"
	"github.com/headcount-hub/headcount/cloud/twin"
	"github.com/headcount-hub/headcount/cloud/workorders"
)

// eventTypes are all types of event that hubs and the tier write.
func eventTypes() []schema.Type {
	types := append(schema.Hub(),
		schema.Type{Name: string(notify.InboxAdded), About: "A person has a new notice.", Data: notify.Item{}},
		schema.Type{Name: string(twin.StateEvent), About: "The state of a site has changed as a whole: look at it. It has no data.", Data: struct{}{}},
		schema.Type{Name: "workorder.*", About: "Something has happened to a work order.", Data: workorders.Change{}},
		schema.Type{Name: "twin.desired", About: "Somebody desires another configuration of a hub.", Data: desiredEvent{}},
		schema.Type{Name: "twin.configuration", About: "A hub tells which configuration it runs.", Data: configurationEvent{}},
	)
	for name, about := range map[string]string{
		"site.created": "Somebody has made a site.", "site.changed": "Somebody has changed what is known of a site.",
		"site.deleted": "Somebody has deleted a site.", "site.shared": "Somebody has changed whom a site belongs to.",
	} {
		types = append(types, schema.Type{Name: name, About: about, Data: siteEvent{}})
	}
	for name, about := range map[string]string{
		"user.created": "There is a new user.", "user.updated": "A user has changed.", "user.verified": "A user's address is verified.",
		"user.deactivated": "A user may not log in any more.", "user.reactivated": "A user may log in again.", "membership.changed": "A user's role has changed.",
	} {
		types = append(types, schema.Type{Name: name, About: about, Data: userEvent{}})
	}
	return types
}

// What the tier's modules write without a type of their own.
type (
	siteEvent struct {
		Site    string         `json:"site"`
		By      string         `json:"by"`
		Domain  string         `json:"domain,omitempty"`
		Owner   string         `json:"owner,omitempty"`
		Shared  []string       `json:"shared,omitempty"`
		Facts   map[string]any `json:"facts,omitempty"`
		Deleted any            `json:"deleted,omitempty"`
	}
	userEvent struct {
		User   string `json:"user"`
		Email  string `json:"email"`
		Name   string `json:"name"`
		Org    string `json:"org"`
		Domain string `json:"domain,omitempty"`
		Role   any    `json:"role,omitempty"`
	}
	desiredEvent struct {
		Site       string `json:"site"`
		DesiredRev uint64 `json:"desired_rev"`
		Author     string `json:"author"`
		Note       string `json:"note"`
	}
	configurationEvent struct {
		Site       string   `json:"site"`
		DesiredRev uint64   `json:"desired_rev"`
		AppliedRev uint64   `json:"applied_rev"`
		RefusedRev uint64   `json:"refused_rev"`
		Reasons    []string `json:"reasons"`
		OnTrial    bool     `json:"on_trial"`
	}
)

// openSchemas serves the schemas of events.
func (t *Tier) openSchemas(context.Context) (part, error) {
	c, err := schema.New(eventTypes()...)
	if err != nil {
		return part{}, err
	}
	return part{routes: c.Routes()}, nil
}
