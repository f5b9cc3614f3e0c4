package alerts

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A template is a message as alternating text and variables.
type template struct {
	text []string   // len(vars)+1 pieces
	vars []variable //
}

// parseMessage reads text with {variable} in it; {{ and }} stand for braces.
func parseMessage(rule, forEach, text string) (*template, error) {
	vars := variablesOf(kindOf(forEach))
	t := &template{}
	var piece strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case (c == '{' || c == '}') && i+1 < len(text) && text[i+1] == c:
			piece.WriteByte(c)
			i++
		case c == '}':
			return nil, &Error{Rule: rule, Field: "message", Column: column(text, i), Msg: "a } without {", Hint: "write }} for a brace"}
		case c == '{':
			name, _, closed := strings.Cut(text[i+1:], "}")
			if !closed {
				return nil, &Error{Rule: rule, Field: "message", Column: column(text, i), Msg: "a { without }", Hint: "write {{ for a brace"}
			}
			k := slices.IndexFunc(vars, func(v variable) bool { return v.Name == strings.TrimSpace(name) })
			if k < 0 {
				return nil, &Error{Rule: rule, Field: "message", Column: column(text, i), Msg: fmt.Sprintf("there is no {%s} for a %s", name, forEach), Hint: choices(name, names(vars))}
			}
			t.text, t.vars = append(t.text, piece.String()), append(t.vars, vars[k])
			piece.Reset()
			i += len(name) + 1
		default:
			piece.WriteByte(c)
		}
	}
	t.text = append(t.text, piece.String())
	return t, nil
}

// column converts a byte offset to a 1-based column of characters.
func column(text string, offset int) int { return len([]rune(text[:offset])) + 1 }

func (t *template) render(env any) string {
	var b strings.Builder
	for i, v := range t.vars {
		b.WriteString(t.text[i])
		b.WriteString(show(env, v))
	}
	b.WriteString(t.text[len(t.text)-1])
	return b.String()
}

func (t *template) uses() []string {
	if t == nil {
		return nil
	}
	return names(t.vars)
}

// show writes one fact for people: durations as 2h5m, numbers with at most two decimals.
func show(env any, v variable) string {
	x, known := field(env, v)
	switch x := x.(type) {
	case float64:
		if strings.HasSuffix(v.Name, "_for") || v.Name == "horizon" {
			return span(x)
		}
		return decimal(x)
	case bool:
		if x {
			return "yes"
		}
		return "no"
	case string:
		return x
	}
	if !known {
		return "unknown"
	}
	return fmt.Sprint(x)
}

func decimal(x float64) string {
	return strconv.FormatFloat(math.Round(x*100)/100, 'f', -1, 64)
}

// span writes seconds as 45s, 12m, 2h5m or 3d4h.
func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// people says how many are in the space, as in "11 people (10-12), capacity 8".
func (f *spaceFacts) people() string {
	s := "count unknown"
	if f.HasCount {
		s = decimal(f.Count) + " people"
		if f.Count == 1 {
			s = "1 person"
		}
		if f.HasLow && f.HasHigh && f.CountLow != f.CountHigh {
			s += fmt.Sprintf(" (%s-%s)", decimal(f.CountLow), decimal(f.CountHigh))
		}
	} else if f.Known {
		s = f.State
	}
	if f.HasCapacity {
		s += ", capacity " + decimal(f.Capacity)
	}
	return s
}

// summary is the default message of a kind of subject.
func (f *spaceFacts) summary() string { return f.Name + ": " + f.people() }

func (f *sensorFacts) summary() string {
	s := f.Name + ": "
	switch f.Status {
	case "waiting":
		s += "never heard"
	case "ok":
		s += "heard"
	default:
		s += f.Status
	}
	if f.HasSeen && f.Silent {
		s += " for " + span(f.SilentFor)
	}
	if f.Reason != "" {
		s += ": " + f.Reason
	}
	return s
}

func (f *doorFacts) summary() string {
	var what []string
	if f.Forced {
		what = append(what, "forced open")
	}
	if f.HeldOpen {
		what = append(what, "held open")
	}
	if f.Denied > 0 {
		what = append(what, decimal(f.Denied)+" denied in 10m")
	}
	if len(what) == 0 {
		what = []string{f.State}
	}
	return f.ID + ": " + strings.Join(what, ", ")
}

func (f *hubFacts) summary() string {
	switch {
	case !f.Configured:
		return "no uplink configured"
	case f.Synced:
		return "in sync with the cloud"
	}
	s := "not in sync with the cloud"
	if f.UnsyncedFor >= 1 {
		s += " for " + span(f.UnsyncedFor)
	}
	if f.Backlog > 0 {
		s += ": " + decimal(f.Backlog) + " records wait"
	}
	if !f.Connected {
		s += ", link down"
	}
	return s
}

// signature is what an update of the alert is worth: a change of these facts, and no mere
// passing of time.
func (f *spaceFacts) signature() string {
	return f.State + "|" + f.Quality + "|" + f.people()
}

func (f *sensorFacts) signature() string { return f.Status + "|" + f.Reason }

func (f *doorFacts) signature() string { return f.State + "|" + f.summary() }

func (f *hubFacts) signature() string {
	return fmt.Sprint(f.Synced, f.Connected, f.Configured, f.Clock)
}

// choices is the hint for a wrong word: the nearest right one, and all of them.
func choices(got string, known []string) string {
	hint := "known: " + strings.Join(known, ", ")
	if best := nearest(got, known); best != "" {
		return fmt.Sprintf("did you mean %q? ", best) + hint
	}
	return hint
}

// nearest returns the known word that is at most a third of got's letters away, by
// insertions, deletions, substitutions and swaps; empty if there is none.
func nearest(got string, known []string) string {
	best, limit := "", max(1, len(got)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(got), k); d < limit {
			best, limit = k, d
		}
	}
	return best
}

// distance is the optimal string alignment distance of a and b.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
