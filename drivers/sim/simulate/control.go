package simulate

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/headcount-hub/headcount/drivers/sim"
	"github.com/headcount-hub/headcount/edge"
)

// State is the answer of GET /state.
type State struct {
	Day       int                    `json:"day"`   // from 0
	Clock     string                 `json:"clock"` // time of day of the people
	Truth     map[string]int         `json:"truth"`
	Failed    map[string]sim.Failure `json:"failed"`
	Sensors   []edge.Sensor          `json:"sensors"`
	Transport map[sim.Via]sim.Stats  `json:"transports"`
}

// handler is the control API.
func (s *Simulation) handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.state()) })
	m.HandleFunc("GET /truth", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.building.Truth()) })
	m.HandleFunc("POST /people", act(func(_ *http.Request, p people) error { return s.building.SetPeople(p.Space, p.Count) }))
	m.HandleFunc("POST /crowd", act(func(_ *http.Request, p people) error {
		return s.building.Crowd(p.Space, p.Count, time.Duration(p.Minutes*float64(time.Minute)))
	}))
	m.HandleFunc("POST /sensors/{id}/fail", act(func(r *http.Request, f failure) error {
		if f.How == "" {
			f.How = sim.Silent
		}
		return s.building.FailSensor(r.PathValue("id"), f.How)
	}))
	m.HandleFunc("POST /sensors/{id}/mend", act(func(r *http.Request, _ struct{}) error {
		return s.building.RestoreSensor(r.PathValue("id"))
	}))
	return local(m)
}

// people is the body of POST /people and POST /crowd.
type people struct {
	Space   string
	Count   int
	Minutes float64 // of a crowd, by the people's time; 0 = it stays
}

type failure struct{ How sim.Failure }

func (s *Simulation) state() State {
	day, clock := s.building.Now()
	return State{
		Day: day, Clock: time.Time{}.Add(clock).Format("15:04:05"), Truth: s.building.Truth(), Failed: s.building.Failed(),
		Sensors: s.building.Site().Sensors, Transport: s.runner.Stats(),
	}
}

// local refuses what a web page elsewhere could make a browser send: a foreign name of this
// machine.
func local(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" {
			problem(w, http.StatusForbidden, "the control API is not for web pages")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// act makes a handler of an action with a JSON body, which may be missing.
func act[T any](do func(*http.Request, T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body T
		if r.ContentLength != 0 {
			if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
				problem(w, http.StatusUnsupportedMediaType, "send JSON with Content-Type: application/json")
				return
			}
			dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&body); err != nil {
				problem(w, http.StatusBadRequest, fmt.Sprintf("the body is not understood: %v", err))
				return
			}
		}
		if err := do(r, body); err != nil {
			problem(w, http.StatusUnprocessableEntity, err.Error())
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // the client is gone, then
}

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "title": http.StatusText(status), "detail": detail})
}
