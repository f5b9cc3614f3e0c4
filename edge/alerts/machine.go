package alerts

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/expr-lang/expr/vm"

	"github.com/headcount-hub/headcount/edge"
)

// Grid is the period of the evaluation of facts that change by the mere passing of time
// (silent_for, unsynced_for, state_for), on UTC.
const Grid = 30 * time.Second

// UpdateEvery is the least time between two updates of one alert.
const UpdateEvery = time.Minute

// maxGap is how far back missed grid ticks are made up for after a long pause.
const maxGap = time.Hour

// Machine follows the alerts of one site. Make one with New.
type Machine struct {
	rules    []*rule
	subjects []*subject
	index    map[subjectKey]int
	hours    []edge.Hours // the distinct ones in use
	hash     string       // of rules and site

	now      time.Time // of the last Evaluate
	next     time.Time // earliest deadline; zero = none
	hoursDue time.Time // next change of opening hours; zero = none or of no interest
	growing  bool      // some condition names a growing fact
	touched  []int     // subjects to look at, in any order
	active   []*watch  // those with an open alert, by rule, then subject
	orphans  []edge.Alert
	vm       vm.VM
	events   []edge.Event // of the running call
}

// rule is a compiled Rule.
type rule struct {
	Rule
	index     int
	yes, no   condition // When is known to be true, to be false
	clear     condition // Clear is known to be true; empty without Clear
	message   *template // nil = the default of the kind of subject
	usesHours bool
	usesTime  bool // names a growing fact anywhere
	growing   bool // names one in a condition
}

type subjectKey struct{ kind, id string } // kind is "space", "door", "sensor" or "hub"

// subject is one thing that rules can be about.
type subject struct {
	kind    string // as in edge.Alert.SubjectKind
	id      string
	index   int
	facts   facts
	watches []*watch
	touched bool
	fresh   bool // must be evaluated even if its facts are the same
}

// watch is one rule on one subject.
type watch struct {
	rule      *rule
	subject   *subject
	open      *open     // nil = no alert
	clearedAt time.Time // of the last alert
}

// New compiles the rules for a site. The error joins one *[Error] for every mistake.
func New(rules []Rule, site *edge.Site) (*Machine, error) {
	m := &Machine{index: map[subjectKey]int{}, hash: fingerprint(rules, site)}
	compiled, err := compileAll(rules)
	if err != nil {
		return nil, err
	}
	m.rules = compiled
	if err := m.addSubjects(site); err != nil {
		return nil, err
	}
	for _, s := range m.subjects {
		m.touch(s)
		s.fresh = true
	}
	return m, nil
}

// Check compiles one rule and returns its first mistakes, one *[Error] each.
func Check(r Rule) error {
	_, err := compileAll([]Rule{r})
	return err
}

func compileAll(rules []Rule) ([]*rule, error) {
	var out []*rule
	var errs []error
	seen := map[string]bool{}
	for _, r := range rules {
		c, err := compileRule(r)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if seen[r.Name] {
			errs = append(errs, &Error{Rule: r.Name, Field: "name", Msg: "two rules have this name"})
		}
		seen[r.Name] = true
		if !r.Disabled {
			c.index = len(out)
			out = append(out, c)
		}
	}
	return out, errors.Join(errs...)
}

