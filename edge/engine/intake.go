package engine

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/headcount-hub/headcount/edge"
)

// What one message may be at most. A record has to hold it, and a device that says more is
// broken or hostile: its message alone is refused, and counted.
const (
	maxName    = 256      // bytes of a device's address, of a sequence, of a kind
	maxReading = 16 << 10 // bytes of a reading's texts, with 32 for each value
	maxInput   = 64 << 10 // bytes of any input that is no reading and no configuration
	maxDetail  = 512      // bytes of a text for people
	maxKinds   = 64       // kinds of value remembered of one device
)

// The causes for which a reading is refused before the core sees it.
const (
	causeNameless = "names no device"
	causeTooLarge = "too large"
)

// admit says why a reading is not to be taken, or "". What is left is written in the one way
// that its stored form gives back, so that a replay sees the very values that the core saw: no
// text that is not UTF-8, no negative zero, no number behind a text. A number that is none is
// NaN, whatever its bits.
func admit(r *edge.Reading) string {
	size := len(r.Device) + len(r.Seq) + len(r.Quality)
	for i := range r.Values {
		v := &r.Values[i]
		size += 32 + len(v.Kind) + len(v.Semantics) + len(v.Text)
		if len(v.Kind) > maxName || len(v.Semantics) > maxName {
			return causeTooLarge
		}
	}
	switch {
	case r.Device == "":
		return causeNameless
	case size > maxReading || len(r.Device) > maxName || len(r.Seq) > maxName || len(r.Quality) > maxName:
		return causeTooLarge
	}
	r.Device, r.Seq, r.Quality = plain(r.Device), plain(r.Seq), plain(r.Quality)
	shared := true // the values are the caller's, who may put them again
	for i := range r.Values {
		v := canonical(r.Values[i])
		if v == r.Values[i] && math.Float64bits(v.Num) == math.Float64bits(r.Values[i].Num) {
			continue
		}
		if shared {
			r.Values, shared = slices.Clone(r.Values), false
		}
		r.Values[i] = v
	}
	return ""
}

// canonical is v as reading its JSON gives it back.
func canonical(v edge.Value) edge.Value {
	v.Kind, v.Semantics = plain(v.Kind), plain(v.Semantics)
	switch v.Type {
	case edge.Text:
		v.Text, v.Num = plain(v.Text), 0
	case edge.Bool:
		v = edge.BoolValue(v.Kind, v.Semantics, v.Num != 0)
	default:
		v.Type, v.Text = edge.Number, ""
		switch {
		case math.IsNaN(v.Num) || math.IsInf(v.Num, 0):
			v.Num = math.NaN()
		case v.Num == 0:
			v.Num = 0 // and not -0
		}
	}
	return v
}

// plain is s in valid UTF-8.
func plain[T ~string](s T) T {
	if utf8.ValidString(string(s)) {
		return s
	}
	return T(strings.ToValidUTF8(string(s), "\ufffd"))
}

// clip shortens s to n bytes of valid UTF-8.
func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "")
	}
	return plain(s)
}

// rejections joins those of one driver, device and cause: the newest, with the sum of the
// counts, in the order of the first of each.
type rejections struct {
	list []edge.Rejection
	at   map[[3]string]int
}

func (l *rejections) add(r edge.Rejection) {
	k := [3]string{r.Driver, r.Device, r.Cause}
	i, known := l.at[k]
	if !known {
		if l.at == nil {
			l.at = map[[3]string]int{}
		}
		l.at[k] = len(l.list)
		l.list = append(l.list, r)
		return
	}
	r.Count += l.list[i].Count
	l.list[i] = r
}
