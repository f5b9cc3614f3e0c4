package main

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/headcount-hub/headcount/drivers/sim"
)

// state is the answer of GET /demo/state.
type state struct {
	Truth   map[string]int `json:"truth"`
	LinkUp  bool           `json:"link_up"`
	Speed   float64        `json:"speed"`
	Failed  []string       `json:"sensors_failed"`
	Actions []string       `json:"actions"`
}

var actions = []string{"cut-link", "restore-link", "fail-sensor", "restore-sensor", "restart-hub"}

// routes are the demo's own paths on the hub's port.
func (d *demo) routes() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /demo/state":     http.HandlerFunc(d.serveState),
		"POST /demo/{action}": http.HandlerFunc(d.serveAction),
	}
}

func (d *demo) serveState(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(state{
		Truth: d.building.Truth(), LinkUp: d.relay.up(), Speed: d.opts.speed,
		Failed: slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(d.building.Failed())))), Actions: actions,
	})
}

func (d *demo) serveAction(w http.ResponseWriter, r *http.Request) {
	var body struct{ Sensor string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&body); err != nil {
		http.Error(w, `want a JSON object, {"sensor": "…"} where a sensor is meant`, http.StatusBadRequest)
		return
	}
	if err := d.act(r.PathValue("action"), body.Sensor); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (d *demo) act(action, sensor string) error {
	switch action {
	case "cut-link":
		d.relay.cut()
	case "restore-link":
		d.relay.restore()
	case "fail-sensor":
		return d.building.FailSensor(sensor, sim.Silent)
	case "restore-sensor":
		return d.building.RestoreSensor(sensor)
	case "restart-hub":
		d.restartHub()
	default:
		return errors.New("no such action")
	}
	return nil
}

// failSome makes the first sensor that works fail.
func (d *demo) failSome() (id string, err error) {
	failed := d.building.Failed()
	for _, s := range d.building.Site().Sensors {
		if _, ok := failed[s.ID]; !ok {
			return s.ID, d.building.FailSensor(s.ID, sim.Silent)
		}
	}
	return "", errors.New("every sensor has failed already")
}

func (d *demo) mendAll() {
	for id := range d.building.Failed() {
		_ = d.building.RestoreSensor(id) // it is in the list
	}
}
