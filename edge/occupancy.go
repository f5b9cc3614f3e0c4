package edge

import "time"

// OccupancyState is what is known of a space. The zero value is unknown.
type OccupancyState string

// The states of a space.
const (
	Unknown  OccupancyState = "unknown"
	Vacant   OccupancyState = "vacant"
	Occupied OccupancyState = "occupied"
)

// OccupancyQuality says how far an occupancy can be relied on.
type OccupancyQuality string

// The qualities of an occupancy.
const (
	QualityGood     OccupancyQuality = "good"
	QualityDegraded OccupancyQuality = "degraded" // some of its sensors give no evidence
	QualityStale    OccupancyQuality = "stale"    // all of them are silent beyond their horizon
	QualityNone     OccupancyQuality = "none"     // there never was evidence
)

// Occupancy is how many people are in a space, with its uncertainty. Counts are persons. While
// State is unknown the counts are nil: unknown is never zero.
type Occupancy struct {
	Space       string           `json:"space"`
	State       OccupancyState   `json:"state"`
	Count       *int             `json:"count"`      // best estimate
	Low         *int             `json:"low"`        // 5 % bound of the 90 % interval
	High        *int             `json:"high"`       // 95 % bound of the 90 % interval
	Mean        *float64         `json:"mean"`       // expected count
	POccupied   *float64         `json:"p_occupied"` // probability of at least one person, 0..1
	Quality     OccupancyQuality `json:"quality"`    //
	AsOf        time.Time        `json:"as_of"`      // the time this holds for
	Since       time.Time        `json:"since"`      // since when State holds
	Capacity    int              `json:"capacity,omitempty"`
	Utilisation *float64         `json:"utilisation,omitempty"` // Count / Capacity; nil without capacity or count
	Revision    int              `json:"revision"`
	Sources     []string         `json:"sources,omitempty"` // sensors whose evidence is in it, sorted
}

// Same tells whether o and p are the same to a reader: state, count, interval and quality.
func (o Occupancy) Same(p Occupancy) bool {
	return o.State == p.State && o.Quality == p.Quality &&
		sameInt(o.Count, p.Count) && sameInt(o.Low, p.Low) && sameInt(o.High, p.High)
}

func sameInt(a, b *int) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
