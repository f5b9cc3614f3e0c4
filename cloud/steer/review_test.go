package steer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Whoever runs a hub must not get a token by which it could act as the caller elsewhere.
func TestTheCallersOwnTokenStaysInTheCloud(t *testing.T) {
	r := newRig(t)
	r.who = &token.Identity{Kind: token.User, Subject: "u1", Name: "Ada", Session: "s1", Issued: time.Now(), Expires: time.Now().Add(time.Hour),
		Memberships: []token.Membership{{Domain: "acme", Role: token.Admin}, {Domain: "initech", Role: token.Admin}}}
	got := make(chan wire.Command, 1)
	r.serve(func(cmd wire.Command) edge.CommandResult {
		got <- cmd
		return edge.CommandResult{ID: cmd.Command.ID, Applied: true}
	})
	const own = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1MSJ9.c2ln"
	if status, body := r.call("PUT", "/spaces/hall/count", "Authorization: Bearer "+own, `{"count":3}`, nil); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if cmd := <-got; cmd.Token == own {
		t.Error("the hub got the caller's own token")
	}
	id := r.asked.Load()
	want := []token.Membership{{Domain: "acme", Role: token.Manager}}
	if id.Kind != token.Service || id.Allows("read") || id.Allows("write") || !id.Allows(token.CommandPermission) || !slices.Equal(id.Memberships, want) || id.Session != "" || id.Name != "Ada" {
		t.Errorf("the command's token says %+v", id)
	}
}

func TestDevicesAreTheOwnersManagersToApprove(t *testing.T) {
	r := newRig(t)
	r.serve(func(cmd wire.Command) edge.CommandResult {
		return edge.CommandResult{ID: cmd.Command.ID, Applied: true}
	})
	ask := func(domain string, role token.Role) []int {
		r.who = &token.Identity{Kind: token.User, Subject: "u", Name: "U", Memberships: []token.Membership{{Domain: domain, Role: role}}}
		a, _ := r.call("POST", "/devices/d1/ignore", "", ``, nil)
		b, _ := r.call("POST", "/commands", "", `{"kind":"device.ignore","subject":"d1"}`, nil)
		c, _ := r.call("PUT", "/spaces/hall/count", "", `{"count":1}`, nil)
		return []int{a, b, c}
	}
	for _, tc := range []struct {
		domain string
		role   token.Role
		want   []int
	}{
		{"acme", token.Operator, []int{403, 403, 200}}, {"acme", token.Manager, []int{200, 200, 200}}, {"globex", token.Manager, []int{403, 403, 200}},
	} {
		if got := ask(tc.domain, tc.role); !slices.Equal(got, tc.want) {
			t.Errorf("%s in %s: %v, want %v", tc.role, tc.domain, got, tc.want)
		}
	}
}

func TestAnIdempotencyKeyIsForOneCommand(t *testing.T) {
	r := newRig(t)
	ids := make(chan string, 2)
	r.serve(func(cmd wire.Command) edge.CommandResult {
		ids <- cmd.Command.ID
		return edge.CommandResult{ID: cmd.Command.ID, Applied: true}
	})
	r.who.Subject = "https://old.example.org#" + strings.Repeat("x", 100)
	key := "Idempotency-Key: " + strings.Repeat("k", 64)
	if status, body := r.call("PUT", "/spaces/hall/count", key, `{"count":3}`, nil); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if id := <-ids; len(id) > 100 {
		t.Errorf("the id has %d bytes; hubs take 128", len(id))
	}
	if status, _ := r.call("PUT", "/spaces/lab/count", key, `{"count":3}`, nil); status != 422 {
		t.Errorf("the same key for another space: %d", status)
	}
}

func TestHubsThatAreAwayHoldUpNoOthers(t *testing.T) {
	r := newRig(t)
	got := make(chan string, 1)
	r.serve(func(cmd wire.Command) edge.CommandResult {
		got <- cmd.Command.Subject
		return edge.CommandResult{ID: cmd.Command.ID, Applied: true}
	})
	r.stale.Store(true)
	must(t, r.db.Update(t.Context(), func(tx *store.Tx) error {
		away, err := tx.Site("globex", "away", time.Now())
		if err != nil {
			return err
		}
		for i := range 600 {
			if err := r.KeepAcknowledgement(tx, away, fmt.Sprintf("old-%d", i), "", r.who); err != nil {
				return err
			}
		}
		return r.KeepAcknowledgement(tx, r.site, "ours", "", r.who)
	}))
	r.away.Store(true)
	r.stale.Store(false)
	must(t, r.db.Update(t.Context(), func(tx *store.Tx) error { return r.KeepAcknowledgement(tx, r.site, "wakes it", "", r.who) }))
	select {
	case alert := <-got:
		if alert != "ours" {
			t.Errorf("the hub is told of %s", alert)
		}
	case <-time.After(9 * time.Second):
		t.Fatal("the hub was not told")
	}
}

func TestOldRevisionsAreForgotten(t *testing.T) {
	r := newRig(t)
	for i := range 205 {
		body := fmt.Sprintf(`{"spaces":[{"id":"hall","kind":"room","capacity":%d}]}`, i+1)
		if status, answer := r.call("PUT", "/twin/desired", "If-Match: *", body, nil); status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
	}
	var n int
	must(t, r.db.QueryRow(t.Context(), `SELECT count(*) FROM steer_desired`).Scan(&n))
	if n != 200 {
		t.Errorf("%d revisions are kept, want 200", n)
	}
}

func TestAHubCannotMakeRevisionsOverflow(t *testing.T) {
	r := newRig(t)
	r.pull(wire.ConfigRequest{Have: 1<<64 - 1})
	var d struct {
		Rev uint64 `json:"desired_rev"`
	}
	if status, body := r.call("PUT", "/twin/desired", "If-Match: *", `{"spaces":[{"id":"hall","kind":"room"}]}`, &d); status != 200 || d.Rev != 1 {
		t.Errorf("the next revision: %d %s", status, body)
	}
}
