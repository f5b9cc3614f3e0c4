package engine_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/alerts"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/edge/journal"
)

// A configuration that comes while the site runs keeps what is known, one that cannot be changes
// nothing, and both stand in the journal so that a replay gives the same outputs.
func TestConfigureWhileRunning(t *testing.T) {
	b := start1(t)
	b.put(edge.Accepted, edge.Reading{Device: "cam-lab", Values: []edge.Value{edge.NumberValue(edge.CountIn, edge.Cumulative, 0), edge.NumberValue(edge.CountOut, edge.Cumulative, 0)}})
	next := setup()
	next.Hash, next.Revision = "two", 12
	next.Site.Spaces = append(slices.Clone(next.Site.Spaces), edge.Space{ID: "attic", Kind: edge.Room})
	if err := b.Configure(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if got := len(b.Snapshot().Site.Spaces); got != 3 {
		t.Errorf("%d spaces, want 3", got)
	}
	bad := next
	bad.Rules = []alerts.Rule{{Name: "nonsense", ForEach: "space", When: "cuont >"}}
	if err := b.Configure(t.Context(), bad); !errors.Is(err, engine.ErrSetup) {
		t.Errorf("an impossible configuration: %v, want ErrSetup", err)
	}
	if err := b.Refused(t.Context(), engine.RefusedSetup{Revision: 13, Reasons: []string{"why not"}, Runs: 12}); err != nil {
		t.Fatal(err)
	}
	b.put(edge.Accepted, edge.Reading{Device: "cam-lab", Values: []edge.Value{edge.NumberValue(edge.CountIn, edge.Cumulative, 2), edge.NumberValue(edge.CountOut, edge.Cumulative, 0)}})
	b.stop()

	j, err := journal.Open(journal.Options{Dir: b.dir, Source: "hq", ReadOnly: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if n, err := engine.Verify(j); err != nil || n == 0 {
		t.Errorf("verify: %d outputs, %v", n, err)
	}
	var applied, refused string
	for c, err := range j.Commits(0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Records {
			switch edge.EventType(r.Type) {
			case edge.ConfigApplied:
				applied = string(r.Data)
			case edge.ConfigRefused:
				refused = string(r.Data)
			}
		}
	}
	if !strings.Contains(applied, `"revision":12`) || !strings.Contains(refused, `"why not"`) || !strings.Contains(refused, `"revision":13`) {
		t.Errorf("applied %s, refused %s", applied, refused)
	}
}
