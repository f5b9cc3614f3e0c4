package replay_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/replay"
)

type figures struct {
	N                  *int     `json:"n"`
	MAE                *float64 `json:"mae"`
	RMSE               *float64 `json:"rmse"`
	PresenceAccuracy   *float64 `json:"presence_accuracy"`
	PresenceF1         *float64 `json:"presence_f1"`
	Brier              *float64 `json:"brier"`
	Coverage90         *float64 `json:"coverage90"`
	Coverage90Occupied *float64 `json:"coverage90_occupied"`
	IntervalScore      *float64 `json:"interval_score"`
}

type result struct {
	figures
	StateHash string   `json:"state_hash"`
	Live      *figures `json:"live"`
}

func run(t testing.TB, o replay.Options) result {
	t.Helper()
	var out bytes.Buffer
	if err := replay.Run(context.Background(), o, &out); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(&out)
	dec.DisallowUnknownFields()
	var r result
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	return r
}

func fails(t testing.TB, o replay.Options, want string) {
	t.Helper()
	var out bytes.Buffer
	err := replay.Run(context.Background(), o, &out)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}

// TestEstimateIsGood holds the quality of the estimator on streams that it was not made for.
func TestEstimateIsGood(t *testing.T) {
	var withMotion, doorOnly figures
	const seeds = 4
	for seed := range uint64(seeds) {
		rec := simulate(seed, 7)
		o := replay.Options{Site: roomSite(), In: write(t, "in.jsonl", strings.Join(rec.lines, "\n")), Truth: write(t, "truth.csv", rec.truth)}
		withMotion.add(run(t, o).figures, seeds)
		o.Site = roomSite(edge.Sensor{ID: "door1", Class: edge.LineThermopile, Door: "door"})
		doorOnly.add(run(t, o).figures, seeds)
	}
	check := func(what string, got *float64, low, high float64) {
		if *got < low || *got > high {
			t.Errorf("%s is %.4f, want %v to %v", what, *got, low, high)
		} else {
			t.Logf("%s %.4f", what, *got)
		}
	}
	check("mae", withMotion.MAE, 0, .20)
	check("rmse", withMotion.RMSE, 0, .60)
	check("presence accuracy", withMotion.PresenceAccuracy, .985, 1)
	check("coverage where occupied", withMotion.Coverage90Occupied, .84, .98)
	check("mae, door only", doorOnly.MAE, 0, .50)
	check("rmse, door only", doorOnly.RMSE, 0, 1.0)
	check("presence accuracy, door only", doorOnly.PresenceAccuracy, .88, 1)
	check("coverage, door only", doorOnly.Coverage90, .88, 1)
}

// add adds the n-th part of other.
func (f *figures) add(other figures, n float64) {
	for _, p := range [...][2]**float64{
		{&f.MAE, &other.MAE}, {&f.RMSE, &other.RMSE}, {&f.PresenceAccuracy, &other.PresenceAccuracy},
		{&f.Coverage90, &other.Coverage90}, {&f.Coverage90Occupied, &other.Coverage90Occupied},
	} {
		if *p[0] == nil {
			*p[0] = new(float64)
		}
		**p[0] += **p[1] / n
	}
}

// TestFiguresAreComplete: all figures are there, for the final history and for what was known
// at the time.
func TestFiguresAreComplete(t *testing.T) {
	rec := simulate(1, 2)
	o := replay.Options{Site: roomSite(), In: write(t, "in.jsonl", strings.Join(rec.lines, "\n")), Truth: write(t, "truth.csv", rec.truth)}
	r := run(t, o)
	for name, f := range map[string]*figures{"final": &r.figures, "live": r.Live} {
		if f == nil || f.N == nil || *f.N != 2*288 {
			t.Fatalf("%s: n is missing or wrong: %+v", name, f)
		}
		for i, x := range []*float64{f.MAE, f.RMSE, f.PresenceAccuracy, f.PresenceF1, f.Brier, f.Coverage90, f.Coverage90Occupied, f.IntervalScore} {
			if x == nil {
				t.Errorf("%s: figure %d is missing", name, i)
			}
		}
	}
	if *r.Live.MAE < *r.MAE {
		t.Errorf("live MAE %v is below the final one %v, though three hours arrived late", *r.Live.MAE, *r.MAE)
	}
	o.Truth = ""
	without := run(t, o)
	if without.N != nil || without.Live != nil || len(without.StateHash) != 64 {
		t.Errorf("without truth got %+v, want only the hash", without)
	}
}

