package analytics

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/edge/usage"
)

// Forecast is the answer of GET /v1/sites/{site}/analytics/forecast: the typical week, and how far
// off it would have been.
type Forecast struct {
	Site     string          `json:"site"`
	Org      string          `json:"org"`
	Space    string          `json:"space"`
	Timezone string          `json:"timezone"`
	Method   string          `json:"method"`
	Weeks    int             `json:"weeks"` // of history that were looked at
	From     time.Time       `json:"from"`
	To       time.Time       `json:"to"`
	MAE      *float64        `json:"mae"`          // persons; of the last week, foretold from the weeks before; null where that cannot be told
	MAEHours int             `json:"mae_hours"`    // that were compared
	FlatMAE  *float64        `json:"mae_constant"` // of always telling the mean, over the same hours
	Points   []ForecastPoint `json:"points"`
}

// ForecastPoint is an hour to come.
type ForecastPoint struct {
	From     time.Time `json:"from"`
	Expected *float64  `json:"expected"` // persons; null = too little is known
	Error    *float64  `json:"error"`    // mean absolute distance of the past hours from Expected
	Weeks    int       `json:"weeks"`    // past hours that it comes from
	Holiday  bool      `json:"holiday,omitempty"`
}

const (
	forecastMethod = "mean of the same hour of the week; holidays left out"
	forecastWeeks  = 8
	maxWeeks       = 52
	leastWeeks     = 2                                          // hours below which nothing is foretold
	leastKnown     = int64(30 * time.Minute / time.Millisecond) // of an hour, for it to count
)

func (m *Module) forecast(r *route.Request) (any, error) {
	weeks := forecastWeeks
	if s := r.URL.Query().Get("weeks"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < leastWeeks || n > maxWeeks {
			return nil, route.Problem(http.StatusBadRequest, "weeks %q: want a number from %d to %d", s, leastWeeks, maxWeeks)
		}
		weeks = n
	}
	now := m.now()
	q, err := m.ask(r, 7*weeks)
	if err != nil {
		return nil, err
	}
	hour := time.UnixMilli(usage.Hour(now.UnixMilli(), q.Loc)).UTC()
	q.From, q.To = hour.In(q.Loc).AddDate(0, 0, -7*weeks).UTC(), hour
	return m.forecastOf(r.Context(), q, weeks)
}

func (m *Module) forecastOf(ctx context.Context, q *question, weeks int) (*Forecast, error) {
	s, err := m.seriesOf(ctx, q)
	if err != nil {
		return nil, err
	}
	cal, err := m.calendar(ctx, q.Site, q.span())
	if err != nil {
		return nil, err
	}
	out := &Forecast{
		Site: q.Site.Site, Org: q.Site.Org, Space: q.Space, Timezone: q.Loc.String(), Method: forecastMethod, Weeks: weeks,
		From: q.To, To: q.To.In(q.Loc).AddDate(0, 0, 7).UTC(), Points: []ForecastPoint{},
	}
	past := s.samples(q.span(), cal)
	held := q.To.In(q.Loc).AddDate(0, 0, -7).UnixMilli()
	out.judge(past, held, q.Loc)
	typical := typicalWeek(past, q.Loc, math.MaxInt64)
	for at := out.From.UnixMilli(); at < out.To.UnixMilli(); at = usage.NextHour(at, q.Loc) {
		p := ForecastPoint{From: time.UnixMilli(at).UTC(), Holiday: cal.holiday(at)}
		day, h := cell(at, q.Loc)
		if c := typical[day][h]; !p.Holiday {
			p.Expected, p.Error, p.Weeks = c.mean(), c.spread(), len(c)
		}
		out.Points = append(out.Points, p)
	}
	return out, nil
}

// sample is the average count of a past hour.
type sample struct {
	hour  int64
	value float64
}

// samples lists the hours of a time that are known well enough and no holidays.
func (s *series) samples(at span, cal *calendar) (out []sample) {
	for hour := usage.Hour(at.from, s.loc); hour < at.to; hour = usage.NextHour(hour, s.loc) {
		if t, ok := s.hours[hour]; ok && t.Known >= leastKnown && !cal.holiday(hour) {
			out = append(out, sample{hour, float64(t.Persons) / float64(t.Known)})
		}
	}
	return out
}

// cellSamples are the values of one hour of the week.
type cellSamples []float64

func typicalWeek(past []sample, loc *time.Location, before int64) *[7][24]cellSamples {
	var out [7][24]cellSamples
	for _, s := range past {
		if s.hour < before {
			day, h := cell(s.hour, loc)
			out[day][h] = append(out[day][h], s.value)
		}
	}
	return &out
}

// mean is nil where there is too little.
func (c cellSamples) mean() *float64 {
	if len(c) < leastWeeks {
		return nil
	}
	var sum float64
	for _, v := range c {
		sum += v
	}
	v := math.Round(sum/float64(len(c))*100) / 100
	return &v
}

func (c cellSamples) spread() *float64 {
	mean := c.mean()
	if mean == nil {
		return nil
	}
	var sum float64
	for _, v := range c {
		sum += math.Abs(v - *mean)
	}
	v := math.Round(sum/float64(len(c))*100) / 100
	return &v
}

// judge foretells the hours from held on by those before and tells how far off that is.
func (f *Forecast) judge(past []sample, held int64, loc *time.Location) {
	typical := typicalWeek(past, loc, held)
	var flat, sum, flatSum float64
	var trained int
	for _, s := range past {
		if s.hour < held {
			flat, trained = flat+s.value, trained+1
		}
	}
	for _, s := range past {
		day, h := cell(s.hour, loc)
		expected := typical[day][h].mean()
		if s.hour < held || expected == nil {
			continue
		}
		sum += math.Abs(s.value - *expected)
		flatSum += math.Abs(s.value - flat/float64(trained))
		f.MAEHours++
	}
	if f.MAEHours > 0 {
		mae, constant := math.Round(sum/float64(f.MAEHours)*100)/100, math.Round(flatSum/float64(f.MAEHours)*100)/100
		f.MAE, f.FlatMAE = &mae, &constant
	}
}
