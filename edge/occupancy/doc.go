// Package occupancy estimates how many people are in each space of a site.
//
// Each observed space has an exact forward filter: a probability for every head count, moved
// by what line counters at its doors count, weighed by what presence sensors and absolute
// counters say, and by their silence while they are trusted. Spaces that are not observed
// themselves are the sum of those in them.
//
// A [Model] is pure: it is told readings and the time, and says what changed and when it next
// cares. It guarantees that the same calls give the same bits (fixed order, no randomness, no
// wall clock, ticks on a UTC grid of 30 s), that Advance may be split at will, and that a
// restored state goes on bit for bit. It takes any reading without harm. It never makes a
// number out of nothing: a space is unknown until there is evidence.
//
// It refuses to believe crowds: a jump of a counter that no crowd can cause is kept out and
// reported ([Model.Faults]).
//
// Not yet used: CO2, contacts, Wi-Fi devices (their readings only show that the sensor is
// alive), learning of parameters, rewinding for late readings.
package occupancy
