package engine

import (
	"slices"

	"github.com/headcount-hub/headcount/edge"
)

// hide puts a pseudonym in the place of every badge of the readings, or leaves it out where there
// is none to be had, so that no badge ever comes to the core, the journal or the cloud. The values
// are the caller's and are not changed; the readings are.
func (e *Engine) hide(rs []edge.Reading) {
	for i := range rs {
		if slices.ContainsFunc(rs[i].Values, isBadge) {
			rs[i].Values = e.hidden(rs[i].Values)
		}
	}
}

func isBadge(v edge.Value) bool { return v.Kind == edge.BadgeID }

func (e *Engine) hidden(values []edge.Value) []edge.Value {
	out := make([]edge.Value, 0, len(values))
	for _, v := range values {
		if isBadge(v) {
			v, err := edge.Label.Fit(v)
			if e.opts.Hide == nil || err != nil || v.Text == "" {
				continue
			}
			out = append(out, edge.TextValue(v.Kind, v.Semantics, e.opts.Hide(v.Text)))
			continue
		}
		out = append(out, v)
	}
	return out
}

// hideHash keeps the hash of a message that could not be understood from telling which badge was in
// it: with the site's key nobody else can try all badges.
func (e *Engine) hideHash(hash string) string {
	if hash == "" || e.opts.Hide == nil {
		return hash
	}
	return e.opts.Hide("message " + hash)
}
