package replay_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/replay"
)

// badges is a day of 120 people with badges at a door with readers on both sides: lines of
// readings, and the truth. A share of those who come in follows somebody without showing a badge,
// and so does a share of those who leave; one in ten is denied first.
func badges(seed uint64, follow float64) (lines []string, truth string) {
	rnd := rand.New(rand.NewPCG(seed, 5))
	type passage struct {
		at time.Time
		by int
	}
	day := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	var all []passage
	for range 120 {
		come := day.Add(8*time.Hour + time.Duration(rnd.IntN(5400))*time.Second)
		all = append(all, passage{come, 1}, passage{come.Add(6*time.Hour + time.Duration(rnd.IntN(3*3600))*time.Second), -1})
	}
	slices.SortFunc(all, func(a, b passage) int { return a.at.Compare(b.at) })
	var csv strings.Builder
	csv.WriteString("time,space,count\n")
	n, at := 0, day.Add(7*time.Hour)
	for i, p := range all {
		for ; at.Before(p.at); at = at.Add(5 * time.Minute) {
			fmt.Fprintf(&csv, "%s,hall,%d\n", at.Format(time.RFC3339), n)
		}
		n += p.by
		say := func(word string) {
			lines = append(lines, fmt.Sprintf(`{"rx":%q,"sensor":"reader","seq":"%d%s","access":%q,"direction":%q,"badge":"b%d"}`,
				p.at.Format(time.RFC3339), i, word, word, map[int]string{1: "in", -1: "out"}[p.by], i))
		}
		if rnd.IntN(10) == 0 {
			say("denied")
		}
		if rnd.Float64() >= follow {
			say("granted")
		}
	}
	return lines, csv.String()
}

func hall(params map[string]float64) *edge.Site {
	return &edge.Site{
		ID: "s", Spaces: []edge.Space{{ID: "hall", Kind: edge.Room, Capacity: 150}},
		Doors:   []edge.Door{{ID: "entrance", Between: [2]string{edge.Outside, "hall"}}},
		Sensors: []edge.Sensor{{ID: "reader", Class: edge.Badge, Door: "entrance", Params: params}},
	}
}

// Where nobody can pass without a badge, the count is ins less outs, at every minute; where some
// do, it is near, and the interval says so.
func TestADayOfBadges(t *testing.T) {
	lines, truth := badges(1, 0)
	strict := map[string]float64{"miss_in": 0, "miss_out": 0, "false_rate": 0}
	r := run(t, replay.Options{Site: hall(strict), In: write(t, "in.jsonl", strings.Join(lines, "\n")), Truth: write(t, "truth.csv", truth)})
	if *r.N < 100 || *r.MAE > .02 {
		t.Errorf("with a turnstile: n %d, mae %v; want ins less outs", *r.N, *r.MAE)
	}
	var usual figures
	const seeds = 4
	for seed := range uint64(seeds) {
		lines, truth := badges(seed, .03)
		usual.add(run(t, replay.Options{Site: hall(nil), In: write(t, "in.jsonl", strings.Join(lines, "\n")), Truth: write(t, "truth.csv", truth)}).figures, seeds)
	}
	t.Logf("3 %% follow others: mae %.2f, coverage %.2f, presence accuracy %.3f", *usual.MAE, *usual.Coverage90, *usual.PresenceAccuracy)
	if *usual.MAE > 3 || *usual.Coverage90 < .9 || *usual.PresenceAccuracy < .99 {
		t.Errorf("3 %% follow others: mae %v, coverage %v, presence accuracy %v", *usual.MAE, *usual.Coverage90, *usual.PresenceAccuracy)
	}
}
