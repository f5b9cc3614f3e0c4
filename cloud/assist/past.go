package assist

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// history is what the API says of the past of a space.
type history struct {
	From   time.Time        `json:"from"`
	To     time.Time        `json:"to"`
	Points []edge.Occupancy `json:"points"`
	Next   *time.Time       `json:"next"`
}

func readHistory(ctx context.Context, api API, a Arguments, from, to, every string) (h history, link string, err error) {
	link = path([]string{"v1", "sites", a.Site, "spaces", a.Space, "history"}, "org", a.Org, "from", from, "to", to, "every", every)
	return h, link, read(ctx, api, link, &h)
}

// occupancyHistory answers the points of a time; the cursor is the time where the next page
// begins.
func occupancyHistory(ctx context.Context, api API, a Arguments, _ time.Time) (Answer, error) {
	from := a.From
	if a.Cursor != "" {
		if _, err := time.Parse(time.RFC3339Nano, a.Cursor); err != nil {
			return Answer{}, problem("cursor %q: want the next of an earlier answer", a.Cursor)
		}
		from = a.Cursor
	}
	h, link, err := readHistory(ctx, api, a, from, a.To, a.Every)
	if err != nil {
		return Answer{}, err
	}
	out := Answer{Links: []string{link}}
	if len(h.Points) > a.Limit {
		out.Next = h.Points[a.Limit].AsOf.Format(time.RFC3339Nano)
		h.Points = h.Points[:a.Limit]
	} else if h.Next != nil {
		out.Next = h.Next.Format(time.RFC3339Nano)
	}
	for _, o := range h.Points {
		o.Space = a.Space
		row := newOccupancyRow("", o, false, link)
		out.Known = out.Known || row.Known
		out.AsOf = later(out.AsOf, o.AsOf)
		out.Rows = append(out.Rows, row)
	}
	if !out.Known {
		out.Note = notKnown + ": nothing is known of this space in that time"
	}
	return out, nil
}

// trendRow is one bucket of a trend. While KnownShare is 0 it holds no number.
type trendRow struct {
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Known      bool      `json:"known"`
	KnownShare float64   `json:"known_share"` // of the time, 0..1
	Average    *float64  `json:"average"`     // over the known time; null = not known
	Least      *int      `json:"least"`
	Most       *int      `json:"most"`
	Quality    string    `json:"quality"`
	Link       string    `json:"link"`
}

// The grid of trends: samples per bucket, and up to when buckets are hours.
const (
	samplesPerBucket = 12
	hourlyUpTo       = 72 * time.Hour
	trendSpan        = 24 * time.Hour
	maxTrend         = 60 * 24 * time.Hour
)

// span reads from and to of a trend.
func (a *Arguments) span(now time.Time) (from, to time.Time, err error) {
	to = now.UTC().Truncate(time.Second)
	if a.To != "" {
		if to, err = time.Parse(time.RFC3339Nano, a.To); err != nil {
			return from, to, problem("to %q: want a time such as 2026-03-02T08:00:00Z", a.To)
		}
	}
	from = to.Add(-trendSpan)
	if a.From != "" {
		if from, err = time.Parse(time.RFC3339Nano, a.From); err != nil {
			return from, to, problem("from %q: want a time such as 2026-03-02T08:00:00Z", a.From)
		}
	}
	if d := to.Sub(from); d <= 0 || d > maxTrend {
		return from, to, problem("from %s to %s: want a time of at most %d days", from.Format(time.RFC3339), to.Format(time.RFC3339), int(maxTrend.Hours()/24))
	}
	return from, to, nil
}

// trend answers averages over what is known, and which way they go.
func trend(ctx context.Context, api API, a Arguments, now time.Time) (Answer, error) {
	from, to, err := a.span(now)
	if err != nil {
		return Answer{}, err
	}
	bucket := time.Hour
	if to.Sub(from) > hourlyUpTo {
		bucket = 24 * time.Hour
	}
	step := bucket / samplesPerBucket
	h, link, err := readHistory(ctx, api, a, from.Format(time.RFC3339), to.Format(time.RFC3339), step.String())
	if err != nil {
		return Answer{}, err
	}
	out := Answer{Links: []string{link}}
	var rows []trendRow
	for at := from; at.Before(to); at = at.Add(bucket) {
		row := newTrendRow(h.Points, at, minTime(at.Add(bucket), to), link)
		if row.Known {
			out.Known, out.AsOf = true, row.To
		}
		rows = append(rows, row)
		out.Rows = append(out.Rows, row)
	}
	out.Note = direction(rows)
	return out, nil
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// newTrendRow gathers the samples of [from, to).
func newTrendRow(points []edge.Occupancy, from, to time.Time, link string) trendRow {
	row := trendRow{From: from, To: to, Quality: string(edge.QualityNone), Link: link}
	n, known, sum := 0, 0, 0
	for _, p := range points {
		if p.AsOf.Before(from) || !p.AsOf.Before(to) {
			continue
		}
		n++
		if p.Count == nil || p.Quality == edge.QualityStale || p.Quality == edge.QualityNone {
			continue
		}
		known++
		sum += *p.Count
		row.Least, row.Most = extreme(row.Least, *p.Count, -1), extreme(row.Most, *p.Count, 1)
	}
	if known == 0 {
		return row
	}
	average := math.Round(float64(sum)/float64(known)*10) / 10
	row.Known, row.Average, row.KnownShare = true, &average, math.Round(float64(known)/float64(n)*100)/100
	row.Quality = string(edge.QualityGood)
	if known < n {
		row.Quality = string(edge.QualityDegraded)
	}
	return row
}

// extreme keeps the greater (sign 1) or lesser (sign -1) of two.
func extreme(have *int, v, sign int) *int {
	if have == nil || v*sign > *have*sign {
		return &v
	}
	return have
}

// minKnown is how much of either half must be known to speak of a direction.
const minKnown = 0.5

// direction compares the second half of the rows with the first.
func direction(rows []trendRow) string {
	half := len(rows) / 2
	first, ok1 := mean(rows[:half])
	second, ok2 := mean(rows[half:])
	if !ok1 || !ok2 {
		return "whether it rises or falls is " + notKnown
	}
	word := "is steady"
	switch margin := max(0.5, first*0.1); {
	case second > first+margin:
		word = "rises"
	case second < first-margin:
		word = "falls"
	}
	return fmt.Sprintf("it %s: %.1f people on average in the first half of the time, %.1f in the second", word, first, second)
}

// mean is the average of the known buckets; false when too little is known.
func mean(rows []trendRow) (float64, bool) {
	sum, share := 0.0, 0.0
	for _, r := range rows {
		if r.Known {
			sum += *r.Average * r.KnownShare
			share += r.KnownShare
		}
	}
	if len(rows) == 0 || share < minKnown*float64(len(rows)) {
		return 0, false
	}
	return sum / share, true
}
