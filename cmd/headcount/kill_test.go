//go:build integration

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// killStorm feeds the rig by every transport while it kills the hub, and now and then the cloud
// with its NATS server, at random moments, and returns what the oracle finds wrong.
func killStorm(t *testing.T, r *rig, seed uint64, kills int) []string {
	t.Helper()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	r.startHub()
	r.inputsUp() // from now on mosquitto keeps what the hub misses
	f := r.feed(1, transports...)
	moment := time.NewTimer(0)
	defer moment.Stop()
	clouds := 0
	for range kills {
		within := 5 * time.Millisecond // of an acknowledgement
		if rnd.IntN(4) == 0 {
			within = 300 * time.Millisecond // of its own start
		} else {
			r.hubServes()
			if err := f.more(1 + rnd.Int64N(100)); err != nil {
				t.Fatalf("seed %d: %v\nhub:\n%s", seed, err, r.hub.tail())
			}
		}
		moment.Reset(rand.N(within))
		<-moment.C
		if rnd.IntN(6) == 0 {
			r.cloud.kill()
			r.spawnCloud()
			clouds++
		}
		r.hub.kill()
		r.spawnHub()
	}
	r.cloudServes()
	r.hubServes()
	f.end()
	r.flushed()
	r.drained(2 * time.Minute)
	r.stop()
	t.Logf("%d kills of the hub, %d of the cloud, %d readings acknowledged", kills, clouds, f.total)
	return f.judge(r.applied())
}

// flushed waits until the hub has taken in all that waits at mosquitto: a last message of a device
// of its own comes behind it.
func (r *rig) flushed() {
	r.t.Helper()
	if err := byMQTT(r.mosquitto, "mosquitto")(r.t.Context(), "end", 1, body("end", 1)); err != nil {
		r.t.Fatal(err)
	}
	r.until("mosquitto's queue is empty", time.Minute, func() bool {
		var list struct{ Devices []edge.Device }
		return get(r.hubURL+"/v1/devices", &list) && slices.ContainsFunc(list.Devices, func(d edge.Device) bool {
			return d.Address == "end"
		})
	})
}

// Every acknowledged reading is applied in the cloud exactly once and in order, whenever hub and
// cloud are killed; nothing was declared lost; the journal's inputs give every output again, and
// the cloud's copy of the chain is whole.
func TestIntegrationKilledHubLosesNothing(t *testing.T) {
	seed := seedOf(t)
	r := newRig(t, "", "")
	if wrong := killStorm(t, r, seed, kills(100)); len(wrong) > 0 {
		t.Errorf("seed %d: %d violations, first: %s", seed, len(wrong), strings.Join(wrong[:min(5, len(wrong))], "; "))
	}
	r.consistent()
	if lost := r.declared(); len(lost) > 0 {
		t.Errorf("seed %d: a kill lets the hub declare records lost: %+v", seed, lost)
	}
}

// The same test catches a hub that answers before the commit.
func TestIntegrationKillTestCatchesAnEarlyAnswer(t *testing.T) {
	seed := seedOf(t)
	wrong := killStorm(t, newRig(t, "control_ack_early", ""), seed, kills(25))
	if !slices.ContainsFunc(wrong, func(s string) bool { return strings.HasPrefix(s, "I1") }) {
		t.Fatalf("seed %d: the control build answers before the commit, and no loss was found: %v", seed, wrong)
	}
	t.Logf("control caught, seed %d: %d violations, first: %s", seed, len(wrong), wrong[0])
}

// consistent runs the operator's checks on both stores, whose processes are stopped.
func (r *rig) consistent() {
	r.t.Helper()
	for _, cmd := range []*exec.Cmd{
		exec.Command(r.hubBinary, "journal", "verify", "--config", r.config),
		exec.Command(r.cloudBinary, "audit", "--data", r.cloudDir()),
	} {
		cmd.Dir = r.dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			r.t.Errorf("%s: %v\n%s", strings.Join(cmd.Args[1:3], " "), err, out)
			continue
		}
		r.t.Log(strings.TrimSpace(string(out)))
	}
}

// kills is HEADCOUNT_KILLS, for a longer storm, or n.
func kills(n int) int {
	if k, err := strconv.Atoi(os.Getenv("HEADCOUNT_KILLS")); err == nil && k > 0 {
		return k
	}
	return n
}

// seedOf is HEADCOUNT_SEED, or a fresh one.
func seedOf(t *testing.T) uint64 {
	if s := os.Getenv("HEADCOUNT_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(fmt.Errorf("HEADCOUNT_SEED: %w", err))
		}
		return n
	}
	return rand.Uint64()
}