// TestOrderDoesNotMatter: the same readings in any order, also repeated, end in the same
// history.
func TestOrderDoesNotMatter(t *testing.T) {
	rec := simulate(2, 2)
	in := write(t, "in.jsonl", strings.Join(rec.lines, "\n"))
	want := run(t, replay.Options{Site: roomSite(), In: in}).StateHash
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Int64().Draw(rt, "seed")
		if got := run(t, replay.Options{Site: roomSite(), In: in, Shuffle: &seed}).StateHash; got != want {
			rt.Fatalf("--shuffle %d: %s, want %s", seed, got, want)
		}
		lines := append([]string(nil), rec.lines...)
		lines = append(lines, lines[:20]...)
		rand.New(rand.NewPCG(uint64(seed), 2)).Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		o := replay.Options{Site: roomSite(), In: "-", Stdin: strings.NewReader(strings.Join(lines, "\n"))}
		if got := run(t, o).StateHash; got != want {
			rt.Fatalf("lines in another order: %s, want %s", got, want)
		}
	})
}

// TestAnyChangeShows: a reading that is lost or changed gives another history.
func TestAnyChangeShows(t *testing.T) {
	rec := simulate(3, 2)
	hash := func(lines []string) string {
		return run(t, replay.Options{Site: roomSite(), In: "-", Stdin: strings.NewReader(strings.Join(lines, "\n"))}).StateHash
	}
	want := hash(rec.lines)
	for i := 0; i < len(rec.lines); i += 7 {
		line := rec.lines[i]
		if strings.Count(strings.Join(rec.lines, "\n"), line[40:]) > 1 {
			continue // it has a duplicate
		}
		changed := strings.NewReplacer("true", "false", "false", "true", `"count_in":`, `"count_in":1`).Replace(line)
		lines := append([]string(nil), rec.lines...)
		if lines[i] = changed; hash(lines) == want {
			t.Errorf("%s\ninstead of\n%s\ngives the same history", changed, line)
		}
	}
}

// TestHistoryHasItsShape: one line per space and step, from the first reading on, each with all
// its keys; the hash is that of the file.
func TestHistoryHasItsShape(t *testing.T) {
	rec := simulate(4, 1)
	out := filepath.Join(t.TempDir(), "out.jsonl")
	r := run(t, replay.Options{Site: roomSite(), In: write(t, "in.jsonl", strings.Join(rec.lines, "\n")), Out: out, Every: time.Hour})
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != r.StateHash {
		t.Errorf("state_hash %s is not that of the file", r.StateHash)
	}
	var last time.Time
	for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"t", "space", "state", "count", "mean", "low", "high", "p_occupied", "quality"} {
			if _, ok := got[key]; !ok || len(got) != 9 {
				t.Fatalf("line %s: want the nine keys", line)
			}
		}
		at, err := time.Parse(time.RFC3339, got["t"].(string))
		if err != nil || !at.Equal(at.Truncate(time.Hour)) || i > 0 && at.Sub(last) != time.Hour {
			t.Errorf("step %s after %s, want full hours", at, last)
		}
		if unknown := got["state"] == "unknown"; unknown != (got["count"] == nil) {
			t.Errorf("state and count disagree in %s", line)
		}
		last = at
	}
}

