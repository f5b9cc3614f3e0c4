package engine

import (
	"slices"

	"github.com/headcount-hub/headcount/edge"
)

// sights tells what a reading of a camera shows that the one before did not: a person where nobody
// was, motion where there was none. It is to be called before the reading is noted. A change of
// the count is no sight: occupancies tell that.
func (c *Core) sights(r *edge.Reading) (out []edge.EventType) {
	i, ok := c.reg.byAddr[r.Device]
	if !ok || c.reg.site.Sensors[i].Class != edge.Camera || r.Quality == edge.RetainedStale {
		return nil
	}
	for _, v := range r.Values {
		if v.Type == edge.Text || !v.True() || c.reg.heard[i].value(v.Kind).True() {
			continue
		}
		switch v.Kind {
		case edge.CountAbs, edge.TargetCount:
			out = append(out, edge.PersonDetected)
		case edge.Presence:
			out = append(out, edge.MotionDetected)
		}
	}
	return slices.Compact(out)
}

// value is the newest one of a kind; the zero value if there is none.
func (h *heard) value(k edge.Kind) edge.Value {
	for _, v := range h.values {
		if v.Kind == k {
			return v
		}
	}
	return edge.Value{}
}

// atCamera tells at once what a reading of a camera shows, and whether it works: others wait for
// the grid.
func (c *Core) atCamera(device string, sights []edge.EventType) {
	i := c.reg.byAddr[device]
	s := &c.reg.site.Sensors[i]
	if s.Class != edge.Camera {
		return
	}
	if c.model.SensorTrust(i).Status != c.samples[i].Status {
		c.watchSensor(i)
	}
	h := &c.reg.heard[i]
	for _, typ := range sights {
		d := edge.CameraSight{Camera: s.ID, Space: s.Space}
		if typ == edge.PersonDetected {
			d.Count = int(max(h.value(edge.CountAbs).Num, h.value(edge.TargetCount).Num))
		}
		c.emit(typ, s.ID, h.at, d)
	}
}

// cameraChanged tells that a camera is lost, or back.
func (c *Core) cameraChanged(s *edge.Sensor, was, now sample) {
	lost := func(status string) bool { return status == "offline" || status == "silent" }
	d := edge.CameraChange{Camera: s.ID, Space: s.Space, LastSeen: now.LastSeen}
	switch {
	case lost(now.Status) && !lost(was.Status):
		if d.Cause = "silent"; now.Status == "offline" {
			d.Cause = "reported"
		}
		c.emit(edge.CameraOffline, s.ID, c.now, d)
	case lost(was.Status) && now.Status == "ok":
		c.emit(edge.CameraOnline, s.ID, c.now, d)
	}
}
