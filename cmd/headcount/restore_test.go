//go:build integration

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/journal"
)

// The broker's store is wiped, again and again in the midst of traffic, while the cloud's
// database stays: the cloud ends complete.
func TestIntegrationWipedBrokerStoreLosesNothing(t *testing.T) {
	r := newRig(t, "", "")
	r.startHub()
	r.inputsUp()
	f := r.feed(1, "broker", "http")
	for range 4 {
		if err := f.more(200); err != nil {
			t.Fatal(err)
		}
		r.cloud.kill()
		store := filepath.Join(r.cloudDir(), "nats", "jetstream")
		if _, err := os.Stat(store); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(store); err != nil {
			t.Fatal(err)
		}
		if err := f.more(200); err != nil { // while the cloud is away
			t.Fatal(err)
		}
		r.startCloud()
	}
	f.end()
	r.drained(2 * time.Minute)
	r.stop()
	if wrong := f.judge(r.applied()); len(wrong) > 0 {
		t.Errorf("%d violations, first: %s", len(wrong), strings.Join(wrong[:min(5, len(wrong))], "; "))
	}
	if lost := r.declared(); len(lost) > 0 {
		t.Errorf("records are declared lost: %+v", lost)
	}
	r.consistent()
	t.Logf("4 wiped stores, %d readings acknowledged, all applied once", f.total)
}

// A hub's store is replaced by an old copy of itself. The cloud refuses its chain, a new epoch
// begins, and no record of either history is lost or overwritten without being declared.
func TestIntegrationRestoredStoreBeginsANewEpoch(t *testing.T) {
	r := newRig(t, "", "")
	r.startHub()
	r.inputsUp()
	before := r.fed(1, 200)
	r.drained(time.Minute)
	r.hub.kill()
	backup := filepath.Join(r.dir, "backup")
	if err := os.CopyFS(backup, os.DirFS(r.hubDir())); err != nil {
		t.Fatal(err)
	}
	r.startHub()
	first := r.fed(1_000_000, 300)
	r.drained(time.Minute)
	var old status
	if !get(r.hubURL+"/v1/status", &old) {
		t.Fatal("no status")
	}
	r.hub.kill()
	if err := os.RemoveAll(r.hubDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(r.hubDir(), os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}

	// The second history begins while the cloud is away, over a kill.
	r.cloud.kill()
	r.startHub()
	second := r.feed(2_000_000, "http")
	for range 2 {
		if err := second.more(200); err != nil {
			t.Fatal(err)
		}
		r.hub.kill()
		r.startHub()
	}
	r.startCloud()
	r.until("a new epoch begins", time.Minute, func() bool {
		var s status
		return get(r.hubURL+"/v1/status", &s) && s.Epoch != "" && s.Epoch != old.Epoch
	})
	if err := second.more(200); err != nil {
		t.Fatal(err)
	}
	second.end()
	r.drained(time.Minute)
	r.lossIsTold()
	r.stop()

	applied := r.applied()
	for _, f := range []*feed{before, first} {
		if wrong := f.judge(only(applied, f.first)); len(wrong) > 0 {
			t.Errorf("the first history, from %d: %d violations, first: %s", f.first, len(wrong), wrong[0])
		}
	}
	declared, missing := r.declared(), 0
	places := r.places()
	for _, wrong := range second.judge(only(applied, second.first)) {
		reading, lost := strings.CutPrefix(wrong, "I1 ")
		if !lost {
			t.Error(wrong)
			continue
		}
		missing++
		sensor, rest, _ := strings.Cut(reading, ": reading ")
		number, _, _ := strings.Cut(rest, " ")
		at, ok := places[sensor+"/"+number]
		if !ok || !slices.ContainsFunc(declared, func(l journal.Lost) bool {
			return l.Epoch == at.Epoch && l.Lane == at.Lane && l.From <= at.Seq && at.Seq <= l.To
		}) {
			t.Errorf("%s, and not declared", wrong)
		}
	}
	r.consistent()
	t.Logf("%d+%d readings of the first history and %d of the second are applied, %d of the second are declared lost in %d ranges",
		before.total, first.total, second.total-int64(missing), missing, len(declared))
}

// fed feeds n readings over HTTP and waits for the answers.
func (r *rig) fed(first int, n int64) *feed {
	r.t.Helper()
	f := r.feed(first, "http")
	if err := f.more(n); err != nil {
		r.t.Fatal(err)
	}
	f.end()
	return f
}

// only keeps the readings of one feed: those within a million of its first.
func only(applied map[string][]string, first int) map[string][]string {
	out := map[string][]string{}
	for sensor, ids := range applied {
		for _, s := range ids {
			if n := number(s); n >= first && n < first+999_000 {
				out[sensor] = append(out[sensor], s)
			}
		}
	}
	return out
}

// places finds every reading that the hub's store holds: the record that it stands in. The hub
// must be stopped.
func (r *rig) places() map[string]edge.Record {
	r.t.Helper()
	j, err := journal.Open(journal.Options{Dir: filepath.Join(r.hubDir(), "journal"), ReadOnly: true})
	if err != nil {
		r.t.Fatal(err)
	}
	defer j.Close()
	out := map[string]edge.Record{}
	for rec, err := range j.Scan(edge.Readings, time.Time{}, time.Now().Add(time.Hour)) {
		if err != nil {
			r.t.Fatal(err)
		}
		for _, x := range readings(r.t, rec) {
			out[x.Seq] = rec
		}
	}
	return out
}

// lossIsTold checks that hub and cloud show the declared loss to people.
func (r *rig) lossIsTold() {
	r.t.Helper()
	for _, url := range []string{r.hubURL + "/v1/loss", "http://" + r.cloudHTTP + "/v1/sites/" + rigSite + "/loss"} {
		r.until(url+" tells what was lost", 10*time.Second, func() bool {
			var ledger struct{ Loss []edge.LossEntry }
			return get(url, &ledger) && slices.ContainsFunc(ledger.Loss, func(e edge.LossEntry) bool {
				return e.Cause == "new epoch" && e.Source == "lane readings" && e.Count > 0
			})
		})
	}
}
