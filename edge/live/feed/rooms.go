package feed

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxRooms bounds the subscriptions of a client: they are in every offset.
const maxRooms = 64

// maxOffset bounds what a client returns, in bytes.
const maxOffset = 16 << 10

// rooms is what a client is subscribed to.
type rooms struct {
	buildings []Building
	domains   []string
}

func (r *rooms) len() int { return len(r.buildings) + len(r.domains) }

// place is where a client is: behind the cursor, and that many of the things that follow from the
// event behind it.
type place struct {
	cursor string
	sent   int
}

// offset writes a place with the rooms, so that whoever gets it back knows all that there is to
// know of a client.
func offset(at place, r rooms) string {
	parts := []string{at.cursor}
	if at.sent > 0 {
		parts[0] += "~" + strconv.Itoa(at.sent)
	}
	for _, b := range r.buildings {
		parts = append(parts, "b:"+url.QueryEscape(b.Org)+"/"+url.QueryEscape(b.Site)+"/"+url.QueryEscape(b.Space))
	}
	for _, d := range r.domains {
		parts = append(parts, "d:"+url.QueryEscape(d))
	}
	return strings.Join(parts, " ")
}

// parseOffset reads what offset wrote; false for anything else.
func parseOffset(s string) (at place, r rooms, ok bool) {
	if s == "" || len(s) > maxOffset {
		return at, r, false
	}
	parts := strings.Split(s, " ")
	cursor, sent, partly := strings.Cut(parts[0], "~")
	at.cursor = cursor
	if n, err := strconv.ParseUint(sent, 10, 16); err == nil {
		at.sent = int(n)
	} else if partly {
		return at, r, false
	}
	if cursor == "" || len(parts) > maxRooms+1 {
		return at, r, false
	}
	for _, p := range parts[1:] {
		kind, rest, _ := strings.Cut(p, ":")
		names := strings.Split(rest, "/")
		for i := range names {
			var err error
			if names[i], err = url.QueryUnescape(names[i]); err != nil {
				return at, r, false
			}
		}
		switch {
		case kind == "b" && len(names) == 3:
			r.buildings = append(r.buildings, Building{names[0], names[1], names[2]})
		case kind == "d" && len(names) == 1:
			r.domains = append(r.domains, names[0])
		default:
			return at, r, false
		}
	}
	return at, r, !slices.Contains(r.domains, "")
}
