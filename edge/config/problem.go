package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a configuration.
type Problem struct {
	Position
	Path string // the key, as in spaces[2].parent; empty for the whole file
	Msg  string // what is wrong
	Hint string // what to write instead; may be empty
}

// String returns "file:line:col: key: what is wrong (hint)".
func (p Problem) String() string {
	var b strings.Builder
	switch {
	case p.Env != "" || p.Line > 0:
		b.WriteString(p.Position.String() + ": ")
	case p.File != "":
		b.WriteString(p.File + ": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Msg)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return strings.ReplaceAll(b.String(), "\n", " ")
}

// Errors are all the mistakes of one configuration, in the order of the file.
type Errors struct{ Problems []Problem }

// Error returns one problem per line.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// maxProblems bounds the list; a file of another kind is wrong everywhere.
const maxProblems = 100

// problems gathers mistakes and warnings.
type problems struct {
	file     string
	list     []Problem
	warnings []Problem
}

// add notes a mistake at n, which may be nil for the file as a whole.
func (ps *problems) add(n *node, path, hint, format string, args ...any) {
	ps.addAt(ps.at(n), path, hint, format, args...)
}

func (ps *problems) addAt(at Position, path, hint, format string, args ...any) {
	ps.list = append(ps.list, Problem{Position: at, Path: path, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

func (ps *problems) warn(n *node, path, hint, format string, args ...any) {
	ps.warnings = append(ps.warnings, Problem{Position: ps.at(n), Path: path, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

func (ps *problems) at(n *node) Position {
	if n == nil {
		return Position{File: ps.file}
	}
	return n.pos
}

// has tells whether there is a mistake about a key already.
func (ps *problems) has(path string) bool {
	return slices.ContainsFunc(ps.list, func(p Problem) bool { return p.Path == path })
}

// err returns the mistakes in order, nil if there are none.
func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	inOrder(ps.list)
	list := slices.CompactFunc(ps.list, func(a, b Problem) bool { return a == b })
	if more := len(list) - maxProblems; more > 0 {
		list = append(list[:maxProblems], Problem{Position: Position{File: ps.file}, Msg: fmt.Sprintf("%d more mistakes", more)})
	}
	return &Errors{Problems: list}
}

func inOrder(list []Problem) {
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Env, b.Env), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
}

// choices is the hint for a wrong word: the nearest right one, and all of them if they are few.
func choices(got string, known []string) string {
	best := nearest(got, known)
	switch {
	case len(known) == 0:
		return ""
	case best != "" && len(known) > 12:
		return fmt.Sprintf("did you mean %q?", best)
	case best != "":
		return fmt.Sprintf("did you mean %q? known: %s", best, strings.Join(known, ", "))
	case len(known) > 24:
		return fmt.Sprintf("%d are known, for example %s", len(known), strings.Join(known[:3], ", "))
	}
	return "known: " + strings.Join(known, ", ")
}

// nearest returns the known word that is at most a third of got's letters away (at least
// one), by insertions, deletions, substitutions and swaps of neighbours; empty if none is.
func nearest(got string, known []string) string {
	if len(got) > 64 {
		return ""
	}
	best, limit := "", max(1, len(got)/3)+1
	for _, k := range known {
		if len(k) > 64 {
			continue
		}
		if d := distance(strings.ToLower(got), strings.ToLower(k)); d < limit {
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
