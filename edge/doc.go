// Package edge is Headcount's vocabulary: site, space, door, sensor, device, reading,
// occupancy, event, alert, record. Every other package speaks it; it imports nothing but the
// standard library and does no I/O.
//
// Times are UTC and cut to the millisecond wherever they enter the product ([Millis]). The
// zero value of everything that can be not known means "not known", never "none" or "zero".
package edge

import "time"

// Millis returns t in UTC cut to the millisecond, the product's resolution of time. The zero
// time stays zero.
func Millis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}
