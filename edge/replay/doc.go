// Package replay runs recorded readings through the estimator and judges the result: it is the
// library behind `headcount replay`.
//
// It gives two histories. The finally revised one is a function of the set of readings: they
// are taken once each, in order of event time, sensor, sequence and content, whatever order
// they were delivered in. The live one is what was known at the time: readings in the order of
// their receipt.
//
// Input is one JSON object a line, {"rx","t","sensor","seq","<kind>":value,…}; one line is one
// atomic group. A line that cannot be understood is reported with its file and line number and
// left out; readings of sensors that the site does not have are counted and left out. Truth is
// CSV with the columns time,count or time,space,count.
package replay
