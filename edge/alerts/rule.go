package alerts

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Rule says when to raise an alert, about what, and when to clear it.
type Rule struct {
	Name     string        `json:"name"`               // unique; [a-z0-9][a-z0-9_-]{0,63}
	ForEach  string        `json:"for_each"`           // one of ForEach()
	When     string        `json:"when"`               // condition that raises
	Clear    string        `json:"clear,omitempty"`    // condition that clears; empty = When is known to be false
	For      time.Duration `json:"for,omitempty"`      // how long When must hold; 0 = at once
	KeepFor  time.Duration `json:"keep_for,omitempty"` // how long the clear condition must hold; 0 = at once
	Severity edge.Severity `json:"severity,omitempty"` // warning when empty
	Actions  []string      `json:"actions,omitempty"`  // channels the hub tries when it fires
	Message  string        `json:"message,omitempty"`  // text with {variable}; a default per subject kind when empty
	Disabled bool          `json:"disabled,omitempty"` // never raises
}

// ForEach lists what a rule can be about. "space" is every space of whatever kind, "hub" the
// hub itself, once.
func ForEach() []string {
	return []string{"building", "floor", "room", "zone", "space", "door", "sensor", "hub"}
}

// The names of the rules that exist without being configured.
const (
	OverCapacity = "over-capacity"
	SensorSilent = "sensor-silent"
	HubNotSynced = "hub-not-synced"

	DoorForced    = "door-forced"
	DoorHeldOpen  = "door-held-open"
	CameraOffline = "camera-offline"
)

// Builtin returns the rules that exist without being configured. Over capacity asks the lower
// bound of the interval, so that it does not fire on a doubtful estimate.
func Builtin() []Rule {
	return []Rule{
		{
			Name: OverCapacity, ForEach: "space", Severity: edge.Critical, For: 2 * time.Minute,
			When:  `kind in ["floor", "room"] and count_low > capacity`,
			Clear: `count <= 0.9 * capacity`,
		},
		{
			Name: SensorSilent, ForEach: "sensor", Severity: edge.Warning, For: time.Minute,
			When: `silent and class != "camera"`,
		},
		{
			Name: HubNotSynced, ForEach: "hub", Severity: edge.Warning, For: 5 * time.Minute,
			When: `uplink_configured and not synced`,
		},
		{Name: DoorForced, ForEach: "door", Severity: edge.Critical, When: `forced`},
		{Name: DoorHeldOpen, ForEach: "door", Severity: edge.Warning, When: `held_open`},
		{Name: CameraOffline, ForEach: "sensor", Severity: edge.Warning, When: `silent and class == "camera"`},
	}
}

// Merge puts the user's rules over the built-in ones: a rule named like a built-in one
// replaces it and inherits the fields it leaves empty, the others are added in their order.
// A changed condition does not inherit the built-in clear expression or message.
func Merge(builtin, user []Rule) []Rule {
	out := slices.Clone(builtin)
	for _, u := range user {
		i := slices.IndexFunc(builtin, func(b Rule) bool { return b.Name == u.Name })
		if i < 0 {
			out = append(out, u)
			continue
		}
		out[i] = inherit(u, builtin[i])
	}
	return out
}

func inherit(u, b Rule) Rule {
	if u.When == "" {
		u.When = b.When
		u.Clear = or(u.Clear, b.Clear)
		u.Message = or(u.Message, b.Message)
		u.For = or(u.For, b.For)
		u.KeepFor = or(u.KeepFor, b.KeepFor)
	}
	u.ForEach = or(u.ForEach, b.ForEach)
	u.Severity = or(u.Severity, b.Severity)
	return u
}

// or returns a unless it is its type's zero value, else b.
func or[T comparable](a, b T) T {
	var zero T
	if a == zero {
		return b
	}
	return a
}

// Error is a mistake in a rule.
type Error struct {
	Rule   string // the rule's name
	Field  string // "name", "for_each", "when", "clear", "severity", "message", …
	Column int    // 1-based character in the field's text; 0 when the mistake has no place
	Msg    string // what is wrong
	Hint   string // what to do; may be empty
}

func (e *Error) Error() string {
	s := fmt.Sprintf("alert rule %s: %s: ", e.Rule, e.Field)
	if e.Column > 0 {
		s = fmt.Sprintf("alert rule %s: %s, column %d: ", e.Rule, e.Field, e.Column)
	}
	s += e.Msg
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Where returns the field and the 1-based column within its text, 0 for none.
func (e *Error) Where() (field string, column int) { return e.Field, e.Column }

// Problem returns what is wrong and what to do about it, without the place.
func (e *Error) Problem() (msg, hint string) { return e.Msg, e.Hint }

var ruleName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// check looks at everything but the expressions.
func (r *Rule) check() error {
	fail := func(field, format string, args ...any) error {
		return &Error{Rule: r.Name, Field: field, Msg: fmt.Sprintf(format, args...)}
	}
	switch {
	case !ruleName.MatchString(r.Name):
		return fail("name", "%q is not a name: use up to 64 of a-z, 0-9, - and _, a letter or digit first", r.Name)
	case !slices.Contains(ForEach(), r.ForEach):
		return &Error{Rule: r.Name, Field: "for_each", Msg: fmt.Sprintf("%q is not something a rule can be about", r.ForEach), Hint: choices(r.ForEach, ForEach())}
	case r.When == "":
		return fail("when", "is missing")
	case r.For < 0 || r.KeepFor < 0:
		return fail("for", "a duration must not be negative")
	case r.Severity != "" && r.Severity != edge.Info && r.Severity != edge.Warning && r.Severity != edge.Critical:
		return &Error{Rule: r.Name, Field: "severity", Msg: fmt.Sprintf("unknown severity %q", r.Severity), Hint: choices(string(r.Severity), []string{"info", "warning", "critical"})}
	}
	return nil
}
