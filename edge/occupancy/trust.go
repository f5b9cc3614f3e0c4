package occupancy

import (
	"fmt"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Trust says whether a sensor's silence still means something. An untrusted sensor gives no
// evidence until it is heard again.
type Trust struct {
	Status   string    // "waiting" (never heard, or not since the hub listens again), "ok", "silent" (beyond its horizon), "offline" (it or its gateway said so)
	Reason   string    // why its evidence is not used, or not fully
	LastSeen time.Time // engine time at which it was heard last; zero when never
	Horizon  time.Duration
}

// SensorTrust tells how far the i-th of the site's sensors is trusted now.
func (m *Model) SensorTrust(i int) Trust {
	s := &m.sensors[i]
	t := Trust{Status: s.status(m.now, m.paused, m.resumed), Horizon: s.params.horizon}
	if s.seen != never {
		t.LastSeen = timeOf(s.seen)
	}
	switch t.Status {
	case "waiting":
		t.Reason = "nothing was heard of it yet"
		if s.seen != never {
			t.Reason = "nothing was heard of it since " + timeOf(m.resumed).Format(time.RFC3339) + ", before which the hub did not listen"
		}
	case "offline":
		t.Reason = "reported offline"
	case "silent":
		t.Reason = fmt.Sprintf("nothing heard since %s, longer than its horizon of %s", t.LastSeen.Format(time.RFC3339), t.Horizon)
	default:
		if s.isStuck(m.now) {
			t.Reason = "motion without a break for so long that it is not believed"
		}
	}
	return t
}

// status is "waiting" also for a sensor that was well when the hub stopped listening, and has
// had less than its horizon to be heard since.
func (s *sensor) status(now, paused, resumed int64) string {
	horizon := s.params.horizon.Milliseconds()
	switch {
	case s.offline:
		return "offline"
	case s.seen == never:
		return "waiting"
	case now-s.seen <= horizon:
		return "ok"
	case paused-s.seen <= horizon && now-resumed <= horizon:
		return "waiting"
	}
	return "silent"
}

// trusted tells whether the sensor's silence is evidence.
func (s *sensor) trusted(now int64) bool {
	return !s.offline && s.seen != never && now-s.seen <= s.params.horizon.Milliseconds()
}

func (s *sensor) isStuck(now int64) bool {
	return s.motion.on && s.motion.sendsOff && now-s.motion.rise > int64(s.params.stuck*1000)
}

// health takes in what is said of the sensor's own state; ok is false when v is something else.
func health(v edge.Value) (offline, ok bool) {
	if v.Kind != edge.Health {
		return false, false
	}
	if v.Type != edge.Text {
		return !v.True(), true
	}
	switch strings.ToLower(v.Text) {
	case "offline", "lost", "disconnected", "dead", "unavailable":
		return true, true
	case "online", "ready", "ok", "alive", "available":
		return false, true
	}
	return false, false
}