func compileRule(r Rule) (*rule, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	c := &rule{Rule: r}
	c.Severity = or(r.Severity, edge.Warning)
	var errs [3]error
	c.yes, c.no, errs[0] = compile(r.Name, "when", r.ForEach, r.When)
	if r.Clear != "" {
		c.clear, _, errs[1] = compile(r.Name, "clear", r.ForEach, r.Clear)
	}
	if r.Message != "" {
		c.message, errs[2] = parseMessage(r.Name, r.ForEach, r.Message)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	vars := variablesOf(kindOf(r.ForEach))
	conditions := slices.Concat(c.yes.uses, c.clear.uses)
	all := slices.Concat(conditions, c.message.uses())
	grows := func(v variable) bool { return v.growing }
	c.usesHours = slices.Contains(all, "open_hours")
	c.growing = usesAny(conditions, vars, grows)
	c.usesTime = usesAny(all, vars, grows) || c.message == nil && kindOf(r.ForEach) != "space"
	return c, nil
}

func (m *Machine) addSubjects(site *edge.Site) error {
	loc := site.Location()
	hours := map[string]edge.Hours{}
	for _, sp := range site.Spaces {
		h, ok := hours[sp.Hours]
		if !ok {
			var err error
			if h, err = edge.ParseHours(sp.Hours, loc); err != nil {
				return fmt.Errorf("alerts: space %s: %w", sp.ID, err)
			}
			hours[sp.Hours] = h
		}
		m.add("space", string(sp.Kind), sp.ID, func(timed, opening bool) facts {
			return newSpace(sp, h, timed, opening)
		})
	}
	for _, se := range site.Sensors {
		m.add("sensor", "sensor", se.ID, func(timed, _ bool) facts { return newSensor(se, timed) })
	}
	for _, d := range site.Doors {
		m.add("door", "door", d.ID, func(timed, _ bool) facts { return newDoor(d.ID, timed) })
	}
	m.add("hub", "hub", HubSubject, func(timed, _ bool) facts { return newHub(timed) })
	if slices.ContainsFunc(m.rules, func(r *rule) bool { return r.usesHours }) {
		for _, text := range sortedKeys(hours) {
			if h := hours[text]; !h.Always() {
				m.hours = append(m.hours, h)
			}
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// add makes a subject with the watches of the rules that are about it.
func (m *Machine) add(family, kind, id string, makeFacts func(timed, opening bool) facts) {
	s := &subject{kind: kind, id: id, index: len(m.subjects)}
	var timed, opening bool
	for _, r := range m.rules {
		if r.ForEach != kind && r.ForEach != family {
			continue
		}
		s.watches = append(s.watches, &watch{rule: r, subject: s})
		timed, opening, m.growing = timed || r.usesTime, opening || r.usesHours, m.growing || r.growing
	}
	s.facts = makeFacts(timed, opening)
	m.index[subjectKey{family, id}] = s.index
	m.subjects = append(m.subjects, s)
}

// TouchSpace says that the facts of a space may have changed. It does not allocate in the
// long run; ids that do not exist are ignored.
func (m *Machine) TouchSpace(id string) { m.touchKey(subjectKey{"space", id}) }

// TouchSensor says that the facts of a sensor may have changed.
func (m *Machine) TouchSensor(id string) { m.touchKey(subjectKey{"sensor", id}) }

// TouchDoor says that the facts of a door may have changed.
func (m *Machine) TouchDoor(id string) { m.touchKey(subjectKey{"door", id}) }

// TouchHub says that the facts of the hub may have changed.
func (m *Machine) TouchHub() { m.touchKey(subjectKey{"hub", HubSubject}) }

func (m *Machine) touchKey(k subjectKey) {
	if i, ok := m.index[k]; ok {
		m.touch(m.subjects[i])
	}
}

func (m *Machine) touch(s *subject) {
	if !s.touched && len(s.watches) > 0 {
		s.touched = true
		m.touched = append(m.touched, s.index)
	}
}

// Next returns the earliest time at which Evaluate has something to do although nothing is
// touched; the zero time if there is none. With touched subjects it is now.
func (m *Machine) Next() time.Time {
	if len(m.touched) > 0 || len(m.orphans) > 0 {
		return m.now
	}
	return m.next
}

// Evaluate brings the alerts up to now: first whatever fell due until then, each at its own
// time and with the facts as they were; then the touched subjects, with their facts from src.
// It returns the events in order of time. A time before the last one counts as the last one.
// Where nothing is touched and nothing due it costs a comparison and allocates nothing.
func (m *Machine) Evaluate(now time.Time, src Source) []edge.Event {
	now = edge.Millis(now)
	if now.Before(m.now) {
		now = m.now
	}
	if len(m.touched) == 0 && len(m.orphans) == 0 && (m.next.IsZero() || now.Before(m.next)) {
		m.now = now
		return nil
	}
	m.events = nil
	m.runTimers(now)
	m.clearOrphans(now)
	m.look(now, src)
	m.plan()
	return m.events
}

// look evaluates the touched subjects whose facts have changed.
func (m *Machine) look(now time.Time, src Source) {
	slices.Sort(m.touched)
	for _, i := range m.touched {
		s := m.subjects[i]
		if s.facts.refresh(src, now) || s.fresh {
			m.evaluate(s, now)
		}
		s.touched, s.fresh = false, false
	}
	m.touched = m.touched[:0]
}

func (m *Machine) evaluate(s *subject, t time.Time) {
	env := s.facts.env(t)
	for _, w := range s.watches {
		m.step(w, env, t)
	}
}

// runTimers fires everything due until now in order of time.
func (m *Machine) runTimers(now time.Time) {
	if m.growing && !m.now.IsZero() && now.Sub(m.now) > maxGap {
		m.skipTo(now.Add(-maxGap))
	}
	for !m.next.IsZero() && !m.next.After(now) {
		t := m.next
		m.now = t
		for _, w := range slices.Clone(m.active) {
			m.deadline(w, t)
		}
		if !m.hoursDue.IsZero() && !m.hoursDue.After(t) {
			m.openOrClose(t)
		}
		if m.growing && t.Equal(t.Truncate(Grid)) {
			m.tick(t)
		}
		m.plan()
	}
	m.now = now
}

// skipTo passes over grid ticks until t, not over deadlines.
func (m *Machine) skipTo(t time.Time) {
	m.growing = false
	m.plan()
	m.runTimers(t)
	m.growing = true
	m.plan()
}

// tick evaluates the subjects with growing facts on the grid.
func (m *Machine) tick(t time.Time) {
	for _, s := range m.subjects {
		if slices.ContainsFunc(s.watches, func(w *watch) bool { return w.rule.growing }) {
			m.evaluate(s, t)
		}
	}
}

// openOrClose evaluates the spaces whose opening hours begin or end at t.
func (m *Machine) openOrClose(t time.Time) {
	for _, s := range m.subjects {
		if sp, ok := s.facts.(*spaceSubject); ok && sp.reopen(t) {
			m.evaluate(s, t)
		}
	}
	m.hoursDue = time.Time{}
}

// plan finds the next deadline after m.now.
func (m *Machine) plan() {
	m.next = time.Time{}
	sooner := func(t time.Time) {
		if !t.IsZero() && (m.next.IsZero() || t.Before(m.next)) {
			m.next = t
		}
	}
	for _, w := range m.active {
		sooner(w.open.due())
	}
	if m.hoursDue.IsZero() {
		for _, h := range m.hours {
			if t := h.Next(m.now); m.hoursDue.IsZero() || !t.IsZero() && t.Before(m.hoursDue) {
				m.hoursDue = t
			}
		}
	}
	sooner(m.hoursDue)
	if m.growing {
		sooner(m.now.Truncate(Grid).Add(Grid))
	}
}

// activate keeps the watches with an open alert in order of rule and subject.
func (m *Machine) activate(w *watch) {
	i, _ := slices.BinarySearchFunc(m.active, w, byRuleAndSubject)
	m.active = slices.Insert(m.active, i, w)
}

func (m *Machine) deactivate(w *watch) {
	i, found := slices.BinarySearchFunc(m.active, w, byRuleAndSubject)
	if found {
		m.active = slices.Delete(m.active, i, i+1)
	}
}

func byRuleAndSubject(a, b *watch) int {
	return cmp.Or(cmp.Compare(a.rule.index, b.rule.index), cmp.Compare(a.subject.index, b.subject.index))
}
