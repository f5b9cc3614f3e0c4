package alerts

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

func TestMistakesInRulesNamePlaceAndRemedy(t *testing.T) {
	good := Rule{Name: "x", ForEach: "room", When: "count > 5"}
	for _, c := range []struct {
		change func(*Rule)
		field  string
		column int
		says   string
	}{
		{func(r *Rule) { r.Name = "No Name" }, "name", 0, "is not a name"},
		{func(r *Rule) { r.ForEach = "rooms" }, "for_each", 0, `did you mean "room"?`},
		{func(r *Rule) { r.When = "" }, "when", 0, "is missing"},
		{func(r *Rule) { r.For = -1 }, "for", 0, "negative"},
		{func(r *Rule) { r.Severity = "sever" }, "severity", 0, "unknown severity"},
		{func(r *Rule) { r.When = "5 < cuont" }, "when", 5, `there is no "cuont" for a room (did you mean "count"? known: id, name, kind`},
		{func(r *Rule) { r.When = "silent" }, "when", 1, `there is no "silent" for a room`},
		{func(r *Rule) { r.When = "count" }, "when", 0, "a condition must be a yes or no"},
		{func(r *Rule) { r.When = "count >" }, "when", 7, "unexpected token"},
		{func(r *Rule) { r.When = "count > 'five'" }, "when", 7, "mismatched types"},
		{func(r *Rule) { r.When = "name > 5" }, "when", 6, "mismatched types"},
		{func(r *Rule) { r.When = "open_hours and count" }, "when", 12, "mismatched types"},
		{func(r *Rule) { r.When = "now() > 5" }, "when", 1, `there is no function "now" (known: abs`},
		{func(r *Rule) { r.When = "rond(mean) > 5" }, "when", 1, `did you mean "round"?`},
		{func(r *Rule) { r.When = "all([1], {# > 0})" }, "when", 0, "more than a condition can do"},
		{func(r *Rule) { r.When = "let a = 1; a > 0" }, "when", 12, `there is no "a"`},
		{func(r *Rule) { r.When = "__count" }, "when", 1, `there is no "__count"`},
		{func(r *Rule) { r.When = "count == nil" }, "when", 10, "more than a condition can do"},
		{func(r *Rule) { r.When = "name.x == 1" }, "when", 6, "more than a condition can do"},
		{func(r *Rule) { r.When = "id matches '('" }, "when", 0, "error parsing regexp"},
		{func(r *Rule) { r.When = strings.Repeat("(", MaxExpression+1) }, "when", 0, "at most 2048"},
		{func(r *Rule) { r.When = strings.Repeat("(", 2000) }, "when", 0, ""},
		{func(r *Rule) { r.Clear = "count <= capacty" }, "clear", 10, `did you mean "capacity"?`},
		{func(r *Rule) { r.Message = "ä {cuont}" }, "message", 3, `did you mean "count"?`},
		{func(r *Rule) { r.Message = "{count" }, "message", 1, "a { without }"},
		{func(r *Rule) { r.Message = "count}" }, "message", 6, "a } without {"},
	} {
		r := good
		c.change(&r)
		_, err := New([]Rule{good, r}[1:], testSite)
		var e *Error
		if !errors.As(err, &e) || e.Field != c.field || c.column > 0 && e.Column != c.column || !strings.Contains(err.Error(), c.says) || e.Rule != r.Name {
			t.Errorf("%.60v: got %v, want %s at column %d with %q", r, err, c.field, c.column, c.says)
		}
	}
	if _, err := New([]Rule{good, good}, testSite); err == nil || !strings.Contains(err.Error(), "two rules have this name") {
		t.Errorf("twice the same name: %v", err)
	}
	bad := good
	bad.When, bad.Clear = "a > 1", "b > 1"
	if err := Check(bad); err == nil || !strings.Contains(err.Error(), `"a"`) || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("two mistakes in one rule: %v", err)
	}
}

func TestMergeKeepsWhatTheUserLeavesOut(t *testing.T) {
	rules := Merge(Builtin(), []Rule{
		{Name: "mine", ForEach: "zone", When: "count > 1"},
		{Name: OverCapacity, Actions: []string{"hook"}},
		{Name: SensorSilent, Disabled: true},
		{Name: HubNotSynced, When: "backlog > 10", Severity: edge.Info},
	})
	want := Builtin()
	want[0].Actions = []string{"hook"}
	want[1].Disabled = true
	want[2] = Rule{Name: HubNotSynced, ForEach: "hub", When: "backlog > 10", Severity: edge.Info}
	want = append(want, Rule{Name: "mine", ForEach: "zone", When: "count > 1"})
	if !reflect.DeepEqual(rules, want) {
		t.Errorf("got %+v, want %+v", rules, want)
	}
	m, err := New(rules, testSite)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	w.sensors["pir-1"] = edge.SensorStatus{Sensor: edge.Sensor{ID: "pir-1"}, Status: "silent"}
	if got := lines(append(m.Evaluate(t0, w), m.Evaluate(t0.Add(time.Hour), w)...)); got != nil {
		t.Errorf("a rule that is switched off raised %q", got)
	}
}

func TestForEachPicksItsSubjects(t *testing.T) {
	for forEach, want := range map[string]string{"room": "room-1 office", "floor": "floor", "space": "floor room-1 office", "zone": "", "sensor": "pir-1 door-1", "hub": "hub"} {
		m, err := New([]Rule{{Name: "x", ForEach: forEach, When: "1 < 2"}}, testSite)
		if err != nil {
			t.Fatal(err)
		}
		m.Evaluate(t0, newWorld())
		var got []string
		for _, a := range m.Open() {
			got = append(got, a.Subject)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", forEach, got, want)
		}
	}
}

func TestMessages(t *testing.T) {
	r := Rule{Name: "x", ForEach: "space", When: "id == 'office'", Message: "{{{name}}}: {count} of {capacity}, {utilisation}, {mean}, open {open_hours}, {state} for {state_for}"}
	b := newBench(t, r)
	o := people(1, 2, 3)
	third := 5.0 / 3
	o.Mean = &third
	b.want(b.set(2*time.Hour+5*time.Minute, "office", o), "2h5m0s raised x.office: {Office}: 2 of unknown, unknown, 1.67, open yes, occupied for 2h5m")
}

func TestVariablesAreDocumented(t *testing.T) {
	for _, f := range ForEach() {
		vars := Variables(f)
		for _, v := range vars {
			if v.Doc == "" || v.Type == "" {
				t.Errorf("%s: %+v", f, v)
			}
		}
		if !slices.ContainsFunc(vars, func(v Variable) bool { return v.Name == "id" }) && f != "hub" {
			t.Errorf("%s: no id in %v", f, vars)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"count_low > capacity", "not (a or b) and c in [1,2]", "count > 5 ? true : false", "id matches '^x'", "-count ** 2 > 1", "1 in 1..5", "count ?? 1", "\"\\x\""} {
		f.Add(s)
	}
	w := newWorld()
	w.spaces["room-1"] = people(1, 2, 3)
	f.Fuzz(func(t *testing.T, when string) {
		r := Rule{Name: "x", ForEach: "room", When: when}
		if Check(r) != nil {
			return
		}
		m, err := New([]Rule{r}, testSite)
		if err != nil {
			t.Fatalf("Check takes it, New does not: %v", err)
		}
		m.Evaluate(t0, w)
	})
}
