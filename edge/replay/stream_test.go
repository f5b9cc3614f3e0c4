package replay_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// recording is a simulated week of one meeting room: who was there, and what its sensors sent.
type recording struct {
	lines []string // as a gateway would have received them
	truth string   // CSV
}

// simulate makes a recording: meetings of a few people, a door counter that misses people the
// more the larger the group is, a motion sensor with a hold of 60 s, a counter that rolls over
// and restarts, an outage with back-filled records, late records and duplicates.
func simulate(seed uint64, days int) recording {
	s := &simulation{rnd: rand.New(rand.NewPCG(seed, 1)), in: 65400, out: 120}
	var truth strings.Builder
	truth.WriteString("time,count\n")
	start := time.Date(2026, 9, 7, 0, 0, 0, 0, time.UTC)
	for d := range days {
		for i, n := range s.day() {
			at := start.Add(time.Duration(d*288+i) * step)
			fmt.Fprintf(&truth, "%s,%d\n", at.Format(time.RFC3339), n)
			if d == days/2 && i == 0 {
				s.in, s.out = 0, 0
			}
			s.walk(at, n)
		}
	}
	return recording{s.deliver(start.Add(34 * time.Hour)), truth.String()}
}

const step = 5 * time.Minute

type simulation struct {
	rnd     *rand.Rand
	people  int
	in, out int
	seq     int
	lit     time.Time // last detection of the motion sensor while it is on
	sent    []sent
}

type sent struct {
	at   time.Time
	body string
}

// day draws the head count of each 5 minutes of a working day.
func (s *simulation) day() []int {
	counts := make([]int, 288)
	for i := 96; i < 210; {
		length, n := 4+s.rnd.IntN(14), 1+s.rnd.IntN(12)
		if s.rnd.IntN(3) > 0 {
			for j := i; j < i+length; j++ {
				counts[j] = n
				if s.rnd.IntN(10) == 0 {
					n = max(1, n+s.rnd.IntN(3)-1)
				}
			}
		}
		i += length + 1 + s.rnd.IntN(6)
	}
	return counts
}

// walk moves people in the 5 minutes up to at, so that n are there then.
func (s *simulation) walk(at time.Time, n int) {
	group := n - s.people
	moves := make([]time.Duration, max(group, -group))
	for i := range moves {
		moves[i] = time.Duration(s.rnd.Int64N(int64(step)))
	}
	slices.Sort(moves)
	from := at.Add(-step)
	for slot := range 10 {
		end := time.Duration(slot+1) * 30 * time.Second
		for len(moves) > 0 && moves[0] < end {
			s.pass(from.Add(moves[0]), group)
			moves = moves[1:]
		}
		s.look(from.Add(end))
	}
}

func (s *simulation) pass(at time.Time, group int) {
	miss, counter := .04, &s.in
	if group < 0 {
		miss, counter = .06, &s.out
		s.people--
	} else {
		s.people++
	}
	miss = min(.5, miss*(1+.15*float64(max(0, max(group, -group)-2))))
	if s.rnd.Float64() < miss {
		return
	}
	*counter = (*counter + 1) % 65536
	s.seq = (s.seq + 1) % 256
	s.send(at, `"sensor":"door1","seq":%d,"count_in":%d,"count_out":%d`, s.seq, s.in, s.out)
}

func (s *simulation) look(at time.Time) {
	if s.rnd.Float64() < [4]float64{.002, .35, .61, .77}[min(s.people, 3)] {
		if s.lit.IsZero() {
			s.send(at, `"sensor":"pir1","motion":true`)
		}
		s.lit = at
	} else if !s.lit.IsZero() && at.Sub(s.lit) >= time.Minute {
		s.lit = time.Time{}
		s.send(at, `"sensor":"pir1","motion":false`)
	}
}

func (s *simulation) send(at time.Time, format string, args ...any) {
	s.sent = append(s.sent, sent{at, fmt.Sprintf(format, args...)})
}

// deliver gives what was sent in order of receipt; for 3 h from outage on nothing arrives.
func (s *simulation) deliver(outage time.Time) []string {
	type received struct {
		rx   time.Time
		text string
	}
	var all []received
	add := func(m sent, rx time.Time) {
		all = append(all, received{rx, fmt.Sprintf(`{"rx":%q,"t":%q,%s}`, rx.Format("2006-01-02T15:04:05.000Z"), m.at.Format("2006-01-02T15:04:05.000Z"), m.body)})
	}
	for _, m := range s.sent {
		rx := m.at.Add(300 * time.Millisecond)
		if s.rnd.IntN(50) == 0 {
			rx = m.at.Add(time.Duration(1+s.rnd.IntN(25)) * time.Minute)
		}
		if back := outage.Add(3 * time.Hour); !m.at.Before(outage) && rx.Before(back) {
			rx = back.Add(time.Duration(s.rnd.IntN(60)) * time.Second)
		}
		add(m, rx)
		if s.rnd.IntN(100) == 0 {
			add(m, rx.Add(5*time.Second))
		}
	}
	slices.SortStableFunc(all, func(a, b received) int { return a.rx.Compare(b.rx) })
	lines := make([]string, len(all))
	for i, r := range all {
		lines[i] = r.text
	}
	return lines
}

// roomSite is the room of the recordings.
func roomSite(sensors ...edge.Sensor) *edge.Site {
	if len(sensors) == 0 {
		sensors = []edge.Sensor{
			{ID: "door1", Class: edge.LineThermopile, Door: "door"},
			{ID: "pir1", Class: edge.PIR, Space: "room"},
		}
	}
	return &edge.Site{
		ID: "s", Spaces: []edge.Space{{ID: "room", Kind: edge.Room, Capacity: 15}},
		Doors:   []edge.Door{{ID: "door", Between: [2]string{edge.Outside, "room"}}},
		Sensors: sensors,
	}
}

// write puts text into a new file and returns its name.
func write(t testing.TB, name, text string) string {
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
