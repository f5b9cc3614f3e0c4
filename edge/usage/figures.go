package usage

import (
	"math"
	"time"
)

// Figures are Totals as people read them. What is not known is nil.
type Figures struct {
	Minutes         float64    `json:"minutes"` // of the span
	KnownMinutes    float64    `json:"known_minutes"`
	UnknownMinutes  float64    `json:"unknown_minutes"`
	Coverage        *float64   `json:"coverage"` // known of all time, 0..1
	OccupiedMinutes float64    `json:"occupied_minutes"`
	VacantMinutes   float64    `json:"vacant_minutes"`
	OccupiedShare   *float64   `json:"occupied_share"` // of known time, 0..1
	Average         *float64   `json:"average"`        // persons, weighted by known time
	Min             *int       `json:"min"`
	Max             *int       `json:"max"`
	PeakAt          *time.Time `json:"peak_at"`               // when max was reached first
	Capacity        int        `json:"capacity,omitempty"`    // persons
	Utilisation     *float64   `json:"utilisation"`           // average of capacity
	PeakUtilisation *float64   `json:"peak_utilisation"`      // max of capacity
	OverMinutes     *float64   `json:"over_capacity_minutes"` // null without capacity
	Spells          int64      `json:"spells"`                // times that it became occupied
	DwellMinutes    *float64   `json:"dwell_minutes"`         // mean length of a spell
	TurnoverPerDay  *float64   `json:"turnover_per_day"`      // spells in 24 h of known time; null below 6 h of it
}

// leastTurnover is how much must be known for a number of spells per day, in milliseconds: a few
// minutes would give thousands.
const leastTurnover = int64(6 * time.Hour / time.Millisecond)

// Figures makes figures of totals.
func (t Totals) Figures() Figures {
	unknown := max(0, t.Span-t.Known)
	f := Figures{
		Minutes: Minutes(t.Known + unknown), KnownMinutes: Minutes(t.Known), UnknownMinutes: Minutes(unknown), Coverage: Share(t.Known, t.Known+unknown),
		OccupiedMinutes: Minutes(t.Occupied), VacantMinutes: Minutes(t.Vacant), OccupiedShare: Share(t.Occupied, t.Known),
		Average: Share(t.Persons, t.Known), Capacity: t.Capacity, Utilisation: Share(t.Seated, t.Seats), Spells: t.Spells,
	}
	if t.Known > 0 {
		at := time.UnixMilli(t.PeakAt).UTC()
		f.Min, f.Max, f.PeakAt = &t.Min, &t.Max, &at
		if t.Known >= leastTurnover {
			turnover := round(float64(t.Spells) * 86_400_000 / float64(t.Known))
			f.TurnoverPerDay = &turnover
		}
		if t.Capacity > 0 {
			f.PeakUtilisation = Share(int64(t.Max), int64(t.Capacity))
		}
	}
	if t.Rated > 0 {
		over := Minutes(t.Over)
		f.OverMinutes = &over
	}
	if t.Spells > 0 {
		dwell := round(float64(t.Occupied) / float64(t.Spells) / 60_000)
		f.DwellMinutes = &dwell
	}
	return f
}

// Minutes turns milliseconds into minutes, exact to a millisecond.
func Minutes(ms int64) float64 { return math.Round(float64(ms)/60_000*1e5) / 1e5 }

// Share is part of whole, nil when there is no whole.
func Share(part, whole int64) *float64 {
	if whole <= 0 {
		return nil
	}
	v := round(float64(part) / float64(whole))
	return &v
}

func round(v float64) float64 { return math.Round(v*1e4) / 1e4 }