// TestInputThatCannotBeUsed: bad lines are named and left out, sensors of other sites counted.
func TestInputThatCannotBeUsed(t *testing.T) {
	in := write(t, "in.jsonl", strings.Join([]string{
		`{"rx":"2026-09-07T08:00:00Z","sensor":"pir1","motion":true}`,
		`{"rx":"2026-09-07T08:01:00Z","sensor":"pir1","motion":"yes"}`,
		`{"rx":"2026-09-07T08:02:00Z","sensor":"pir1","motion":tr`,
		``,
		`{"rx":"2026-09-07T08:02:00Z","sensor":"stranger","motion":true}`,
		`{"rx":"2026-09-07T08:03:00Z","sensor":"door1","count_in":1,"count_out":0,"battery_pct":80}`,
	}, "\n"))
	var notes bytes.Buffer
	run(t, replay.Options{Site: roomSite(), In: in, Notes: &notes})
	for _, want := range []string{in + ":2: ", in + ":3: ", "2 lines left out", `1 readings of sensor "stranger"`} {
		if !strings.Contains(notes.String(), want) {
			t.Errorf("notes lack %q:\n%s", want, notes.String())
		}
	}
	fails(t, replay.Options{Site: roomSite(), In: write(t, "none", "\n\n")}, "no readings")
	fails(t, replay.Options{Site: roomSite(), In: filepath.Join(t.TempDir(), "missing")}, "missing")
	fails(t, replay.Options{Site: roomSite(), In: in, Every: 100 * time.Millisecond}, "whole seconds")
	fails(t, replay.Options{Site: roomSite(), In: in, Truth: write(t, "t", "when,count\n")}, "want time,count")
	fails(t, replay.Options{Site: roomSite(), In: in, Truth: write(t, "t", "time,count\n2026-09-07T08:00:00Z,-1\n")}, "line 2: count")
	fails(t, replay.Options{Site: roomSite(), In: in, Truth: write(t, "t", "time,space,count\n2026-09-07T08:00:00Z,attic,1\n")}, `no space "attic"; the site has room`)
	two := roomSite()
	two.Spaces = append(two.Spaces, edge.Space{ID: "hall", Kind: edge.Room})
	two.Doors[0].Between[0] = "hall"
	fails(t, replay.Options{Site: two, In: in, Truth: write(t, "t", "time,count\n2026-09-07T08:00:00Z,1\n")}, "room, hall")
}

// TestTruthOfSeveralSpaces: each count is compared with its own space.
func TestTruthOfSeveralSpaces(t *testing.T) {
	site := roomSite(edge.Sensor{ID: "cam-1", Class: edge.ZoneCount, Space: "room"}, edge.Sensor{ID: "cam-2", Class: edge.ZoneCount, Space: "hall"})
	site.Spaces = append(site.Spaces, edge.Space{ID: "hall", Kind: edge.Room, Capacity: 10})
	var lines []string
	for _, m := range []string{"00", "01", "02", "03", "04"} {
		lines = append(lines,
			`{"rx":"2026-09-07T08:`+m+`:00Z","sensor":"cam-1","count_abs":3}`,
			`{"rx":"2026-09-07T08:`+m+`:00Z","sensor":"cam-2","count_abs":7}`)
	}
	var notes strings.Builder
	o := replay.Options{Site: site, In: write(t, "in", strings.Join(lines, "\n")), Notes: &notes,
		Truth: write(t, "truth", "time,space,count\n2026-09-07T08:05:00Z,hall,7\n2026-09-07T08:05:00Z,room,3\n2026-09-07T07:00:00Z,room,0\n")}
	r := run(t, o)
	if *r.N != 3 || *r.MAE != 0 || *r.PresenceAccuracy != 1 || *r.Brier > .1 {
		t.Errorf("got n %d, mae %v, accuracy %v, brier %v; want 3, 0, 1, about .25/3", *r.N, *r.MAE, *r.PresenceAccuracy, *r.Brier)
	}
	if want := "for 1 of 3 counts the space was unknown"; !strings.Contains(notes.String(), want) {
		t.Errorf("notes %q lack %q", notes.String(), want)
	}
	o.Truth = ""
	if alone := run(t, o); alone.StateHash != r.StateHash {
		t.Errorf("the history is %s without a truth, %s with one", alone.StateHash, r.StateHash)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	rec := simulate(5, 1)
	o := replay.Options{Site: roomSite(), In: "-", Stdin: strings.NewReader(strings.Join(rec.lines, "\n"))}
	if err := replay.Run(ctx, o, &bytes.Buffer{}); err == nil {
		t.Error("went on after its context had ended")
	}
}
