// Package alerts turns rules into alerts and follows each through its life: pending while the
// condition holds for less than the rule's "for", firing, acknowledged, cleared.
//
// A [Machine] is a pure state machine: it is told the time and what changed, does no I/O and
// starts nothing. Deadlines fire at their own due time with the facts of that time, so calling
// [Machine.Evaluate] late, or more often than needed, gives the same events. At most one alert
// is open per rule and subject; its id follows from rule, subject and raise time alone. A
// Machine is not safe for concurrent use: it belongs to the engine.
//
// # Conditions
//
// A condition is an expression over the facts of one subject ([Variables] lists them), such as
//
//	count_low > capacity
//	p_occupied > 0.9 and not open_hours
//
// with and, or, not, comparisons, arithmetic, in, contains, startsWith, endsWith, matches,
// ?: and the functions abs, ceil, floor, round, min, max. It must be a yes or no.
//
// # Unknown is never zero
//
// A fact may be unknown: the count of a space without evidence, the capacity of a room that
// has none configured. A comparison with an unknown fact is neither true nor false but
// unknown; "and", "or" and "not" follow Kleene's three-valued logic, so "unknown or true" is
// true and "not unknown" stays unknown. An alert is raised only by what is known to be true
// and cleared only by what is known to be false (or by a clear expression known to be true):
// losing sight of a crowded room neither raises nor clears its alert. An alert that is still
// pending is dropped when its condition becomes unknown.
package alerts
