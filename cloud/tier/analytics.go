package tier

import (
	"context"
	"time"

	"github.com/headcount-hub/headcount/cloud/analytics"
	"github.com/headcount-hub/headcount/cloud/notify"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/twin"
)

// openAnalytics tells how spaces are used.
func (t *Tier) openAnalytics(ctx context.Context) (part, error) {
	m, err := analytics.Open(ctx, analytics.Options{
		DB: t.db, Log: t.cfg.Log, OfSite: t.twin.OfSite, Domains: twin.Domains, Deliveries: t.countDeliveries, PublicURL: t.PublicURL,
		Mail: func(tx *store.Tx, key, org, to, subject, text string) error {
			return t.notify.Mail(tx, notify.Mail{Key: key, Org: org, To: to, Subject: subject, Text: text})
		},
	})
	if err != nil {
		return part{}, err
	}
	return part{routes: m.Routes(), run: m.Run}, nil
}

// countDeliveries counts what was told about a site's events of a time, by state.
func (t *Tier) countDeliveries(ctx context.Context, s store.Site, from, to time.Time) (map[string]int, error) {
	const page, pages = 1000, 100
	out := map[string]int{}
	q := notify.Query{Org: s.Org, Site: s.Site, Limit: page}
	for range pages {
		list, err := notify.List(ctx, t.db, q)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			if at := d.Message.At; !at.Before(from) && at.Before(to) {
				out[string(d.State)]++
			}
			q.Before = d.ID
		}
		if len(list) < page || list[page-1].Updated.Before(from) { // the list is newest first
			break
		}
	}
	return out, nil
}
