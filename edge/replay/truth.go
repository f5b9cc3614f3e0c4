package replay

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// truth is one known head count.
type truth struct {
	at    time.Time
	space int // index in the site's spaces
	count int
}

// readTruth reads a CSV file with the columns time,count or time,space,count, in any order,
// and sorts it by time. Errors name the line.
func readTruth(in io.Reader, site *edge.Site) ([]truth, error) {
	r := csv.NewReader(in)
	r.TrimLeadingSpace = true
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	col := func(name string) int {
		return slices.IndexFunc(header, func(h string) bool {
			return strings.EqualFold(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")), name)
		})
	}
	cTime, cCount, cSpace := col("time"), col("count"), col("space")
	if cTime < 0 || cCount < 0 {
		return nil, fmt.Errorf("header is %s; want time,count or time,space,count", strings.Join(header, ","))
	}
	only := -1
	if cSpace < 0 {
		if only, err = onlyRoom(site); err != nil {
			return nil, err
		}
	}
	var out []truth
	for {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		t := truth{space: only}
		if err := t.parse(row, cTime, cCount, cSpace, site); err != nil {
			n, _ := r.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, t)
	}
	slices.SortStableFunc(out, func(a, b truth) int { return a.at.Compare(b.at) })
	return out, nil
}

func (t *truth) parse(row []string, cTime, cCount, cSpace int, site *edge.Site) (err error) {
	if t.at, err = parseTimeText(row[cTime]); err != nil {
		return err
	}
	x, err := strconv.ParseFloat(strings.TrimSpace(row[cCount]), 64)
	if err != nil || x < 0 || x > 1e6 || x != float64(int(x)) {
		return fmt.Errorf("count %q is not a whole number of people", row[cCount])
	}
	t.count = int(x)
	if cSpace < 0 {
		return nil
	}
	id := strings.TrimSpace(row[cSpace])
	t.space = slices.IndexFunc(site.Spaces, func(s edge.Space) bool { return s.ID == id })
	if t.space < 0 {
		return fmt.Errorf("there is no space %q; the site has %s", id, ids(site, func(edge.Space) bool { return true }))
	}
	return nil
}

// onlyRoom finds the room that truth without a space is about: the only one that a sensor
// observes, or the only one at all.
func onlyRoom(site *edge.Site) (int, error) {
	observed := map[string]bool{}
	for _, s := range site.Sensors {
		observed[s.Space] = true
		if d, ok := site.Door(s.Door); ok {
			observed[d.Between[0]], observed[d.Between[1]] = true, true
		}
	}
	for _, want := range []func(edge.Space) bool{
		func(s edge.Space) bool { return isRoom(s) && observed[s.ID] },
		isRoom,
	} {
		found := -1
		for i, s := range site.Spaces {
			if want(s) {
				if found >= 0 {
					return 0, fmt.Errorf("the truth has no column space, and the site has more than one room: %s; give the columns time,space,count", ids(site, want))
				}
				found = i
			}
		}
		if found >= 0 {
			return found, nil
		}
	}
	return 0, errors.New("the site has no room that the truth could be about")
}

func isRoom(s edge.Space) bool { return s.Kind == edge.Room || s.Kind == "" }

func ids(site *edge.Site, want func(edge.Space) bool) string {
	var out []string
	for _, s := range site.Spaces {
		if want(s) {
			out = append(out, s.ID)
		}
	}
	return strings.Join(out, ", ")
}
